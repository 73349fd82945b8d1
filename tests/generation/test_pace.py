"""Rests under load: how long they are, who takes one, and that nobody who stops an answer waits for its end."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING, cast

import pytest

from support.scripted import ASKED
from tickertape.deltas import End, State, Text, decode_delta
from tickertape.generation import Generations, Order, pace
from tickertape.generation.pace import BUSY, FEW, FULL, LONGEST, Pace
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.streams.contract import follow
from tickertape.streams.memory import MemoryEngine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tickertape.deltas import Delta


LONG = 1.0
"""Seconds: by then the load has long been known."""


class Thread:
    """A loop's time and its thread's processor time, of which a test says how they pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.used = 0.0
        monkeypatch.setattr(time, "thread_time", lambda: self.used)

    def time(self) -> float:
        return self.now

    def passes(self, seconds: float, busy: float) -> None:
        self.now += seconds
        self.used += seconds * busy


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has not a moment left."""
    monkeypatch.setattr(time, "thread_time", time.monotonic)


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Whether anybody has begun to rest."""
    begun = asyncio.Event()
    wait = Pace.wait

    async def noticed(paced: Pace, now: float) -> float:
        begun.set()
        return await wait(paced, now)

    monkeypatch.setattr(Pace, "wait", noticed)
    return begun


class Fast(Provider):
    """Says words, so many at a time and so many seconds apart, for so long or until somebody rests."""

    name = "fast"

    def __init__(self, rested: asyncio.Event, together: int = 1, apart: float = 0, lasts: float = inf) -> None:
        self._rested, self._together, self._apart, self._lasts = rested, together, apart, lasts

    async def models(self) -> list[Model]:
        return []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[list[Delta], None]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lasts
        while not self._rested.is_set() and loop.time() < end:
            yield [Text("word ")] * self._together
            await asyncio.sleep(self._apart)


async def answer(provider: Provider) -> None:
    async with MemoryEngine() as log:
        async for _entries in follow(await Generations(log).begin(Order(provider, ASKED), owner="ann")):
            pass


@pytest.mark.parametrize(
    ("share", "rest"),
    [(0.0, 0), (BUSY - 0.01, 0), ((BUSY + FULL) / 2, LONGEST / 2), (FULL, LONGEST), (1.0, LONGEST)],
)
def test_a_rest_is_as_long_as_the_load_is_high(monkeypatch: pytest.MonkeyPatch, share: float, rest: float) -> None:
    thread = Thread(monkeypatch)
    paced = Pace(cast("asyncio.AbstractEventLoop", thread))
    for _ in range(40):
        thread.passes(0.15, share)
        assert paced.look() == thread.now
    assert paced.rest == pytest.approx(rest, abs=1e-6)


def test_one_long_task_is_no_load_and_what_is_over_is_soon_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(monkeypatch)
    paced = Pace(cast("asyncio.AbstractEventLoop", thread))
    thread.passes(1, 1)
    paced.look()
    assert paced.rest == 0
    for _ in range(10):
        thread.passes(0.2, 1)
        paced.look()
    assert paced.rest > LONGEST * 0.9
    for _ in range(2):
        thread.passes(0.2, 0)
        paced.look()
    assert paced.rest == 0


@pytest.mark.usefixtures("busy")
async def test_under_load_a_fast_answer_rests_between_two_looks_at_its_provider(rested: asyncio.Event) -> None:
    await answer(Fast(rested))
    assert rested.is_set()


async def test_where_there_is_time_nobody_rests(monkeypatch: pytest.MonkeyPatch, rested: asyncio.Event) -> None:
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    await answer(Fast(rested, lasts=LONG))
    assert not rested.is_set()


@pytest.mark.usefixtures("busy")
async def test_who_brings_much_at_a_time_does_not_rest(rested: asyncio.Event) -> None:
    await answer(Fast(rested, together=FEW, lasts=LONG))
    assert not rested.is_set()


@pytest.mark.usefixtures("busy")
async def test_an_answer_that_is_slower_than_a_rest_does_not_rest(rested: asyncio.Event) -> None:
    await answer(Fast(rested, apart=LONGEST * 1.5, lasts=LONG))
    assert not rested.is_set()


@pytest.mark.usefixtures("busy")
async def test_a_stop_does_not_wait_for_the_end_of_a_rest(
    monkeypatch: pytest.MonkeyPatch, rested: asyncio.Event
) -> None:
    monkeypatch.setattr(pace, "LONGEST", 3600.0)
    async with MemoryEngine() as log:
        stream = await Generations(log).begin(Order(Fast(rested), ASKED), owner="ann")
        await rested.wait()
        await log.cancel(stream)
        entries = [entry async for some in follow(stream) for entry in some]
    end = decode_delta(entries[-1])
    assert isinstance(end, End)
    assert end.state is State.CANCELLED
