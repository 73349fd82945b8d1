"""A real HTTP server of which the test decides every byte: what an upstream may do, and what it should not."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from tickertape.testing.actions import Action, Final, Gate, Raw
from tickertape.testing.connection import Request
from tickertape.testing.upstream import Upstream as FaultUpstream

HANG = "hang"
"""Step: say nothing more, until the other side closes."""

RESET = "reset"
"""Step: send a TCP reset instead of an end."""

Step = bytes | str | asyncio.Event
Script = list[Step]

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    """One event whose data is JSON, or the text itself."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def delta(finish: str | None = None, **fields: Any) -> bytes:
    """One usual chunk."""
    choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish}
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "obfuscation": "xx",
        }
    )


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
DONE = event("[DONE]")
HEALTHY = [
    delta(role="assistant", content=""),
    delta(content="Hel"),
    delta(content="lo é😀"),
    delta("stop"),
    event({"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}),
    DONE,
]


def streaming(*events: bytes, end: bytes = END) -> Script:
    """A 200 whose events come in one piece each, then the proper end of the body."""
    return [SSE_HEAD, *map(piece, events), end]


def answering(status: int, body: Any, *headers: str, kind: str = "application/json") -> Script:
    """A whole response with a JSON body, or with the text itself."""
    payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(payload)}", *headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + payload]


class Upstream(FaultUpstream):
    """The fault upstream that plays ``script`` for every request: bytes as they are, waits for events, HANG, RESET."""

    def _actions(self, asked: Request) -> Iterator[Action]:
        script = self.script or streaming(*HEALTHY)
        yield from steps(script(asked) if callable(script) else script)


def steps(script: Script) -> Iterator[Action]:
    """Say in the upstream's own steps what to do. Only a body that ends by itself leaves the connection open."""
    last: Any = b""
    for last in script:
        if isinstance(last, bytes):
            yield Raw(last)
        elif isinstance(last, asyncio.Event):
            yield Gate(last)
        else:
            yield {HANG: Final.HANG, RESET: Final.RESET}[last]
    if isinstance(last, bytes):
        yield Final.END if last.endswith(END) or b"Content-Length" in last else Final.CLOSE
