"""Checks of one observed response: head, timing, ids, end and resuming. Pure: an observation in, findings out."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from tickertape.cli.doctor.report import Finding, Level
from tickertape.client.transcript import EventTranscript
from tickertape.errors import AnswerFailed, IncompleteStream
from tickertape.sse.reconnect import is_event_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.cli.doctor.observer import Observation
    from tickertape.sse.event import Event

IDLE = 30.0
"""Seconds of silence that common proxies and load balancers allow: 30 to 60."""


def head(seen: Observation) -> Iterator[Finding]:
    """Check the head of the answer."""
    if seen.status != 200:
        said = f": {seen.said}" if seen.said else ""
        yield Finding(
            Level.PROBLEM,
            "status",
            f"{seen.status}{said}",
            "Answer with 200. Anything else ends an EventSource for good; 204 says that there is nothing more to read.",
            "HTML 9.2.2",
        )
        return
    yield Finding(Level.OK, "status", "200")
    if seen.redirects:
        yield Finding(Level.NOTE, "redirects", f"{seen.redirects}, to {seen.url}", "Every reconnect pays for them.")
    yield _content_type(seen.headers.get("content-type", ""))
    yield _caching(seen.headers.get("cache-control", "").lower())
    if seen.headers.get("x-accel-buffering", "").lower() == "no":
        yield Finding(Level.OK, "X-Accel-Buffering", "no")
    else:
        fix = "Send X-Accel-Buffering: no. Without it nginx may hold events back until a buffer is full."
        yield Finding(Level.WARNING, "X-Accel-Buffering", "absent", fix, "nginx, proxy_buffering")
    if "content-length" in seen.headers:
        fix = "Send the events as they happen, chunked: a length is known only when all is over."
        found = f"{seen.headers['content-length']}: the whole stream was there before it was sent"
        yield Finding(Level.WARNING, "Content-Length", found, fix)
    encoding = seen.headers.get("content-encoding", "identity")
    if encoding != "identity":
        fix = "Leave event streams out of compression, or flush the compressor after every event."
        yield Finding(Level.WARNING, "compression", encoding, fix, "browsers offer it, and compressors gather")
    else:
        yield Finding(Level.OK, "compression", "none, though it was offered")


def _content_type(value: str) -> Finding:
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", value, re.IGNORECASE)
    if not is_event_stream(value):
        fix = "Send Content-Type: text/event-stream; charset=utf-8. Browsers refuse every other type."
        return Finding(Level.PROBLEM, "content type", value or "absent", fix, "HTML 9.2.2")
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        fix = "Send charset=utf-8 or none: the stream is always read as UTF-8, and Chromium refuses any other."
        return Finding(Level.PROBLEM, "content type", value, fix, "HTML 9.2.5, Chromium")
    return Finding(Level.OK, "content type", value)


def _caching(value: str) -> Finding:
    missing = [word for word in ("no-cache", "no-transform") if word not in value]
    if "no-store" in value and "no-cache" in missing:
        missing.remove("no-cache")
    if not missing:
        return Finding(Level.OK, "Cache-Control", value)
    fix = "Send Cache-Control: no-cache, no-transform, or a cache may keep the stream and a proxy may compress it."
    return Finding(Level.WARNING, "Cache-Control", f"{value or 'absent'} (without {' and '.join(missing)})", fix)


def flow(seen: Observation) -> Iterator[Finding]:
    """Check whether events arrive as they are sent, and what bridges the silence."""
    events = len(seen.events())
    if not seen.arrivals:
        yield Finding(Level.PROBLEM, "delivery", "no byte arrived", "Send the first event or a comment at once.")
        return
    first, last = seen.arrivals[0].at, seen.arrivals[-1].at
    sizes = [len(arrival.data) for arrival in seen.arrivals]
    lumps = [size for size in sizes[:-1] if size % 4096 == 0]
    if len(lumps) >= 2 and len(lumps) * 2 >= len(sizes):
        fix = (
            "Something on the way gathers bytes until a buffer is full: turn off its buffering, and flush every event."
        )
        yield Finding(
            Level.PROBLEM, "delivery", f"in lumps of {lumps[0]:,} bytes, which cut events in two", fix, "nginx"
        )
    elif events >= 5 and first > 1.0 and last - first < 0.1 * first:
        found = f"{events} events arrived together after {first:.1f} s of nothing"
        fix = "They were held back: turn off buffering and compression on the way, and flush after every event."
        yield Finding(Level.PROBLEM, "delivery", found, fix, "nginx 1.22 with gzip: 0 bytes in 3 s")
    elif last - first < 0.2 and events >= 5:
        found = f"{events} events within {last - first:.2f} s; too fast to tell whether they come as they are sent"
        yield Finding(Level.NOTE, "delivery", found, "Look at a stream that takes some seconds.")
    else:
        found = f"{events} events in {len(sizes)} arrivals over {last - first:.1f} s, the first after {first:.2f} s"
        yield Finding(Level.OK, "delivery", found)
    yield _heartbeat(seen)


def _heartbeat(seen: Observation) -> Finding:
    times = [seen.head_at, *(arrival.at for arrival in seen.arrivals)] + ([seen.ended_at] if seen.ended else [])
    silence = max((after - before for before, after in pairwise(times)), default=0.0)
    comments = len(re.findall(rb"(?m)^:", seen.body.replace(b"\r", b"\n")))
    if silence > IDLE:
        fix = "Send a comment, `: ping` and one line end, every 15 s of silence: proxies close after 30 to 60 s."
        return Finding(Level.PROBLEM, "heartbeat", f"{silence:.0f} s of silence", fix, "HTML 9.2.7")
    if comments:
        return Finding(Level.OK, "heartbeat", f"{comments} comments; the longest silence was {silence:.1f} s")
    fix = "Send a comment every 15 s of silence. Look longer, with --seconds, to see whether one comes."
    return Finding(Level.NOTE, "heartbeat", f"none seen; the longest silence was {silence:.1f} s", fix)


def identity(seen: Observation) -> Iterator[Finding]:
    """Check the event IDs: without them a cut loses events."""
    ids = re.findall(rb"(?m)^id(?:: ?(.*))?$", seen.body.replace(b"\r", b"\n"))
    events = len(seen.events())
    if not ids:
        fix = "Give every event an `id:` and read Last-Event-ID: else a cut loses events, or repeats them."
        yield Finding(Level.WARNING, "ids", "none", fix, "HTML 9.2.6, 9.2.4")
        return
    odd = [value for value in ids if not re.fullmatch(rb"[\x21-\x7e]{1,128}", value)]
    if any(b"\0" in value for value in odd):
        yield Finding(Level.PROBLEM, "ids", "an id holds NUL", "Leave it out: readers ignore such an id.", "HTML 9.2.6")
    elif odd:
        found = f"as {odd[0][:40].decode('utf-8', 'replace')!r}"
        fix = "Keep ids to printable ASCII, at most 128 bytes: they come back in a header."
        yield Finding(Level.WARNING, "ids", found, fix, "RFC 9110 5.5")
    elif len(set(ids)) < len(ids):
        fix = "Give every event an id of its own: after a cut the same one cannot say where to go on."
        yield Finding(Level.WARNING, "ids", f"{len(ids) - len(set(ids))} of {len(ids)} are repeated", fix)
    elif len(ids) < events:
        yield Finding(
            Level.NOTE, "ids", f"{len(ids)} for {events} events", "After a cut, those without one come again."
        )
    else:
        yield Finding(Level.OK, "ids", f"{len(ids)}, each its own")


def ending(seen: Observation) -> Iterator[Finding]:
    """Check whether the end says that it is one."""
    events = seen.events()
    if seen.broke:
        yield Finding(Level.PROBLEM, "end", f"the connection broke: {seen.broke}", "Readers will come back for more.")
    if not any(event.data == "[DONE]" or '"choices"' in event.data for event in events):
        if seen.ended:
            found = f"after {seen.ended_at:.1f} s, without a marker that is known here"
            fix = "Let the last event say that it is the last: a clean end looks like a cut to a reader."
            yield Finding(Level.NOTE, "end", found, fix, "HTML 9.2.3: readers reconnect")
        elif not seen.broke:
            yield Finding(Level.NOTE, "end", "the stream was still open when the time was up")
        return
    answer = EventTranscript()
    try:
        for event in events:
            answer.take(event)
        if seen.ended or seen.broke or answer.done:
            answer.end()
    except AnswerFailed as error:
        yield Finding(Level.PROBLEM, "terminal marker", str(error), "The answer failed, and the stream says so.")
    except IncompleteStream:
        fix = (
            "End with a finish_reason and `data: [DONE]`: without them most clients show half an answer as a whole one."
        )
        yield Finding(Level.PROBLEM, "terminal marker", "none: neither finish_reason nor [DONE]", fix, "OpenAI's API")
    else:
        reason = f"finish reason {answer.finish_reason}" if answer.finish_reason else "no finish reason"
        if answer.done:
            yield Finding(Level.OK, "terminal marker", f"[DONE], {reason}")
        elif answer.finish_reason:
            fix = "Send `data: [DONE]` too: ChatGPT's page, among others, takes its absence for a cut."
            yield Finding(Level.WARNING, "terminal marker", f"{reason}, but no [DONE]", fix, "OpenAI's API")
        else:
            yield Finding(Level.NOTE, "terminal marker", "the answer was still going on when the time was up")


def resuming(first: list[Event], cursor: int, again: Observation) -> Finding:
    """Check what came back when the stream was asked for what follows the event at index ``cursor``."""
    name = first[cursor].id
    if again.status != 200:
        said = f": {again.said}" if again.said else ""
        fix = "Answer a Last-Event-ID with what follows it; all again if it is unknown; 204 if nothing will."
        return Finding(
            Level.PROBLEM, "resume", f"Last-Event-ID: {name} was answered {again.status}{said}", fix, "HTML 9.2.4"
        )
    wanted, got = first[cursor + 1 :], again.events()
    size = min(len(wanted), len(got))
    if size and wanted[:size] == got[:size]:
        return Finding(Level.OK, "resume", f"after Last-Event-ID: {name} came exactly what follows it")
    if got and got[0] == first[0]:
        fix = "Read the Last-Event-ID header and send only what follows: readers will show the beginning twice."
        return Finding(Level.PROBLEM, "resume", "Last-Event-ID is ignored: the stream began anew", fix, "HTML 9.2.4")
    fix = "Send exactly the events that follow the one named: keep a log of them."
    found = "other events than the first time" if got else "no event"
    return Finding(Level.PROBLEM, "resume", f"after Last-Event-ID: {name} came {found}", fix, "HTML 9.2.4")


def after_the_end(again: Observation) -> Finding:
    """Check what a reader gets that has had everything and comes back, as every EventSource does."""
    if again.status == 204:
        return Finding(Level.OK, "after the end", "204: readers stop coming back")
    fix = "Answer 204 once the end was delivered: EventSource reconnects for ever after a normal end."
    if again.status != 200:
        return Finding(
            Level.WARNING, "after the end", f"{again.status}, which browsers report as an error", fix, "HTML 9.2.3"
        )
    found = f"200 and {len(again.events())} events" if again.arrivals else "200 and silence"
    return Finding(Level.WARNING, "after the end", found, fix, "HTML 9.2.3")
