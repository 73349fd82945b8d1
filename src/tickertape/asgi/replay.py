"""Replay of a stream from a cursor.

The engine may be slow: it is busy, or it has to read what another process wrote. After `PATIENCE` the response begins
without it, with status 200 and heartbeats. If another status turns out to be right (no such stream, a cursor of another
stream, nothing left to read), the response is aborted: the client reconnects and gets that status.
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
from tickertape.dialects.base import cursor_position
from tickertape.errors import TickertapeError

if TYPE_CHECKING:
    from tickertape.asgi.host import StreamHost
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.dialects import Dialect
    from tickertape.streams.contract import Stream

logger = logging.getLogger("tickertape")

PATIENCE = 0.5
"""Seconds that the status line waits for the engine."""


class ReplayStart(NamedTuple):
    """Where a replay starts. ``reset``: at the beginning, because the cursor is not one of this stream's."""

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
    """Send the entries after the cursor; for a cursor of another stream, say ``reset`` and send all entries."""
    finding = asyncio.create_task(_find_start(host, stream_id, cursor, scope[OWNER]))
    try:
        only_head = scope["method"] == "HEAD"
        await asyncio.wait({finding}, timeout=None if only_head else PATIENCE)
        headers = [*STREAM_HEADERS, *dialect.headers, *host.location(scope, stream_id, dialect), *(more_headers or ())]
        if finding.done():
            begin = finding.result()
            if begin.done:
                await reply(send, 204)  # to EventSource: do not reconnect
                return
            if begin.reset:
                headers.append((b"tickertape-cursor", b"reset"))
            await start(send, 200, headers)
            if only_head:
                await send({"type": "http.response.body"})
                return
        else:
            await start(send, 200, headers)
            begin = await _bridge(finding, host.core.options.heartbeat, stream_id, send)
    finally:
        finding.cancel()
    await deliver(host.core.fanout, begin.stream, begin.after, dialect.view, send, receive)


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


async def _find_start(host: StreamHost, stream_id: str, cursor: str | None, owner: str) -> ReplayStart:
    stream = await host.core.find(stream_id, owner)
    after = cursor_position(cursor, stream_id) if cursor else 0
    if after is None or not await host.core.engine.reach(stream, after):
        return ReplayStart(stream, 0, reset=True)
    return ReplayStart(stream, after, reset=False)


async def _bridge(finding: asyncio.Task[ReplayStart], heartbeat: float, stream_id: str, send: Send) -> ReplayStart:
    """Send heartbeats until the start is known. Raises Cut if another status would have been right."""
    try:
        while not finding.done():
            await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
            await asyncio.wait({finding}, timeout=heartbeat)
        begin = finding.result()
    except Exception as error:
        if not isinstance(error, (TickertapeError, OSError)):
            logger.warning("A reader of stream %s is cut: %r", stream_id, error, exc_info=error)
        await cut(send, stream_id, f"its head had been sent when this came: {error!r}", error)
    if begin.reset or begin.done:
        await cut(send, stream_id, "its head had been sent when the log was read, and was not the right one")
    return begin
