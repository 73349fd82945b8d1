"""Noise is said once a minute, with a count."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tickertape.server import log_throttle
from tickertape.server.log_throttle import MOST_KINDS, Repeats, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class Said:
    """A logger with the filter, what it wrote, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.logger = logging.getLogger("tickertape.test_throttle")
        self.filter = Repeats(lambda: self.now)
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]

    def __enter__(self) -> Said:
        self.logger.addFilter(self.filter)
        self.logger.addHandler(self.handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.logger.removeFilter(self.filter)
        self.logger.removeHandler(self.handler)


def test_the_same_warning_is_written_once_a_minute_with_a_count() -> None:
    with Said() as said:
        for _ in range(1000):
            said.logger.warning("Request %d is bad", 7)
        said.logger.warning("Request %d is bad", 8)
        assert said.lines == ["Request 7 is bad", "Request 8 is bad"]
        said.now = 61.0
        said.logger.warning("Request %d is bad", 7)
        assert said.lines[2:] == ["Request 7 is bad (999 times more within a minute)", "Request 7 is bad"]


def test_what_is_below_a_warning_is_not_touched() -> None:
    with Said() as said:
        said.logger.setLevel(logging.INFO)
        for _ in range(3):
            said.logger.info("Hello")
        assert said.lines == ["Hello"] * 3


async def test_the_count_is_written_although_the_noise_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_throttle, "PERIOD", 0.01)
    told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    noise = Throttle(1, lambda kind, count: told.put_nowait((kind, count)))
    assert [noise.let("bad") for _ in range(3)] == [True, False, False]
    assert await told.get() == ("bad", 2)
    assert noise.let("bad")


def test_kinds_without_number_take_no_memory_without_number() -> None:
    def kinds() -> Iterator[str]:
        yield from (f"kind {number}" for number in range(10 * MOST_KINDS))

    noise = Throttle(1, lambda _kind, _count: None, lambda: 0.0)
    assert all(noise.let(kind) for kind in kinds())
    assert len(noise._kinds) <= MOST_KINDS
