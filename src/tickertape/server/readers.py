"""Who reads: a cursor on a tape, and a way for its bytes.

There are two ways: ``send`` of whatever ASGI server this is, here, and the socket itself, in `tickertape.server.wire`.
"""

from __future__ import annotations

import asyncio
import logging
import types
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tickertape.server.asgi import Send, Sending
    from tickertape.server.fanout import Channel, Renderer

logger = logging.getLogger("tickertape")


class Reader(ABC):
    """One response. ``since`` is the loop time at which it was last written to.

    While it is not ``open`` it takes nothing; once it does again, it marks its channel.
    """

    __slots__ = ("channel", "index", "open", "renderer", "since")

    def __init__(self, channel: Channel, index: int, renderer: Renderer, now: float) -> None:
        self.channel = channel
        self.index = index
        self.renderer = renderer
        self.since = now
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
    def cut(self) -> None:
        """End it with the response unfinished: a proper end would look like a whole answer."""


class AsgiReader(Reader):
    """Writes with ``send``, within the task of its request.

    ``send`` of a server that is not paused finishes without suspending, so it can be driven from outside of that task.
    If it does suspend, the reader is parked: a task finishes that one send.
    """

    __slots__ = ("_handler", "_parked", "_send")

    def __init__(self, channel: Channel, index: int, renderer: Renderer, now: float, send: Send) -> None:
        super().__init__(channel, index, renderer, now)
        self._send = send
        self._parked: asyncio.Task[None] | None = None
        self._handler = asyncio.current_task()

    @staticmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Leave them to the server."""
        return body

    def write(self, framed: bytes, last: bool) -> None:
        """Drive ``send``."""
        sending = self._send({"type": "http.response.body", "body": framed, "more_body": not last})
        try:
            waiting = sending.send(None)
        except StopIteration:
            return
        self.open = False
        self._parked = asyncio.create_task(_rest(sending, waiting))
        self._parked.add_done_callback(self._drained)

    def _drained(self, sent: asyncio.Task[None]) -> None:
        self._parked = None
        self.open = True
        self.since = asyncio.get_running_loop().time()
        if not sent.cancelled() and sent.exception() is not None:
            logger.debug("A reader's connection failed", exc_info=sent.exception())
            self.cut()
        self.channel.mark()

    def cut(self) -> None:
        """Make its request return at once."""
        if self._handler is not None:
            self._handler.cancel()

    def abandon(self) -> None:
        """For a request that was cancelled: drop what cannot be sent, for nobody reads it."""
        if self._parked is not None:
            self._parked.cancel()
            # ASGI has no word for this, uvicorn has.
            transport = getattr(getattr(self._send, "__self__", None), "transport", None)
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


async def _rest(sending: Sending, waiting: object) -> None:
    """Finish a coroutine that was driven by hand up to its first suspension, on ``waiting``."""
    await _resume(sending, waiting)


@types.coroutine
def _resume(sending: Sending, waiting: object) -> Generator[object, object, None]:
    yield waiting
    yield from sending
