"""Waiting for an answer on behalf of a client that may leave meanwhile: who waits counts as a reader."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tickertape.streams.contract import follow

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tickertape.asgi.types import Receive
    from tickertape.streams.contract import Stream

SOON = 0.05
"""Seconds. Most answers begin within them: until then nobody looks whether the client is there, which takes a task."""


async def wait_disconnected(receive: Receive) -> None:
    """Return once the client has left; what still comes of the request's body is passed over.

    Middleware that has read the body often puts a ``receive`` in its place that returns the body again and again, at
    once and without end. Nobody learns from it that the client has left: then this waits for ever.
    """
    ends = 0
    while ends < 2:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        ends += not message.get("more_body", False)
    await asyncio.get_running_loop().create_future()


@contextmanager
def reading(stream: Stream) -> Iterator[None]:
    """Count as one who reads the stream."""
    stream.enter()
    try:
        yield
    finally:
        stream.leave()


async def opened(stream: Stream, opening: int, patience: float, receive: Receive) -> bool:
    """Wait until there is more than the first ``opening`` entries, ``patience`` seconds at most.

    Return False if the client has left.
    """
    soon = min(SOON, patience)
    try:
        async with asyncio.timeout(soon):
            await stream.wait(opening)
    except TimeoutError:
        return await _while_connected(stream.wait(opening), receive, patience - soon)
    return True


async def ended(stream: Stream, receive: Receive) -> bool:
    """Wait until the stream has ended. Return False if the client has left."""

    async def end() -> None:
        async for _entries in follow(stream):
            pass

    return await _while_connected(end(), receive)


async def _while_connected(
    work: Coroutine[object, object, None], receive: Receive, seconds: float | None = None
) -> bool:
    """Wait for work, for so many seconds at most. Return False if the client has left."""
    leaving = asyncio.create_task(wait_disconnected(receive))
    waiting = {asyncio.create_task(work), leaving}
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            leaving.result()
            return False
        return True
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
