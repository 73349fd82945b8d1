"""Past ASGI to the socket, where the server is uvicorn.

For an open response uvicorn keeps its parser, the request and its headers, and a task with the frames of every layer
that the request went through: more than all that a stream needs itself. And ``send`` costs a message, a coroutine and a
dozen checks an event. So a response that streams is taken over, as a WebSocket would be: the connection gets another
protocol, which frames chunks (RFC 9112, section 7.1) and writes them; the request is over for uvicorn. After
the last chunk a new protocol of uvicorn's gets the connection, for the next request.

Everything else keeps to ``send``: other servers, middleware that wraps it, HEAD, and requests behind which
another one is waiting already.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tickertape.server.http_protocol import Connections, HttpProtocol
from tickertape.server.readers import Reader

if TYPE_CHECKING:
    from tickertape.server.asgi import Send
    from tickertape.server.fanout import Channel, Renderer

logger = logging.getLogger("tickertape")

END = b"0\r\n\r\n"

MOST_AHEAD = 65536
"""Bytes of the next requests that are taken while a stream flows."""


class Wire(Reader, asyncio.Protocol):
    """A reader that has its connection to itself."""

    __slots__ = ("_ahead", "_connections", "_keep_alive", "_transport")

    def __init__(
        self, channel: Channel, index: int, renderer: Renderer, now: float, cycle: RequestResponseCycle
    ) -> None:
        super().__init__(channel, index, renderer, now)
        self.open = not cycle.flow.write_paused
        self._transport = cycle.transport
        self._keep_alive = cycle.keep_alive
        self._ahead = b""  # of the next request
        before = cycle.transport.get_protocol()
        assert isinstance(before, HttpToolsProtocol)  # noqa: S101 - only of these connections are taken over
        self._connections: Connections | _Uncounted = (
            before.shared
            if isinstance(before, HttpProtocol)
            else _Uncounted(before.config, before.server_state, before.app_state)
        )
        cycle.flow.resume_reading()  # a large body that nobody read had paused it
        self._transport.set_protocol(self)
        # So it is for the one before. It closes the transport unless there is an error.
        before.connection_lost(ConnectionAbortedError())

    @staticmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Return the body as a chunk."""
        return b"%x\r\n%b\r\n%b" % (len(body), body, END if last else b"")

    def write(self, framed: bytes, last: bool) -> None:
        """Write a chunk; after the last one the connection is uvicorn's again."""
        self._transport.write(framed)
        if last:
            self._give_back()

    def cut(self, reason: str) -> None:
        """Close the connection, at once if it does not take what has been written."""
        logger.debug("A reader of stream %s is cut: %s", self.channel.tape.header.id, reason)
        if self.open:
            self._transport.close()
        else:
            self._transport.abort()
        self.channel.leave(self)

    def _give_back(self) -> None:
        if not self._keep_alive:
            self._transport.close()
            return
        after = self._connections.protocol()
        after.connection_made(self._transport)
        if not self.open:
            after.pause_writing()
            self.open = True  # what is not sent yet is the next one's concern
        self._transport.set_protocol(after)
        after.on_response_complete()  # waits for the next request, though not for ever
        if self._ahead:
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
        self._connections.closed()


class _Uncounted(NamedTuple):
    """What makes protocols for a uvicorn that is not ours."""

    config: Any
    state: Any
    app_state: dict[str, Any]

    def protocol(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(self.config, self.state, self.app_state)

    def closed(self) -> None:
        """Count nothing."""


def take_over(send: Send) -> RequestResponseCycle | None:
    """Return the response of which a `Wire` can be made, None where it has to keep to ``send``."""
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not cycle.chunked_encoding or cycle.scope["method"] == "HEAD":
        return None
    protocol = cycle.transport.get_protocol()
    if not isinstance(protocol, HttpToolsProtocol) or protocol.scope is not cycle.scope:  # the next request has begun
        return None
    return None if cycle.more_body or cycle.disconnected else cycle
