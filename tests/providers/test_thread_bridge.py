"""A blocking runtime's answer in a thread of its own: in order, bounded, stoppable, never left hanging."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tickertape.deltas import Delta, Text
from tickertape.providers.thread_bridge import WAITING, ThreadBridge


def start(work: Callable[[ThreadBridge], None]) -> tuple[ThreadBridge, asyncio.Event]:
    ended = asyncio.Event()
    return ThreadBridge(asyncio.get_running_loop(), work, ended.set), ended


async def everything(bridge: ThreadBridge) -> list[Delta]:
    deltas: list[Delta] = []
    while batch := await bridge.take():
        deltas += batch
    return deltas


async def test_what_is_given_arrives_in_order_and_the_end_is_told() -> None:
    def work(bridge: ThreadBridge) -> None:
        for n in range(1000):
            assert bridge.give([Text(str(n))]) is False

    bridge, ended = start(work)
    assert await everything(bridge) == [Text(str(n)) for n in range(1000)]
    await ended.wait()
    assert await bridge.take() == []


async def test_deltas_that_are_ready_together_come_together() -> None:
    given = threading.Event()

    def work(bridge: ThreadBridge) -> None:
        bridge.give([Text("a"), Text("b")])
        bridge.give([])
        bridge.give([Text("c")])
        given.set()

    bridge, _ended = start(work)
    given.wait()
    assert await bridge.take() == [Text("a"), Text("b"), Text("c")]


async def test_when_nobody_takes_the_thread_waits() -> None:
    given: list[int] = []
    full = threading.Event()

    def work(bridge: ThreadBridge) -> None:
        for n in range(3 * WAITING):
            given.append(n)
            if n == WAITING - 1:
                full.set()
            bridge.give([Text("x")])

    bridge, ended = start(work)
    full.wait()
    await asyncio.sleep(0.05)  # time enough to go on, if it would
    assert len(given) == WAITING
    assert len(await everything(bridge)) == 3 * WAITING
    await ended.wait()


@pytest.mark.parametrize("filled", [1, WAITING])
async def test_cancel_reaches_a_thread_that_gives_and_one_that_waits(filled: int) -> None:
    begun = threading.Event()

    def work(bridge: ThreadBridge) -> None:
        bridge.give([Text("x")] * (filled - 1))
        begun.set()
        while not bridge.give([Text("x")]):
            pass

    bridge, ended = start(work)
    begun.wait()
    bridge.cancel()
    await ended.wait()


async def test_what_the_work_raises_comes_after_what_it_gave() -> None:
    def work(bridge: ThreadBridge) -> None:
        bridge.give([Text("a")])
        raise ValueError("Hmm")

    bridge, ended = start(work)
    await ended.wait()
    assert await bridge.take() == [Text("a")]
    with pytest.raises(ValueError, match="Hmm"):
        await bridge.take()


def test_a_closed_loop_stops_the_work() -> None:
    ended, go = threading.Event(), threading.Event()

    def work(bridge: ThreadBridge) -> None:
        go.wait()
        while not bridge.give([Text("x")]):
            pass
        ended.set()

    async def main() -> ThreadBridge:
        return start(work)[0]

    bridge = asyncio.run(main())
    go.set()
    assert ended.wait(10)
    assert bridge._deltas
