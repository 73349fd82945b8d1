"""Under load, tokens of an answer that come close together are appended, committed and sent together.

A token that comes alone costs an entry, a place in a commit and a write, as much as ten that come at once. So when the
event loop's thread works for most of its time, an answer to which something was appended just now keeps what comes next
for a moment. All answers share one clock for that: what they have kept is appended in the same turn of the loop, goes
into one commit, and is sent when that is done. Moments grow with the load, up to 20 ms, and so keep it from its end,
where every new answer would wait behind all others. First tokens and ends wait for nobody.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tickertape.util.timer_wheel import timer_wheel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LONGEST = 0.020
"""Seconds. What a token may wait under load: below what a person notices."""

BUSY, FULL = 0.55, 0.85
"""Shares of its time that the thread works: below the first nothing waits, beyond the second everything for longest."""

FEW = 8
"""Deltas. With more than these at a time waiting saves nothing."""

_SAMPLE = 0.1
"""Seconds over which the load is measured, while answers run."""


class BatchClock:
    """The clock of all answers of one event loop; ``window`` is how long deltas may wait now, in seconds."""

    __slots__ = ("_answers", "_busy", "_flushes", "_since", "_slot", "_used", "_wheel", "time", "window")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.window = 0.0
        self.time = loop.time
        self._wheel = timer_wheel(loop)
        self._flushes: list[Callable[[], object]] = []
        self._answers = self._slot = 0
        self._busy = self._since = self._used = 0.0

    def enter(self) -> None:
        """Say that an answer runs; `leave` takes it back. The load is measured while there are any."""
        self._answers += 1
        if self._answers == 1:
            self._busy = self.window = 0.0
            self._since, self._used = self.time(), time.thread_time()
            self._slot = self._wheel.call(self._since + _SAMPLE, self._measure)

    def leave(self) -> None:
        """Say that an answer has ended."""
        self._answers -= 1
        if not self._answers:
            self._wheel.cancel(self._slot, self._measure)

    def hold(self, flush: Callable[[], object]) -> None:
        """Call ``flush``, once, when the clock strikes next; it must not raise."""
        if not self._flushes:
            self._wheel.call(self.time() + self.window, self._strike)
        self._flushes.append(flush)

    def _strike(self) -> None:
        flushes, self._flushes = self._flushes, []
        for flush in flushes:
            flush()

    def _measure(self) -> None:
        now, used = self.time(), time.thread_time()
        if now - self._since < _SAMPLE / 2:  # all had left, and others came, in this tick of the wheel
            return
        self._busy = (self._busy + (used - self._used) / (now - self._since)) / 2  # one long task is no load yet
        self._since, self._used = now, used
        self.window = LONGEST * min(max((self._busy - BUSY) / (FULL - BUSY), 0.0), 1.0)
        self._slot = self._wheel.call(now + _SAMPLE, self._measure)
