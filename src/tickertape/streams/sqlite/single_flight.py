"""Reading streams from the file, once for all who ask at the same time.

After a start, all readers of a stream come back in the same moment. Each reading it for itself, a thousand readers of a
long answer would read it a thousand times, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from tickertape.errors import LogError
from tickertape.streams.contract import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Found = TypeVar("Found", bound=Stream)


class Readings(Generic[Found]):
    """Calls ``load`` with a stream's id, and shares what it returns or raises."""

    def __init__(self, load: Callable[[str], Coroutine[object, object, Found]]) -> None:
        self._load = load
        self._running: dict[str, asyncio.Task[Found]] = {}

    async def read(self, stream_id: str) -> Found:
        """Return the stream as it is at this moment, or later."""
        reading = self._running.get(stream_id)
        if reading is not None:
            with contextlib.suppress(LogError):
                found = await asyncio.shield(reading)
                if found.ended:
                    return found
            reading = self._running.get(stream_id)  # the one before may have begun before we were asked
        if reading is None:
            reading = self._running[stream_id] = asyncio.create_task(self._load(stream_id))
            reading.add_done_callback(lambda done: self._done(stream_id, done))
        return await asyncio.shield(reading)

    def _done(self, stream_id: str, reading: asyncio.Task[Found]) -> None:
        del self._running[stream_id]
        if not reading.cancelled():
            reading.exception()  # whoever asked may have left: then it is nobody's
