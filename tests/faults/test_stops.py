"""Stops that race with everything: random moments, twice at once, during the end, elsewhere, with a dead owner."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING, Any

from .scale import at_scale
from .test_faults import LONG, ask_both

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Serve

    from .oracle import Oracle, Stream

    Judge = Callable[[str, str], Oracle]

OVER = ("completed", "cancelled", "lost")


async def stop(oracle: Oracle, stream: Stream) -> dict[str, Any]:
    """Press stop, on a connection of its own: it may reach any worker."""
    method, suffix = random.choice([("POST", "/cancel"), ("DELETE", "")])
    async with oracle.session.request(method, f"{oracle.url}/v1/streams/{stream.id}{suffix}") as response:
        if response.status != 200:
            oracle.blame(stream, f"stop was answered with {response.status}")
        return await response.json()


async def stop_at(oracle: Oracle, stream: Stream, events: int) -> None:
    """Press stop twice at once when there are so many events, and again after the end."""
    reader = stream.readers[0]
    await oracle.far([reader], events)
    early = reader.end is None and events < LONG
    await asyncio.gather(stop(oracle, stream), stop(oracle, stream))
    await oracle.until(lambda: reader.end)
    last = await stop(oracle, stream)
    oracle.count.trials += 3
    if last["state"] != reader.end or last["state"] not in OVER:
        oracle.blame(stream, f"the reader was told {reader.end}, who stopped again {last['state']}")
    if early and len(stream.text.split()) == LONG and last["state"] != "cancelled":
        oracle.blame(stream, f"it was stopped at event {events} and ended {last['state']}")


@at_scale(rounds=(1, 10))
async def test_a_stop_at_any_moment_and_anywhere_ends_the_answer_once(serve: Serve, judge: Judge, rounds: int) -> None:
    """Guards the stop that is passed on to the worker that produces: those that land at the other one would do
    nothing; and the one end: an answer that is finished while it is stopped must not have two.
    """
    server = serve("--workers=2", echo_rate=100)
    async with judge("stop at random moments, twice, during the end, at another worker", server.url) as oracle:
        for _ in range(rounds):
            readers = await ask_both(oracle, server, LONG)
            short = [oracle.ask(40) for _ in range(20)]
            await oracle.far(short, 1)
            await asyncio.gather(
                *(stop_at(oracle, reader.stream, random.randint(1, 60)) for reader in readers),
                *(stop_at(oracle, reader.stream, random.choice([1, 20, *range(38, 44)])) for reader in short),
            )
        await oracle.check()
        assert {stream.state for stream in oracle.streams} == {"completed", "cancelled"}


@at_scale(rounds=(1, 10))
async def test_a_stop_of_an_answer_whose_worker_is_dead_is_answered_and_the_answer_is_lost(
    serve: Serve, judge: Judge, rounds: int
) -> None:
    """Guards the reaping against stops: a stop that nobody hears must not keep the stream open."""
    server = serve("--workers=2", echo_rate=50)
    async with judge("stop of an answer whose worker is dead", server.url) as oracle:
        for _ in range(rounds):
            readers = await ask_both(oracle, server, LONG)
            os.kill(random.choice(server.workers), signal.SIGKILL)
            await asyncio.gather(*(stop(oracle, reader.stream) for reader in readers))
            await oracle.finished()
            oracle.count.trials += len(readers)
        await oracle.check()
        assert {stream.state for stream in oracle.streams} == {"lost", "cancelled"}
