"""The decoders that are compared. Run as a program it is one of them: it reads jobs and answers each on a line.

Each is fed bytes, without its HTTP client, in the way that suits it best. Where a library reads text, the bytes go
through the standard library's incremental UTF-8 decoder first, as its client would do.
"""

from __future__ import annotations

import base64
import codecs
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from shapes import reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Decode = Callable[[Iterable[bytes]], Iterator[Any]]
    Consume = Callable[[list[bytes]], int]

REQUIREMENTS = {
    "tickertape": [],
    "launchdarkly-eventsource": ["launchdarkly-eventsource"],
    "httpx-sse": ["httpx-sse", "httpx"],
    "httpx2": ["httpx2"],
    "openai": ["openai"],
    "anthropic": ["anthropic"],
    "sseclient-py": ["sseclient-py"],
}
"""What goes into each one's environment; tickertape runs in the one that this was started in."""


def tickertape() -> Consume:
    from tickertape.sse import Decoder

    def consume(chunks: list[bytes]) -> int:
        events = 0
        decoder = Decoder()
        for chunk in chunks:
            for _event in decoder.feed(chunk):
                events += 1
        decoder.close()
        return events

    return consume


def launchdarkly() -> Decode:
    from ld_eventsource.actions import Event
    from ld_eventsource.reader import _BufferedLineReader, _SSEReader

    def decode(chunks: Iterable[bytes]) -> Iterator[Any]:
        seen = _SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments()
        return (it for it in seen if isinstance(it, Event)) if comments else seen

    comments = "--comments" in sys.argv  # only the cases hold comments; the measurement is spared the filter
    return decode


def httpx_sse() -> Decode:
    from httpx_sse._decoders import SSEDecoder, SSELineDecoder

    def decode(chunks: Iterable[bytes]) -> Iterator[Any]:
        text, lines, events = codecs.getincrementaldecoder("utf-8")("replace"), SSELineDecoder(), SSEDecoder()
        for chunk in chunks:
            for line in lines.decode(text.decode(chunk)):
                if (event := events.decode(line)) is not None:
                    yield event
        for line in lines.flush():
            if (event := events.decode(line)) is not None:
                yield event

    return decode


def httpx2() -> Decode:
    from httpx2._sse import _SSEParser

    def decode(chunks: Iterable[bytes]) -> Iterator[Any]:
        text, parser = codecs.getincrementaldecoder("utf-8")("replace"), _SSEParser(2**24)
        for chunk in chunks:
            yield from parser.decode(text.decode(chunk))
        yield from parser.flush()

    return decode


def openai() -> Decode:
    from openai._streaming import SSEDecoder

    return lambda chunks: SSEDecoder().iter_bytes(iter(chunks))


def anthropic() -> Decode:
    from anthropic._streaming import SSEDecoder

    return lambda chunks: SSEDecoder().iter_bytes(iter(chunks))


def sseclient() -> Decode:
    from sseclient import SSEClient

    return lambda chunks: SSEClient(chunks).events()


RIVALS: dict[str, Callable[[], Decode]] = {
    "launchdarkly-eventsource": launchdarkly,
    "httpx-sse": httpx_sse,
    "httpx2": httpx2,
    "openai": openai,
    "anthropic": anthropic,
    "sseclient-py": sseclient,
}


def _consumer(decode: Decode) -> Consume:
    def consume(chunks: list[bytes]) -> int:
        events = 0
        for _event in decode(chunks):
            events += 1
        return events

    return consume


def _misread(decode: Decode, cases: list[dict[str, Any]]) -> int:
    """Return in how many cases the events' types and data are not those expected; a crash is one such case."""
    wrong = 0
    for case in cases:
        chunks = [base64.b64decode(chunk) for chunk in case["chunks_b64"]]
        try:
            seen = [(event.event or "message", event.data) for event in decode(chunks)]
        except Exception:
            seen = None
        wrong += seen != [(event["event"], event["data"]) for event in case["expected"]]
    return wrong


def _timed(consume: Consume, chunks: list[bytes]) -> int:
    """Return the CPU time in ns of one pass."""
    start = time.process_time_ns()
    consume(chunks)
    return time.process_time_ns() - start


def _tickertape_events(chunks: Iterable[bytes]) -> Iterator[Any]:
    from types import SimpleNamespace

    from tickertape.sse import Decoder

    decoder = Decoder()
    return (SimpleNamespace(event=event.type, data=event.data) for chunk in chunks for event in decoder.feed(chunk))


def main() -> None:
    """Answer jobs: one JSON value a line in, one out."""
    name = sys.argv[1]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    decode = RIVALS[name]() if name in RIVALS else _tickertape_events
    consume = _consumer(decode) if name in RIVALS else tickertape()
    job, chunks, data, right = None, [], [], False
    for line in sys.stdin:
        wanted = json.loads(line)
        if "cases" in wanted:
            answer: Any = _misread(decode, wanted["cases"])
        else:
            if wanted != job:
                job, (chunks, data) = wanted, reads(wanted["shape"], wanted["read"])
                right = [event.data for event in decode(chunks)] == data
            answer = min(_timed(consume, chunks) for _ in range(wanted["passes"])) / len(data) if right else None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
