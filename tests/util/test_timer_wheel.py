"""The timer wheel: never early, in order, and as quiet as what is asked of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from tickertape.util.timer_wheel import COARSE, SLOTS, TimerWheel, timer_wheel

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A timer of a loop whose time a test has in its hands."""

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due, self.callback = due, callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop's clock and timers. ``woken`` counts the timers that have fired."""

    def __init__(self) -> None:
        self.now, self.woken = 1000.0, 0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(due, callback))
        return self.timers[-1]

    def passes(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = min((timer for timer in self.timers if timer.due <= end), key=lambda timer: timer.due, default=None)
            if due is None:
                break
            self.timers.remove(due)
            self.now = max(self.now, due.due)
            self.woken += 1
            due.callback()
        self.now = end


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def wheel(loop: Loop) -> TimerWheel:
    return TimerWheel(cast("asyncio.AbstractEventLoop", loop))


def test_callbacks_come_in_order_and_never_early(loop: Loop, wheel: TimerWheel) -> None:
    came: list[tuple[str, float]] = []
    for name, delay in (("c", 0.03), ("a", 0.01), ("b", 0.02), ("late", -1)):
        wheel.call(loop.now + delay, lambda name=name: came.append((name, loop.now)))  # type: ignore[misc]
    loop.passes(1)
    assert [name for name, _ in came] == ["late", "a", "b", "c"]
    assert all(now >= due for (_, now), due in zip(came, (999, 1000.01, 1000.02, 1000.03), strict=True))


def test_what_is_due_in_the_same_slot_costs_one_timer(loop: Loop, wheel: TimerWheel) -> None:
    came: list[int] = []
    for number in range(100):
        wheel.call(loop.now + 0.0021 + number / 100_000, lambda number=number: came.append(number))  # type: ignore[misc]
    loop.passes(1)
    assert (came, loop.woken) == (list(range(100)), 1)


def test_what_was_taken_back_is_not_called_and_wakes_nobody_again(loop: Loop, wheel: TimerWheel) -> None:
    came: list[str] = []
    first, second = (lambda: came.append("first")), (lambda: came.append("second"))
    slots = [wheel.call(loop.now + 0.1 + number, first) for number in range(50)]
    slot = wheel.call(loop.now + 60, second)
    for one in slots:
        wheel.cancel(one, first)
    wheel.cancel(slots[0], first)
    wheel.cancel(slot, first)
    loop.passes(61)
    assert (came, loop.woken) == (["second"], 2)
    assert not wheel._slots
    assert not wheel._order
    assert not loop.timers


def test_a_callback_that_asks_for_the_past_lets_the_loop_turn(loop: Loop, wheel: TimerWheel) -> None:
    turns: list[int] = []

    def again() -> None:
        turns.append(loop.woken)
        if len(turns) < 3:
            wheel.call(loop.now - 1, again)

    wheel.call(loop.now, again)
    loop.passes(0)
    assert turns == [1, 2, 3]


def test_long_timeouts_share_a_slot_a_second_and_are_never_early(loop: Loop, wheel: TimerWheel) -> None:
    slots = {wheel.call_after(loop.now + number / 1000, COARSE, lambda: None) for number in range(1, 1000)}
    assert slots == {(1000 + int(COARSE) + 1) * SLOTS}
    assert wheel.call_after(loop.now, 0.5, lambda: None) == (1000 + 0.5) * SLOTS


async def test_everybody_on_a_loop_gets_the_same_wheel() -> None:
    wheel = timer_wheel(asyncio.get_running_loop())
    assert timer_wheel(asyncio.get_running_loop()) is wheel
    assert wheel.loop is asyncio.get_running_loop()
