"""Whether the lines are a valid event stream, and which clients read them wrongly. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tickertape.cli.doctor.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tickertape.cli.doctor.observer import Observation
    from tickertape.sse.event import Event


def check_syntax(seen: Observation) -> Iterator[Finding]:
    """Check every line and block of the body."""
    body = seen.body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = seen.events()
    for check in _CHECKS:
        finding = check(body, events)
        if finding is not None:
            yield finding
    if not events and body:
        fix = "Give every event a data line, and end it with an empty line."
        yield Finding(Level.PROBLEM, "events", "bytes, but no event in them", fix, "HTML 9.2.6")


def _utf8(body: bytes, _events: list[Event]) -> Finding | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        if error.end < len(body) or error.reason != "unexpected end of data":
            fix = "Send UTF-8, and never cut text inside a character: what is invalid becomes U+FFFD."
            return Finding(Level.PROBLEM, "encoding", f"invalid UTF-8 at byte {error.start:,}", fix, "HTML 9.2.5")
    return None


def _unknown_lines(body: bytes, _events: list[Event]) -> Finding | None:
    lines = [line for line in body.split(b"\n")[:-1] if line and not re.match(rb"(:|(data|id|event|retry)(:|$))", line)]
    if not lines:
        return None
    found = f"{len(lines)} lines that are no field, as {lines[0][:60].decode('utf-8', 'replace')!r}"
    fix = "Readers ignore them. Put what they say into `data:` lines; what starts with {, or error:, was meant as data."
    return Finding(Level.PROBLEM, "lines", found, fix, "HTML 9.2.6: 'Otherwise: The field is ignored'")


def _comment_blocks(body: bytes, _events: list[Event]) -> Finding | None:
    count = len(re.findall(rb"(?:\A|\n\n)(?::[^\n]*\n)+(?=\n)", body))
    if not count:
        return None
    found = f"{count} comments with an empty line after them"
    fix = "End a heartbeat with one line end: the empty line dispatches an empty block, and some clients choke on it."
    level = Level.PROBLEM if re.search(rb"(?m)^id:", body) else Level.WARNING
    return Finding(level, "comment blocks", found, fix, "openai-python and langchain (JSON error), fetch-event-source")


def _bare_blocks(body: bytes, events: list[Event]) -> Finding | None:
    bare = re.search(rb"(?:\A|\n\n)(?:(?:retry|id|event)(?::[^\n]*)?\n)+(?=\n)", body)
    empty = any(not event.data for event in events)
    if not bare and not empty:
        return None
    found = (
        "an event with empty data"
        if empty
        else f"a block without data: {bare[0].strip()[:60].decode('utf-8', 'replace')!r}"
        if bare
        else ""
    )
    fix = "Put `retry:` and `id:` inside an event that has data, and send no empty events."
    return Finding(Level.WARNING, "empty blocks", found, fix, "openai-python, openai-node, AI SDK (JSON error)")


def _event_names(_body: bytes, events: list[Event]) -> Finding | None:
    names = {event.type for event in events}
    if "error" in names:
        fix = "Choose another name: EventSource calls the same listener for a lost connection."
        return Finding(Level.WARNING, "event names", "an event is named 'error'", fix, "HTML 9.2.2")
    openai = any(event.data == "[DONE]" or '"chat.completion.chunk"' in event.data for event in events)
    if openai and names != {"message"}:
        fix = "Send OpenAI's chunks without `event:` lines, and heartbeats as comments."
        return Finding(Level.WARNING, "event names", f"named events among OpenAI's: {sorted(names)}", fix, "AI SDK")
    return None


def _separators(_body: bytes, events: list[Event]) -> Finding | None:
    if not any(re.search("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", event.data) for event in events):
        return None
    fix = "Escape them in JSON (\\u2028): clients that split lines as Python's splitlines does cut the event there."
    return Finding(Level.WARNING, "line separators", "U+2028, U+0085 or the like in data", fix, "httpx iter_lines")


_CHECKS: list[Callable[[bytes, list[Event]], Finding | None]] = [
    _utf8,
    _unknown_lines,
    _comment_blocks,
    _bare_blocks,
    _event_names,
    _separators,
]
