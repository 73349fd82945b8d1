"""A stream over whatever ASGI server and middleware there are: ``send`` is called by the task of its own request.

Where the server is uvicorn, and nothing stands between it and us, a stream has the connection to itself
(`tickertape.asgi.uvicorn_transport`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from tickertape.asgi.connection import abort, below
from tickertape.asgi.waiting import wait_disconnected
from tickertape.delivery.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import ModuleType

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.delivery.fanout import Fanout
    from tickertape.dialects.base import View
    from tickertape.streams.contract import Stream

logger = logging.getLogger("tickertape")

INVALID_BODY: Message = {"type": "http.response.body", "more_body": True}
INVALID_BODY["body"] = INVALID_BODY
INVALID: tuple[Message, ...] = (INVALID_BODY, {"type": "http.response.unfinished"})
"""What makes every layer above fail; see `cut`."""

CANCELLED = 0.1
"""Seconds that the sending of these may take in a request that was cancelled."""


def deliver(
    fanout: Fanout, stream: Stream, after: int, view_type: type[View], send: Send, receive: Receive
) -> Awaitable[None]:
    """Send everything after event number ``after`` until the end, or until the client leaves.

    The response must have been started. The client counts as a reader from the call on; what is returned is to be
    awaited at once. It raises Cut, with the response unfinished, when this process ends, the client takes nothing, or
    something fails. Where the server lets its connection be taken over, the request is over at once.
    """
    innermost = below(send)
    transport = None if fanout.closed else transport_of(innermost)
    response = transport and transport.take_over(innermost)
    if transport and response:
        fanout.attach(transport.ConnectionSubscriber(stream, after, view_type, response))
        return _nothing()
    return serve(fanout, stream, after, view_type, send, receive)


def serve(
    fanout: Fanout, stream: Stream, after: int, view_type: type[View], send: Send, receive: Receive
) -> Awaitable[None]:
    """As `deliver`, but for as long as the response goes on the request does too, on every server."""
    subscriber = RequestSubscriber(stream, after, view_type, below(send))
    fanout.attach(subscriber)
    return subscriber.run(receive)


def transport_of(send: Send) -> ModuleType | None:
    """Return `tickertape.asgi.uvicorn_transport` if this ``send`` is uvicorn's, and the module can be used with it."""
    if type(getattr(send, "__self__", None)).__module__ != "uvicorn.protocols.http.httptools_impl":
        return None
    return _uvicorn_transport()


@functools.cache
def _uvicorn_transport() -> ModuleType | None:
    try:
        return import_module("tickertape.asgi.uvicorn_transport")
    except (ImportError, AttributeError) as error:
        logger.warning("This version of uvicorn is not known (%s): streams are sent by ASGI, which costs more", error)
        return None


async def _nothing() -> None:
    """Stand for a request that has nothing more to do."""


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


class RequestSubscriber(Subscriber):
    """Writes with ``send``, which only the task of its request calls and awaits.

    The fan-out hands one piece over and wakes that task; the subscriber is open again once the piece is sent. ``send``
    is never cancelled from here: it may be deep in somebody's middleware, and a server ends it when the client leaves.
    """

    __slots__ = ("_body", "_cut", "_error", "_gone", "_last", "_send", "_woken")

    def __init__(self, stream: Stream, index: int, view_type: type[View], send: Send) -> None:
        super().__init__(stream, index, view_type)
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
                await cut(self._send, self.stream.header.id, self._cut, self._error)
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
        loop, stream = asyncio.get_running_loop(), self.stream
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
            if self.index < len(stream.entries) or stream.queued not in (0, self.place):
                self.channel.mark()

    async def _watch(self, receive: Receive) -> None:
        """Notice when the client leaves, whether something is being sent or not."""
        try:
            await wait_disconnected(receive)
        except Exception as error:
            self._fail("receive", error)
        else:
            self._gone = True
            self._wake()
            self.channel.leave(self)

    def _fail(self, what: str, error: Exception) -> None:
        self._error = error
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING  # how servers report a lost client
        stream_id = self.stream.header.id
        logger.log(level, "A reader of stream %s is cut: %s raised %r", stream_id, what, error, exc_info=error)
        self.cut(f"{what} raised {error!r}")

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
