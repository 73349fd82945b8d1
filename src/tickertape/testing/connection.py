"""HTTP/1.1 from the upstream's side, in the few lines that a fault needs to break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.actions import Action, Body, Final, Gate, Head, Raw, Token, Wait
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT = 64 * 1024 * 1024
"""Bytes of a request."""


class Request(msgspec.Struct):
    """One request as it arrived; header names in lower case, the body decoded from JSON."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Connection:
    """One accepted connection: reads requests and performs actions. ``pace`` is in tokens a second, 0 for unpaced."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: float) -> None:
        self._reader, self._writer, self._pace = reader, writer, pace
        self._chunked = False
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock

    async def ask(self) -> Request | None:
        """Return the next request; None when the other side has closed, or does not speak HTTP."""
        try:
            start = await self._reader.readexactly(1)
            if start == b"\x16":  # a TLS hello: a plain server closes
                return None
            head = (start + await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _version = head[0].split(" ")
            fields = (line.partition(":") for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, _colon, value in fields}
            body = await self._reader.readexactly(min(int(headers.get("content-length", "0")), _LIMIT))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return None
        asked = loads(body)
        return Request(method, path, headers, None if asked is body else asked)

    async def play(self, actions: Iterable[Action]) -> bool:
        """Perform the actions, to the first `Final`; return whether the connection can take another request."""
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0
        for action in actions:
            match action:
                case Token(data):
                    if self._pace and sent:  # the schedule is absolute: nothing drifts
                        await asyncio.sleep(start + sent / self._pace - loop.time())
                    sent += 1
                    await self._send(data)
                case Body(data):
                    await self._send(data)
                case Raw(data):
                    self._writer.write(data)
                    await self._writer.drain()
                case Head():
                    self._begin(action)
                case Gate(event):
                    await event.wait()
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Final():
                    return await self._end(action)
        return False

    async def _end(self, act: Final) -> bool:
        if act is Final.END:
            if self._chunked:
                self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()
        elif act is Final.HANG:
            await self._reader.read(1)
        elif act is Final.RESET:
            self._reset()
        return act is Final.END

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def _begin(self, head: Head) -> None:
        self._chunked = head.chunked
        lines = [f"HTTP/1.1 {head.status} Whatever", f"Content-Type: {head.content_type}"]
        lines += [f"{name}: {value}" for name, value in head.headers]
        if head.chunked:
            lines.append("Transfer-Encoding: chunked")
        self._writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    async def _send(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        await self._writer.drain()

    def _reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
