"""What becomes of an answer that nobody reads: it is stopped after a while, if that is its policy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.streams.contract import StreamWriter

ARRIVAL = 5.0
"""Seconds that the first reader gets on top of the policy's: it asks, then it attaches."""

AGAIN = 1.0
"""Seconds, on top of the policy's, until a stream that is read in another process is looked at again."""


class Attendance:
    """Calls ``deserted`` once nobody has read a stream for ``seconds``, in this process or another. `stop` ends it."""

    def __init__(self, writer: StreamWriter, seconds: float, deserted: Callable[[], object]) -> None:
        self._writer, self._seconds, self._deserted = writer, seconds, deserted
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._stopped = False
        writer.on_leave = self._left
        self._left(ARRIVAL)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._writer.on_leave = None
        self._forget_timer()

    def _left(self, more: float = 0) -> None:
        """Begin to wait for another reader, if none is left."""
        if not self._writer.stream.readers:
            self._forget_timer()
            self._timer = asyncio.get_running_loop().call_later(self._seconds + more, self._unread)

    def _unread(self) -> None:
        if not self._writer.stream.readers:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Call, unless somebody reads it in another process."""
        try:
            attended = await self._writer.attended(self._seconds)
        except EngineError:
            attended = True  # nobody knows; asked again
        if self._stopped:
            return
        if attended or self._writer.stream.readers:
            self._left(AGAIN)
        else:
            self._deserted()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
