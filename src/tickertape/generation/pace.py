"""Under load, tokens that come close together are taken together.

A token that comes alone costs a wake-up, an entry and a write, as much as ten that come at once. So when the event
loop's thread works for most of its time, an answer whose provider was looked at just now rests before the next look.
Rests grow with the load, up to 20 ms, and so keep it from its end, where every new answer would wait behind all others.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tickertape.timer_wheel import TimerWheel

if TYPE_CHECKING:
    import asyncio

LONGEST = 0.020
"""Seconds. What a token may wait under load: below what a person notices."""

BUSY, FULL = 0.55, 0.85
"""Shares of its time that the thread works: below the first nothing rests, beyond the second everything for longest."""

FEW = 8
"""Deltas. With more than these at a time a rest saves nothing."""

_SAMPLE = 0.1
"""Seconds over which the load is measured."""


class Pace:
    """The rests of all answers of one event loop; ``rest`` is how long they are now, in seconds."""

    __slots__ = ("_busy", "_loop", "_since", "_used", "_wheel", "rest")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.rest = 0.0
        self._loop = loop
        self._wheel = TimerWheel(loop)
        self._since, self._used = loop.time(), time.thread_time()
        self._busy = 0.0

    def look(self) -> float:
        """Return the loop's time; now and then, measure the load."""
        now = self._loop.time()
        passed = now - self._since
        if passed >= _SAMPLE:
            used = time.thread_time()
            self._busy = (self._busy + (used - self._used) / passed) / 2  # one long task is no load yet
            self._since, self._used = now, used
            self.rest = LONGEST * min(max((self._busy - BUSY) / (FULL - BUSY), 0.0), 1.0)
        return now

    async def wait(self, now: float) -> float:
        """Rest, and return the loop's time after it."""
        await self._wheel.wait(now + self.rest)
        return self._loop.time()
