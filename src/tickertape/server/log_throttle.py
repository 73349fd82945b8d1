"""Logs repeated messages once a minute, with a count: they must not fill the disk or hide other messages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD = 60.0
"""Seconds."""

MOST_KINDS = 1000
"""Kinds that are counted at the same time. Beyond, all are forgotten and begin anew."""


class Throttle:
    """Lets the first ``most`` of a kind through within `PERIOD`; ``say`` then gets the number of the others."""

    def __init__(
        self, most: int, say: Callable[[str, int], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._say, self._clock = most, say, clock
        self._kinds: dict[str, tuple[float, int]] = {}  # when its period ends, and how many there were

    def let(self, kind: str) -> bool:
        """Count one, and return whether to log it."""
        now = self._clock()
        end, count = self._kinds.get(kind, (now + PERIOD, 0))
        if now >= end:
            self._finish(kind)
            end, count = now + PERIOD, 0
        if not count and len(self._kinds) >= MOST_KINDS:
            for other in tuple(self._kinds):
                self._finish(other)
        self._kinds[kind] = end, count + 1
        if count == self._most:
            self._finish_later(kind, end - now)
        return count < self._most

    def _finish(self, kind: str) -> None:
        _end, count = self._kinds.pop(kind, (0.0, 0))
        if count > self._most:
            self._say(kind, count - self._most)

    def _finish_later(self, kind: str, seconds: float) -> None:
        """Say how many there were although no other comes."""
        with contextlib.suppress(RuntimeError):  # a thread without a loop: the next message reports the count
            asyncio.get_running_loop().call_later(seconds, self._finish_due, kind)

    def _finish_due(self, kind: str) -> None:
        if kind in self._kinds and self._clock() >= self._kinds[kind][0]:
            self._finish(kind)


class Repeats(logging.Filter):
    """Throttles warnings and errors with the same words, once for each kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._throttle = Throttle(1, self._say, clock)
        self._levels: dict[str, tuple[str, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written."""
        if record.levelno < logging.WARNING or getattr(record, "repeats", False):
            return True
        message = record.getMessage()
        if not self._throttle.let(message):
            self._levels[message] = record.name, record.levelno
            return False
        return True

    def _say(self, message: str, count: int) -> None:
        name, level = self._levels.pop(message)
        logging.getLogger(name).log(
            level, "%s (%d times more within a minute)", message, count, extra={"repeats": True}
        )
