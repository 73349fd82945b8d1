"""How a good answer may be delivered, and a bad one: labels, framings, encodings and ends of the transport."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from tickertape.testing.plays import whole
from tickertape.testing.said import BROKEN
from tickertape.testing.steps import Act, Body, Head, Raw, Step, answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.testing.said import Said

GATEWAY = "upstream connect error or disconnect/reset before headers."
"""What gateways say in plain text, some of them with status 200."""


def labelled(content_type: str, *, status: int = 200) -> Callable[[Said], list[Step]]:
    """Return what sends the healthy answer under another content type, or status."""
    return lambda said: [Head(status, content_type or said.shape.content_type), *said.healthy[1:]]


def unlabelled(said: Said) -> list[Step]:
    """Return the healthy answer without a content type."""
    return [Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), Body(whole(said.healthy)), Act.CLOSE]


def one_piece(content_type: str, indent: int | None = None) -> Callable[[Said], list[Step]]:
    """Return what sends the whole answer as one document."""

    def play(said: Said) -> list[Step]:
        document = json.dumps(said.shape.whole(said.model, "".join(said.words)), indent=indent)
        return answering(200, document.encode(), content_type)

    return play


def json_lines(said: Said) -> list[Step]:
    """Return the healthy answer's messages as lines of JSON, labelled as events."""
    lines = [line.removeprefix(b"data: ") for line in whole(said.healthy).splitlines()]
    return [Head(200, "text/event-stream"), *(Body(line + b"\n") for line in lines if line[:1] == b"{"), Act.END]


def as_events(said: Said) -> list[Step]:
    """Return the healthy answer's messages as events, with OpenAI's marker at the end, labelled as lines of JSON."""
    lines = [line.removeprefix(b"data: ") for line in whole(said.healthy).splitlines()]
    events = [b"data: %b\n\n" % line for line in lines if line[:1] == b"{"]
    return [Head(200, "application/x-ndjson"), *map(Body, [*events, b"data: [DONE] \n\n"]), Act.END]


def large_head(said: Said) -> list[Step]:
    """Return the healthy answer under a header of 60 KiB."""
    return [Head(200, said.shape.content_type, (("X-Policy", "a" * 60 * 1024),)), *said.healthy[1:]]


def http_1_0(said: Said) -> list[Step]:
    """Return the healthy answer in HTTP/1.0: the connection's end is the body's."""
    head = f"HTTP/1.0 200 OK\r\nContent-Type: {said.shape.content_type}\r\n\r\n"
    return [Raw(head.encode()), *said.healthy[1:-1], Act.CLOSE]


def trailers(said: Said) -> list[Step]:
    """Return the healthy answer with headers after its body."""
    return [*said.healthy[:-1], Raw(b"0\r\nX-Checksum: 1\r\n\r\n"), Act.CLOSE]


def cut_document(said: Said) -> list[Step]:
    """Return the first half of an answer in one piece."""
    document = json.dumps(said.shape.whole(said.model, "".join(said.words))).encode()
    return [Head(200, "application/json"), Body(document[: len(document) // 2]), Act.END]


def plain_text(_said: Said) -> list[Step]:
    """Return a gateway's plain words in place of an answer, with status 200."""
    return answering(200, GATEWAY.encode(), "text/plain")


def pretty_error(said: Said) -> list[Step]:
    """Return an error over several lines of JSON in the middle."""
    return said.after(json.dumps(said.shape.error(500, BROKEN), indent=2).encode() + b"\n", Act.END)


def not_gzip(said: Said) -> list[Step]:
    """Return half an answer whose compression breaks."""
    packed = gzip.compress(whole([said.head, *said.begun[1:]]))[:-8]
    head = Head(200, said.shape.content_type, (("Content-Encoding", "gzip"),))
    return [head, Body(packed[:10]), Body(b"\xff" * 200), Act.END]
