"""What ASGI has no word for, done to the connection beneath ``send`` where the server is uvicorn."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tickertape.server.access_log import below

if TYPE_CHECKING:
    from tickertape.server.asgi import Message, Send

RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER``: on, 0 seconds. A socket that is closed with it resets the connection."""


def abort(send: Send, *, blocked: bool) -> None:
    """Close the connection of a response that is cut, where merely leaving it unfinished does not do.

    That is where it is ``blocked``, for what was written would wait for the client for ever; and in HTTP/1.0, where
    the close of a connection is the proper end of a body: there it is reset.
    """
    response = getattr(below(send), "__self__", None)
    transport = getattr(response, "transport", None)
    if not isinstance(transport, asyncio.WriteTransport):
        return
    if getattr(response, "scope", {}).get("http_version") == "1.0":
        reset(transport)
    elif blocked:
        transport.abort()


def reset(transport: asyncio.WriteTransport) -> None:
    """Close the connection at once, with a RST."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


class Undelimited:
    """A response to HTTP/1.0, which knows no chunks: a body without a length goes on until the connection is closed.

    RFC 9112, sections 6.1 and 6.3. uvicorn's own response sends chunks to everybody, so it is told the length of each
    piece as it comes.
    """

    __slots__ = ("_pieces", "_response", "scope", "transport")

    def __init__(self, response: RequestResponseCycle) -> None:
        self._response = response
        self._pieces = False
        self.scope = response.scope
        self.transport = response.transport

    async def send(self, message: Message) -> None:
        """Send without chunks."""
        response = self._response
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            if message["status"] not in (204, 304) and all(name.lower() != b"content-length" for name, _ in headers):
                response.chunked_encoding, self._pieces = False, True
        elif self._pieces:
            response.expected_content_length = len(message.get("body", b""))
        await response.send(message)  # type: ignore[arg-type]  # uvicorn's types are narrower than a dict


def without_chunks(send: Send) -> Send:
    """Return the ``send`` for a request of HTTP/1.0."""
    response = getattr(send, "__self__", None)
    return Undelimited(response).send if type(response) is RequestResponseCycle else send
