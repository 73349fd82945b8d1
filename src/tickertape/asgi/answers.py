"""An answer that runs: streamed from its beginning, or stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.asgi.responses import STREAM_HEADERS, reply_failure, start
from tickertape.asgi.subscriber import deliver
from tickertape.asgi.waiting import opened, reading
from tickertape.deltas import End, decode_delta

if TYPE_CHECKING:
    from tickertape.asgi.host import StreamHost
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.dialects import Dialect
    from tickertape.streams.contract import Stream


async def stream_answer(
    host: StreamHost,
    stream: Stream,
    opening: int,
    scope: Message,
    receive: Receive,
    send: Send,
    dialect: Dialect,
    place: dict[str, str] | None = None,
    more_headers: Headers | None = None,
) -> None:
    """Stream an answer from its start; an error that the upstream reports at once becomes the status.

    ``opening`` is the number of entries before the first token; ``place`` is shown in such an error.
    """
    with reading(stream):
        # Slow is not failed: then the stream begins, and the first event goes out before the first token.
        if not await opened(stream, opening, host.patience, receive):
            return
        if stream.ended and len(stream.entries) == opening + 1:  # the opening and the end, no token between
            end = decode_delta(stream.entries[-1])
            if isinstance(end, End) and end.error is not None:
                error = end.error if place is None else end.error | {"tickertape": place}
                await reply_failure(send, error, end.status, end.retry_after, dialect=dialect)
                return
        where = host.location(scope, stream.header.id, dialect)
        await start(send, 200, [*STREAM_HEADERS, *dialect.headers, *where, *(more_headers or ())])
        streaming = deliver(host.core.fanout, stream, 0, dialect.view, send, receive)
    await streaming


async def stop(host: StreamHost, stream: Stream) -> None:
    """Stop an answer, and wait a moment for its end; again and after its end that does nothing."""
    await host.core.engine.cancel(stream)
    try:
        async with asyncio.timeout(host.patience):
            while not stream.ended:
                await stream.wait(len(stream.entries))
    except TimeoutError:
        pass  # its producer is slow to stop, or elsewhere
