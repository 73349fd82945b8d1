"""Reading a stream again, from a cursor on.

The log may be slow: it is busy, or it reads what another process has written. After a while the head of the response
does not wait for it any longer, and heartbeats follow. If it then turns out that another head would have been right
(there is no such stream, the cursor is none of its own, nothing is left to read), the response is cut: the client comes
back and gets that head.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from tickertape.asgi.endpoint import OWNER
from tickertape.asgi.requests import header, query
from tickertape.asgi.responses import STREAM_HEADERS, reply, start
from tickertape.asgi.subscriber import cut, deliver
from tickertape.delivery.fanout import HEARTBEAT
from tickertape.dialects.base import position
from tickertape.errors import TickertapeError

if TYPE_CHECKING:
    from tickertape.asgi.host import StreamHost
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.dialects import Dialect
    from tickertape.streams.contract import Stream

logger = logging.getLogger("tickertape")

PATIENCE = 0.5
"""Seconds that the head waits for the log."""


class Place(NamedTuple):
    """Where to read on. ``reset`` says that this is the beginning, for the cursor is not one of the stream's."""

    stream: Stream
    after: int
    reset: bool

    @property
    def done(self) -> bool:
        """Whether nothing is left to read."""
        return self.stream.ended and self.after == len(self.stream.entries)


async def replay(
    host: StreamHost,
    stream_id: str,
    cursor: str | None,
    scope: Message,
    receive: Receive,
    send: Send,
    dialect: Dialect,
    more_headers: Headers | None = None,
) -> None:
    """Serve what comes after the cursor. One that is not of this stream is told, and everything comes again."""
    looking = asyncio.create_task(_look(host, stream_id, cursor, scope[OWNER]))
    try:
        only_head = scope["method"] == "HEAD"
        await asyncio.wait({looking}, timeout=None if only_head else PATIENCE)
        headers = [*STREAM_HEADERS, *dialect.headers, *host.location(scope, stream_id, dialect), *(more_headers or ())]
        if looking.done():
            place = looking.result()
            if place.done:
                await reply(send, 204)  # to EventSource: do not reconnect
                return
            if place.reset:
                headers.append((b"tickertape-cursor", b"reset"))
            await start(send, 200, headers)
            if only_head:
                await send({"type": "http.response.body"})
                return
        else:
            await start(send, 200, headers)
            place = await _bridge(looking, host.core.options.heartbeat, stream_id, send)
    finally:
        looking.cancel()
    await deliver(host.core.fanout, place.stream, place.after, dialect.view, send, receive)


async def resumed(host: StreamHost, scope: Message, receive: Receive, send: Send, dialect: Dialect) -> bool:
    """Resume for a POST with Last-Event-ID: some clients repeat the POST, and it must never generate twice."""
    cursor = header(scope, b"last-event-id")
    if not cursor:
        return False
    await replay(host, cursor.rpartition(".")[0], cursor, scope, receive, send, dialect)
    return True


def cursor_of(scope: Message) -> str | None:
    """Return the cursor: the header that clients send when they reconnect, or the query for those that cannot."""
    return header(scope, b"last-event-id") or query(scope).get("last_event_id")


async def _look(host: StreamHost, stream_id: str, cursor: str | None, owner: str) -> Place:
    stream = await host.core.find(stream_id, owner)
    after = position(cursor, stream_id) if cursor else 0
    if after is None or not await host.core.engine.reach(stream, after):
        return Place(stream, 0, reset=True)
    return Place(stream, after, reset=False)


async def _bridge(looking: asyncio.Task[Place], heartbeat: float, stream_id: str, send: Send) -> Place:
    """Send heartbeats until it is known where to read on. Raises Cut if the head has become untrue."""
    try:
        while not looking.done():
            await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
            await asyncio.wait({looking}, timeout=heartbeat)
        place = looking.result()
    except Exception as error:
        if not isinstance(error, (TickertapeError, OSError)):
            logger.warning("A reader of stream %s is cut: %r", stream_id, error, exc_info=error)
        await cut(send, stream_id, f"its head had been sent when this came: {error!r}", error)
    if place.reset or place.done:
        await cut(send, stream_id, "its head had been sent when the log was read, and was not the right one")
    return place
