"""Past ASGI to the socket, where the server is uvicorn.

For an open response uvicorn keeps its parser, the request and its headers, and a task with the frames of every layer
that the request went through: more than all that a stream needs itself. And ``send`` costs a message, a coroutine and a
dozen checks an event. So a response that streams is taken over, as a WebSocket would be: the connection gets another
protocol, which frames chunks (RFC 9112, section 7.1) and writes them; the request is over for uvicorn. After
the last chunk a new protocol of uvicorn's gets the connection, for the next request.

Everything else keeps to ``send``: other servers, middleware that wraps it, HEAD, and requests behind which
another one is waiting already. uvicorn does not promise these internals. Where one of those that are used here is
missing, this module cannot be imported, or `take_over` says no: a stream then costs more, and works as well.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tickertape.delivery.subscriber import Subscriber

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Send
    from tickertape.dialects.base import View
    from tickertape.streams.contract import Stream

logger = logging.getLogger("tickertape")

END = b"0\r\n\r\n"

MOST_AHEAD = 65536
"""Bytes of the next requests that are taken while a stream flows."""


class ConnectionSubscriber(Subscriber, asyncio.Protocol):
    """A subscriber that has its connection to itself."""

    __slots__ = ("_ahead", "_connection", "_keep_alive", "_transport")

    def __init__(self, stream: Stream, index: int, view_type: type[View], cycle: RequestResponseCycle) -> None:
        super().__init__(stream, index, view_type)
        self.open = not cycle.flow.write_paused
        self._transport = cycle.transport
        self._keep_alive = cycle.keep_alive
        self._ahead = b""  # of the next request
        before = cycle.transport.get_protocol()
        assert isinstance(before, HttpToolsProtocol)  # noqa: S101 - only of these connections are taken over
        self._connection = Connection.of(before)
        cycle.flow.resume_reading()  # a large body that nobody read had paused it
        self._transport.set_protocol(self)
        # So it is for the one before. It closes the transport unless there is an error.
        before.connection_lost(ConnectionAbortedError())

    @staticmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Return the body as a chunk."""
        if not body:
            return END if last else b""  # a chunk of no bytes is the end of a body
        return b"%x\r\n%b\r\n%b" % (len(body), body, END if last else b"")

    def write(self, framed: bytes, last: bool) -> None:
        """Write a chunk; after the last one the connection is closed, or uvicorn's again."""
        self._transport.write(framed)
        if not last:
            return
        if self._keep_alive or self._transport.get_write_buffer_size():
            self._give_back()
        else:
            self._transport.close()  # all was taken, and no request comes after it

    def cut(self, reason: str) -> None:
        """Close the connection, at once if the client has not taken all that was written."""
        logger.debug("A reader of stream %s is cut: %s", self.stream.header.id, reason)
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
        self.channel.leave(self)

    def _give_back(self) -> None:
        """Have uvicorn's protocol wait for the next request, or for the client to take the rest: neither for ever."""
        after = self._connection.protocol()
        after.connection_made(self._transport)
        if not self.open:
            after.pause_writing()
            self.open = True  # what is not sent yet is the next one's concern
        self._transport.set_protocol(after)
        if not self._keep_alive:
            self._transport.close()
        after.on_response_complete()
        if self._ahead and self._keep_alive:
            self._transport.resume_reading()
            after.data_received(self._ahead)

    # --- as asyncio's protocol

    def pause_writing(self) -> None:
        """Take no more."""
        self.open = False

    def resume_writing(self) -> None:
        """Go on from where it is."""
        self.open = True
        self.since = asyncio.get_running_loop().time()
        self.channel.mark()

    def data_received(self, data: bytes) -> None:
        """Keep what comes for later: the next request has to wait for the end of this answer.

        Only too much of it stops the reading, for who does not read does not notice either that the client has left.
        """
        self._ahead += data
        if len(self._ahead) > MOST_AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave."""
        self.channel.leave(self)
        self._connection.closed()


class Connection:
    """What a connection was before a stream had it, and is to be again: uvicorn's, with what it was made of.

    A protocol that wants to make its own successor, and to be told when the connection is closed, has a ``connection``
    of this shape.
    """

    __slots__ = ("_made_of",)

    def __init__(self, before: HttpToolsProtocol) -> None:
        self._made_of = before.config, before.server_state, before.app_state

    @staticmethod
    def of(before: HttpToolsProtocol) -> Connection:
        """Return the connection of a protocol."""
        return getattr(before, "connection", None) or Connection(before)

    def protocol(self) -> HttpToolsProtocol:
        """Return a protocol for the next request."""
        return HttpToolsProtocol(*self._made_of)

    def closed(self) -> None:
        """Take note that it is closed: uvicorn does not count."""


_OF_RESPONSE = ("chunked_encoding", "disconnected", "flow", "keep_alive", "more_body", "scope", "transport")
_OF_FLOW = ("resume_reading", "write_paused")
_OF_PROTOCOL = ("app_state", "config", "on_response_complete", "pause_writing", "scope", "server_state")


def take_over(send: Send) -> RequestResponseCycle | None:
    """Return the response of which a `ConnectionSubscriber` can be made, None where it has to keep to ``send``."""
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not _has(cycle, *_OF_RESPONSE) or not _has(cycle.flow, *_OF_FLOW):
        return None
    if not cycle.chunked_encoding or cycle.scope["method"] == "HEAD":
        return None
    protocol = cycle.transport.get_protocol()
    if not isinstance(protocol, HttpToolsProtocol) or not _has(protocol, *_OF_PROTOCOL):
        return None
    if protocol.scope is not cycle.scope:  # the next request has begun
        return None
    return None if cycle.more_body or cycle.disconnected else cycle


def _has(thing: object, *names: str) -> bool:
    """Say whether a thing of uvicorn's is as it is known here; once, if it is not."""
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        _tell_missing(type(thing).__qualname__, ", ".join(missing))
    return not missing


@functools.cache
def _tell_missing(kind: str, names: str) -> None:
    logger.warning("This version of uvicorn has no %s in %s: streams are sent by ASGI, which costs more", names, kind)


class Undelimited:
    """A response to HTTP/1.0, which has no chunked coding: a body without a length ends with the connection.

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
