"""Waiting under load: how long it is, who waits, and that neither first tokens nor ends do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import pytest

from tickertape.deltas import Finish, Text, decode_delta
from tickertape.generation import Limits
from tickertape.generation.batching import BUSY, FEW, FULL, LONGEST, BatchClock
from tickertape.generation.sink import AnswerSink
from tickertape.streams.contract import Header, Stream
from tickertape.streams.memory import MemoryEngine, MemoryWriter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tickertape.deltas import Delta, End


class Thread:
    """A loop's time, its one timer and its thread's processor time, of which a test says how they pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.used = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []
        monkeypatch.setattr(time, "thread_time", lambda: self.used)

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        self.timers.append((due, callback))
        return cast("asyncio.TimerHandle", _Timer(lambda: self.timers.remove((due, callback))))

    def passes(self, seconds: float, busy: float = 0.0) -> None:
        end = self.now + seconds
        while self.timers and min(self.timers)[0] <= end:
            timer = min(self.timers)
            self.timers.remove(timer)
            self.used += (timer[0] - self.now) * busy
            self.now = timer[0]
            timer[1]()
        self.used += (end - self.now) * busy
        self.now = end


class _Timer:
    def __init__(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> Thread:
    return Thread(monkeypatch)


@pytest.fixture
def clock(thread: Thread) -> BatchClock:
    return BatchClock(cast("asyncio.AbstractEventLoop", thread))


class Answer:
    """The sink of one answer, and what is in its stream."""

    def __init__(self, clock: BatchClock, limits: Limits | None = None) -> None:
        self.stream = Stream(Header(id="a", owner="ann", model="m", created=0))
        self.errors: list[Exception] = []
        self.sink = AnswerSink(limits or Limits(), clock, self.errors.append)
        self.sink.open(MemoryWriter(MemoryEngine(), self.stream))

    def push(self, *deltas: Delta | str) -> None:
        self.sink.push([Text(delta) if isinstance(delta, str) else delta for delta in deltas])

    @property
    def entries(self) -> list[Delta | End]:
        return [decode_delta(entry) for entry in self.stream.entries]


@pytest.fixture
def answer(clock: BatchClock) -> Answer:
    return Answer(clock)


@pytest.mark.parametrize(
    ("share", "window"),
    [(0.0, 0), (BUSY - 0.01, 0), ((BUSY + FULL) / 2, LONGEST / 2), (FULL, LONGEST), (1.0, LONGEST)],
)
def test_the_window_is_as_long_as_the_load_is_high(
    thread: Thread, clock: BatchClock, share: float, window: float
) -> None:
    clock.enter()
    thread.passes(5, share)
    assert clock.window == pytest.approx(window, abs=1e-6)


def test_one_long_task_is_no_load_and_what_is_over_is_soon_forgotten(thread: Thread, clock: BatchClock) -> None:
    clock.enter()
    thread.passes(0.11, 1)
    assert clock.window == 0
    thread.passes(2, 1)
    assert clock.window > LONGEST * 0.9
    thread.passes(0.3, 0)
    assert clock.window == 0


def test_without_answers_no_timer_runs(thread: Thread, clock: BatchClock) -> None:
    assert not thread.timers
    clock.enter()
    clock.enter()
    clock.leave()
    thread.passes(1, 1)
    assert thread.timers
    clock.leave()
    thread.passes(1, 1)
    assert not thread.timers


def test_an_answer_right_after_another_is_measured_once(thread: Thread, clock: BatchClock) -> None:
    for _ in range(3):
        clock.enter()
        thread.passes(0.03, 1)
        clock.leave()
    clock.enter()
    thread.passes(0.05, 1)
    assert len(thread.timers) == 1
    thread.passes(2, 1)
    assert clock.window == pytest.approx(LONGEST)


def test_where_there_is_time_nothing_waits(answer: Answer) -> None:
    for text in "abc":
        answer.push(text)
    assert answer.entries == [Text("a"), Text("b"), Text("c")]


def test_under_load_what_comes_close_together_is_one_entry(thread: Thread, clock: BatchClock, answer: Answer) -> None:
    clock.window = LONGEST
    for text in "abcd":
        answer.push(text)
        thread.passes(0.001)
    assert answer.entries == [Text("a")], "the first token waits for nobody"
    thread.passes(LONGEST + 0.005)  # a slot of the timer wheel
    assert answer.entries == [Text("a"), Text("bcd")]


def test_all_answers_are_appended_to_in_the_same_turn(thread: Thread, clock: BatchClock) -> None:
    clock.window = LONGEST
    answers = [Answer(clock) for _ in range(3)]
    for number, answer in enumerate(answers):
        answer.push("a")
        thread.passes(0.001 * number)
        answer.push("b")
    turns: list[float] = []
    for answer in answers:
        answer.stream.listen(lambda: turns.append(thread.now))
    thread.passes(1)
    assert len(turns) == 3
    assert len(set(turns)) == 1


def test_an_answer_that_is_slower_than_the_window_does_not_wait(
    thread: Thread, clock: BatchClock, answer: Answer
) -> None:
    clock.window = LONGEST
    for text in "abc":
        answer.push(text)
        assert answer.entries[-1] == Text(text)
        thread.passes(LONGEST * 1.5)


def test_who_brings_much_at_a_time_does_not_wait_and_keeps_the_order(clock: BatchClock, answer: Answer) -> None:
    clock.window = LONGEST
    answer.push("a")
    answer.push("b")
    answer.push(*["c"] * FEW)
    assert answer.entries == [Text("a"), Text("b"), Text("c" * FEW)]


def test_an_end_does_not_wait(clock: BatchClock, answer: Answer) -> None:
    clock.window = LONGEST
    answer.push("a")
    answer.push("b", Finish("stop"))
    answer.sink.close()
    assert answer.entries == [Text("a"), Text("b")]
    assert answer.sink.finish == Finish("stop")


def test_what_was_held_when_an_answer_ended_is_not_appended_again(
    thread: Thread, clock: BatchClock, answer: Answer
) -> None:
    clock.window = LONGEST
    answer.push("a")
    answer.push("b")
    answer.sink.close()
    answer.push("c")
    thread.passes(1)
    assert answer.entries == [Text("a"), Text("b")]


def test_what_is_held_is_within_the_limits_too(thread: Thread, clock: BatchClock) -> None:
    clock.window = LONGEST
    answer = Answer(clock, Limits(events=1))
    answer.push("a")
    answer.push("b")
    thread.passes(1)
    answer.push("c")
    assert answer.entries == [Text("a")]
    [error] = answer.errors
    assert "more than 1 events" in str(error)
