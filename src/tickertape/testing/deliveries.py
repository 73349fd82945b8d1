"""How a good answer may be delivered, and a bad one: labels, framings, encodings and ends of the transport."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from tickertape.testing.actions import Action, Body, Final, Head, Raw, answering
from tickertape.testing.answer import BROKEN
from tickertape.testing.scripts import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.testing.answer import ScriptedAnswer

GATEWAY = "upstream connect error or disconnect/reset before headers."
"""What gateways say in plain text, some of them with status 200."""


def labelled(content_type: str, *, status: int = 200) -> Callable[[ScriptedAnswer], list[Action]]:
    """Return what sends the healthy answer under another content type, or status."""
    return lambda answer: [Head(status, content_type or answer.dialect.content_type), *answer.healthy[1:]]


def unlabelled(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer without a content type."""
    return [Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), Body(whole(answer.healthy)), Final.CLOSE]


def one_piece(content_type: str, indent: int | None = None) -> Callable[[ScriptedAnswer], list[Action]]:
    """Return what sends the whole answer as one document."""

    def script(answer: ScriptedAnswer) -> list[Action]:
        document = json.dumps(answer.dialect.whole(answer.model, "".join(answer.words)), indent=indent)
        return answering(200, document.encode(), content_type)

    return script


def json_lines(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer's messages as lines of JSON, labelled as events."""
    lines = [line.removeprefix(b"data: ") for line in whole(answer.healthy).splitlines()]
    return [Head(200, "text/event-stream"), *(Body(line + b"\n") for line in lines if line[:1] == b"{"), Final.END]


def as_events(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer's messages as events, with OpenAI's marker at the end, labelled as lines of JSON."""
    lines = [line.removeprefix(b"data: ") for line in whole(answer.healthy).splitlines()]
    events = [b"data: %b\n\n" % line for line in lines if line[:1] == b"{"]
    return [Head(200, "application/x-ndjson"), *map(Body, [*events, b"data: [DONE] \n\n"]), Final.END]


def large_head(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer under a header of 60 KiB."""
    return [Head(200, answer.dialect.content_type, (("X-Policy", "a" * 60 * 1024),)), *answer.healthy[1:]]


def http_1_0(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer in HTTP/1.0: the connection's end is the body's."""
    head = f"HTTP/1.0 200 OK\r\nContent-Type: {answer.dialect.content_type}\r\n\r\n"
    return [Raw(head.encode()), *answer.healthy[1:-1], Final.CLOSE]


def trailers(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer with headers after its body."""
    return [*answer.healthy[:-1], Raw(b"0\r\nX-Checksum: 1\r\n\r\n"), Final.CLOSE]


def cut_document(answer: ScriptedAnswer) -> list[Action]:
    """Return the first half of an answer in one piece."""
    document = json.dumps(answer.dialect.whole(answer.model, "".join(answer.words))).encode()
    return [Head(200, "application/json"), Body(document[: len(document) // 2]), Final.END]


def plain_text(_answer: ScriptedAnswer) -> list[Action]:
    """Return a gateway's plain words in place of an answer, with status 200."""
    return answering(200, GATEWAY.encode(), "text/plain")


def pretty_error(answer: ScriptedAnswer) -> list[Action]:
    """Return an error over several lines of JSON in the middle."""
    return answer.after(json.dumps(answer.dialect.error(500, BROKEN), indent=2).encode() + b"\n", Final.END)


def not_gzip(answer: ScriptedAnswer) -> list[Action]:
    """Return half an answer whose compression breaks."""
    packed = gzip.compress(whole([answer.head, *answer.begun[1:]]))[:-8]
    head = Head(200, answer.dialect.content_type, (("Content-Encoding", "gzip"),))
    return [head, Body(packed[:10]), Body(b"\xff" * 200), Final.END]
