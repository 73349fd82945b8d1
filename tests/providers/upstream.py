"""A real HTTP server of which the test decides every byte: what an upstream may do, and what it should not."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the other side has closed the connection."""


class Upstream:
    """The running server: ``script`` answers every request; ``asked`` holds what came."""

    def __init__(self) -> None:
        self.script: Script | Callable[[Asked], Script] = streaming(*HEALTHY)
        self.asked: list[Asked] = []
        self.arrived = asyncio.Event()
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (asked := await self._read(reader)) is not None:
                self.asked.append(asked)
                self.arrived.set()
                script = self.script(asked) if callable(self.script) else self.script
                if await self._play(script, asked, reader, writer):
                    break
        except ConnectionError:
            pass
        finally:
            for asked in self.asked:
                asked.closed.set()
            writer.close()

    async def _play(
        self, script: Script, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Perform the steps; return whether the connection is over."""
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step == HANG:
                await reader.read(1)
                asked.closed.set()
                return True
            else:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return True
        return not (isinstance(script[-1], bytes) and (script[-1].endswith(END) or b"Content-Length" in script[-1]))

    async def _read(self, reader: asyncio.StreamReader) -> Asked | None:
        try:
            start = await reader.readexactly(1)
            if start == b"\x16":  # a TLS hello: a plain server closes
                return None
            head = (start + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, path, _version = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(method, path, headers, json.loads(body) if body else None)


@asynccontextmanager
async def running() -> AsyncIterator[Upstream]:
    """Run an upstream on a random port of this machine."""
    upstream = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(upstream.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
