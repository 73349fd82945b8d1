"""Who reads: a cursor on a tape, and a way for its bytes.

There are two ways: ``send`` of whatever ASGI server and middleware there are, here, and the socket itself, in
`tickertape.server.wire`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from tickertape.server.connection import abort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.server.asgi import Message, Receive, Send
    from tickertape.server.fanout import Channel, Renderer

logger = logging.getLogger("tickertape")

INVALID_BODY: Message = {"type": "http.response.body", "more_body": True}
INVALID_BODY["body"] = INVALID_BODY
INVALID: tuple[Message, ...] = (INVALID_BODY, {"type": "http.response.unfinished"})
"""What makes every layer above fail; see `cut`."""

CANCELLED = 0.1
"""Seconds that the sending of these may take in a request that was cancelled."""


class Cut(Exception):
    """Leaves a response unfinished, through all layers, so that the server closes the connection."""


async def cut(send: Send, stream_id: str, reason: str, error: Exception | None = None) -> NoReturn:
    """Leave a response that has begun unfinished, whatever there is between here and the connection. Raises Cut.

    Raising alone is not enough: Starlette's BaseHTTPMiddleware ends the response properly before it raises what it was
    raised. It takes a body that is a message for a message, and writes no end after it; servers refuse it. A layer that
    looks into bodies may refuse it before; then a message of an unknown type comes through.
    """
    abort(send, blocked=False)
    await _send_invalid(send)
    raise Cut(f"The response of stream {stream_id} is cut: {reason}.") from error


async def _send_invalid(send: Send) -> None:
    for message in INVALID:
        with suppress(Exception):
            await send(message)


class Reader(ABC):
    """One response.

    ``since`` is the loop time at which it was last written to, ``place`` the place in the line that it was sent last.
    While it is not ``open`` it takes nothing; once it does again, it marks its channel.
    """

    __slots__ = ("channel", "index", "open", "place", "renderer", "since")

    def __init__(self, channel: Channel, index: int, renderer: Renderer, now: float) -> None:
        self.channel = channel
        self.index = index
        self.renderer = renderer
        self.since = now
        self.place = 0
        self.open = True

    def render(self, entries: Sequence[bytes], last: bool) -> bytes:
        """Return the next entries as they are to be written; ``last`` ends the response."""
        return self.frame(self.renderer.render(entries, self.index + 1), last)

    @staticmethod
    @abstractmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Return the bytes as they are to be written: the same for all readers of this kind."""

    @abstractmethod
    def write(self, framed: bytes, last: bool) -> None:
        """Write at once; ``last`` ends the response. Only for one that is open."""

    @abstractmethod
    def cut(self, reason: str) -> None:
        """Leave the channel with the response unfinished: a proper end would look like a whole answer."""


class AsgiReader(Reader):
    """Writes with ``send``, which only the task of its request calls and awaits.

    The fan-out hands one piece over and wakes that task; the reader is open again once the piece is sent. ``send`` is
    never cancelled from here: it may be deep in somebody's middleware, and a server lets it go when the client leaves.
    """

    __slots__ = ("_body", "_cut", "_error", "_gone", "_last", "_send", "_woken")

    def __init__(self, channel: Channel, index: int, renderer: Renderer, now: float, send: Send) -> None:
        super().__init__(channel, index, renderer, now)
        self._send = send
        self._body = b""
        self._last = False
        self._woken: asyncio.Future[None] | None = None  # what the task waits for while there is nothing to send
        self._gone = False
        self._cut: str | None = None  # the reason
        self._error: Exception | None = None

    @staticmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Leave them to the server."""
        return body

    def write(self, framed: bytes, last: bool) -> None:
        """Hand them to the task of the request."""
        self._body, self._last, self.open = framed, last, False
        self._wake()

    def cut(self, reason: str) -> None:
        """Have the request raise Cut; at once, unless it is in the middle of a ``send`` that cannot be aborted."""
        if self._cut is None and not self._gone:
            self._cut = reason
            abort(self._send, blocked=not self.open and not self._body)
            self._wake()
        self.channel.leave(self)

    async def run(self, receive: Receive) -> None:
        """Send until the end, or until the client leaves. Raises Cut."""
        watching = asyncio.create_task(self._watch(receive))
        try:
            await self._deliver()
            if self._cut is not None:
                await cut(self._send, self.channel.tape.header.id, self._cut, self._error)
        except asyncio.CancelledError:
            if not self._gone:
                abort(self._send, blocked=True)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CANCELLED):
                        await _send_invalid(self._send)
            raise
        finally:
            self.channel.leave(self)
            watching.cancel()
            await asyncio.wait({watching})

    async def _deliver(self) -> None:
        loop, tape = asyncio.get_running_loop(), self.channel.tape
        while self._cut is None and not self._gone:
            if self.open:
                self._woken = loop.create_future()
                await self._woken
                continue
            body, self._body = self._body, b""
            try:
                await self._send({"type": "http.response.body", "body": body, "more_body": not self._last})
            except Exception as error:
                self._fail("send", error)
                return
            if self._last:
                self._cut = None  # it is whole, whatever came meanwhile
                return
            self.open = True
            if self.index < len(tape.entries) or tape.queued not in (0, self.place):
                self.channel.mark()

    async def _watch(self, receive: Receive) -> None:
        """Notice when the client leaves, whether something is being sent or not."""
        try:
            while (await receive())["type"] != "http.disconnect":
                pass  # a request's body may have come in several messages
        except Exception as error:
            self._fail("receive", error)
        else:
            self._gone = True
            self._wake()
            self.channel.leave(self)

    def _fail(self, what: str, error: Exception) -> None:
        self._error = error
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING  # that is how a lost client is told
        stream_id = self.channel.tape.header.id
        logger.log(level, "A reader of stream %s is cut: %s raised %r", stream_id, what, error, exc_info=error)
        self.cut(f"{what} raised {error!r}")

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
