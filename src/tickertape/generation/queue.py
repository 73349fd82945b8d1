"""Who produces when: providers take on a number of answers at once, the others wait in line."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.streams.contract import StreamWriter


class ProviderQueue:
    """The line before one provider: first come, first served. Everyone is told the place, 1 the next.

    ``accepted`` is how many answers were accepted for it, for the use of who does that: they may not have come yet.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.accepted = 0
        self._running = 0
        self._line: OrderedDict[StreamWriter, asyncio.Future[None]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many stand in the line."""
        return len(self._line)

    @property
    def free(self) -> bool:
        """Whether a turn can be had without waiting."""
        return self._running < self.capacity

    async def take(self, writer: StreamWriter | None) -> None:
        """Wait for this answer's turn; `release` gives it back. Without a writer it must be ``free``."""
        if self.free:
            self._running += 1
        else:
            assert writer is not None  # noqa: S101 - only an answer with a stream can be told its place
            await self._wait(writer)

    def release(self) -> None:
        """Give a turn to the first in the line."""
        while self._line:
            _writer, turn = self._line.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                self._update_places()
                return
        self._running -= 1

    async def _wait(self, writer: StreamWriter) -> None:
        turn = self._line[writer] = asyncio.get_running_loop().create_future()
        self._update_places()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was given a turn, and stopped in the same moment
            raise
        finally:
            writer.set_place(0)
            if self._line.pop(writer, None) is not None:
                self._update_places()

    def _update_places(self) -> None:
        for place, writer in enumerate(self._line, 1):
            writer.set_place(place)
