"""Who produces when: providers take on a number of answers at once, the others wait in line."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tickertape.streams.contract import StreamWriter


class Turns:
    """The line before one provider: first come, first served. Everyone is told the place, 1 the next.

    ``taken`` is how many answers were taken on for it, for the use of who does that: they may not have come yet.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.taken = 0
        self._running = 0
        self._line: OrderedDict[StreamWriter, asyncio.Future[None]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many stand in the line."""
        return len(self._line)

    @asynccontextmanager
    async def take(self, writer: StreamWriter) -> AsyncIterator[None]:
        """Wait for this answer's turn and hold it."""
        if self._running < self.capacity:
            self._running += 1
        else:
            await self._wait(writer)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, writer: StreamWriter) -> None:
        turn = self._line[writer] = asyncio.get_running_loop().create_future()
        self._tell()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was given a turn, and stopped in the same moment
            raise
        finally:
            writer.set_place(0)
            if self._line.pop(writer, None) is not None:
                self._tell()

    def _pass_on(self) -> None:
        """Give the turn to the first in the line."""
        while self._line:
            _writer, turn = self._line.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                self._tell()
                return
        self._running -= 1

    def _tell(self) -> None:
        for place, writer in enumerate(self._line, 1):
            writer.set_place(place)
