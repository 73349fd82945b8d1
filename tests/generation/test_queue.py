"""Who produces when."""

from __future__ import annotations

import asyncio

import pytest

from tickertape.generation.queue import ProviderQueue
from tickertape.streams.contract import Header, Stream
from tickertape.streams.memory import MemoryEngine, MemoryWriter


def a_writer(name: str) -> MemoryWriter:
    return MemoryWriter(MemoryEngine(), Stream(Header(id=name, owner="ann", model="m", created=0)))


class Answer:
    """Takes a turn and holds it until it is let go."""

    def __init__(self, queue: ProviderQueue, name: str) -> None:
        self.writer = a_writer(name)
        self.producing = False
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._run(queue))

    async def _run(self, queue: ProviderQueue) -> None:
        await queue.take(self.writer)
        self.producing = True
        await self.go.wait()
        self.producing = False
        queue.release()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_fit_produce_and_the_others_know_their_place() -> None:
    queue = ProviderQueue(2)
    answers = [Answer(queue, str(number)) for number in range(5)]
    await settle()
    assert [answer.producing for answer in answers] == [True, True, False, False, False]
    assert [answer.writer.stream.queued for answer in answers] == [0, 0, 1, 2, 3]
    assert queue.waiting == 3
    for answer in answers:
        answer.go.set()
        await answer.task


async def test_first_come_first_served() -> None:
    queue = ProviderQueue(1)
    answers = [Answer(queue, str(number)) for number in range(4)]
    for number, answer in enumerate(answers):
        await settle()
        assert [other.producing for other in answers] == [index == number for index in range(4)]
        answer.go.set()
        await answer.task
    assert queue.waiting == 0


async def test_who_is_stopped_in_the_line_leaves_it_and_the_others_move_up() -> None:
    queue = ProviderQueue(1)
    first, second, third = (Answer(queue, name) for name in "abc")
    await settle()
    second.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second.task
    assert (second.writer.stream.queued, third.writer.stream.queued, queue.waiting) == (0, 1, 1)
    first.go.set()
    await settle()
    assert third.producing
    third.go.set()
    await third.task


async def test_a_turn_given_to_who_is_stopped_in_the_same_moment_goes_to_the_next() -> None:
    queue = ProviderQueue(1)
    first, second, third = (Answer(queue, name) for name in "abc")
    await settle()
    first.go.set()
    while not first.task.done():
        await asyncio.sleep(0)
    second.task.cancel()  # it has its turn, or is about to
    await asyncio.gather(second.task, return_exceptions=True)
    await settle()
    assert third.producing
    third.go.set()
    await third.task
    last = Answer(queue, "d")
    await settle()
    assert last.producing, "a turn was lost"
    last.go.set()
    await last.task


async def test_everybody_in_the_line_is_woken_when_their_place_changes() -> None:
    queue = ProviderQueue(1)
    first, second = Answer(queue, "a"), Answer(queue, "b")
    woken: list[int] = []
    second.writer.stream.listen(lambda: woken.append(second.writer.stream.queued))
    third = Answer(queue, "c")
    third.writer.stream.listen(lambda: woken.append(10 + third.writer.stream.queued))
    await settle()
    first.go.set()
    await settle()
    assert woken == [1, 12, 11, 0]
    for answer in (second, third):
        answer.go.set()
        await answer.task
