"""Cut the readers, kill and freeze and end the processes, move the clock: nobody sees a gap, a repeat or a false end.

Each test says which mechanism it guards; without that mechanism it has been seen to fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tickertape.deltas import End, Finish, State, Text, encode_delta
from tickertape.generation import LOST, OPENING
from tickertape.server.auth import LOCAL
from tickertape.streams.contract import Header
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import create

from .meddling import lease, meddle
from .scale import at_scale

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Serve
    from support.server import Server

    from .oracle import Oracle, Reader, Stream

    Judge = Callable[[str, str], Oracle]

LONG = 5000
"""Words. More than any server here lives to say."""

SOON = 0.9
"""Seconds of lease where a frozen process is to be noticed soon."""


def seen(readers: list[Reader]) -> list[int]:
    """Return how many events each has got."""
    return [len(reader.frames) for reader in readers]


def states(oracle: Oracle) -> set[str]:
    return {stream.state for stream in oracle.streams}


@at_scale(streams=(20, 200), count=(120, 400), rate=(100, 20))
async def test_readers_that_are_reset_every_few_events_get_everything_once(
    serve: Serve, judge: Judge, streams: int, count: int, rate: int
) -> None:
    """Guards resuming after the cursor: replaying from the start, or one event off, is a repeat or a gap."""
    server = serve(echo_rate=rate)
    async with judge("connection reset every 1 to 50 events", server.url) as oracle:
        for _ in range(streams):
            oracle.ask(count, cut=lambda: random.randint(1, 50))
        await oracle.check()
        oracle.count.trials += oracle.count.connections - streams
        assert states(oracle) == {"completed"}
        assert oracle.count.connections > streams, "nobody was reset"


@at_scale(readers=(50, 1000), count=(150, 400))
async def test_readers_who_join_at_any_moment_get_the_same_bytes(
    serve: Serve, judge: Judge, readers: int, count: int
) -> None:
    """Guards reading from an index: on a bus, who comes later gets what is published from then on."""
    server = serve(echo_rate=100 if readers < 100 else 40)
    async with judge("readers join one stream at random times", server.url) as oracle:
        first = oracle.ask(count)
        await oracle.far([first], 1)

        async def late(moment: int) -> None:
            await oracle.far([first], moment)
            oracle.join(first.stream)

        await asyncio.gather(*(late(random.randint(1, count)) for _ in range(readers)))
        await oracle.check()
        oracle.count.trials += readers
        assert states(oracle) == {"completed"}


@at_scale(kills=(2, 20))
async def test_a_server_that_is_killed_and_restarted_has_shown_nothing_that_its_log_lacks(
    serve: Serve, judge: Judge, kills: int
) -> None:
    """Guards log first, and the reaping at the start: shown before it is committed, an event is delivered and
    unknown to the next process; without the reaping, readers hang on streams that nobody produces. And the ticks:
    those that are deleted with a stream that has ended must hold nothing of the others.
    """
    server = serve(echo_rate=100)
    async with judge("kill -9 and restart", server.url) as oracle:
        for kill in range(kills):
            readers = [oracle.ask(LONG) for _ in range(10)]
            readers += [oracle.ask(40) for _ in range(3)]  # these may be whole
            await oracle.far(readers, random.randint(3, 60) if kill else 60)
            await asyncio.to_thread(server.restart)
            oracle.count.trials += 1
            await oracle.finished()
        await oracle.check()
        assert "lost" in states(oracle)


@at_scale(freezes=(1, 10))
async def test_a_frozen_worker_is_taken_for_dead_and_writes_nothing_when_it_wakes(
    serve: Serve, judge: Judge, freezes: int
) -> None:
    """Guards the lease, without which readers hang, and the fence, without which the zombie goes on writing
    and those who stayed with it see another answer.
    """
    server = serve("--workers=2", echo_rate=50, env=lease(SOON))
    async with judge("SIGSTOP beyond the lease", server.url) as oracle:
        for _ in range(freezes):
            here = await ask_both(oracle, server, LONG)  # these stay with their worker, frozen or not
            frozen = random.choice(server.workers)
            os.kill(frozen, signal.SIGSTOP)
            there = [oracle.join(reader.stream, silence=2 * SOON) for reader in here]
            await oracle.until(lambda: any(reader.end for reader in there))  # noqa: B023 - awaited at once
            told = {reader.stream for reader in there if reader.end}
            os.kill(frozen, signal.SIGCONT)
            logs = {stream: await oracle.log_of(stream) for stream in told}
            for reader in here:
                if reader.stream not in told:
                    await cancel(oracle, reader.stream.id)
            await oracle.finished()
            for stream, log in logs.items():
                assert await oracle.log_of(stream) == log, "something was written after the end"
            oracle.count.trials += 1
        await oracle.check()
        assert states(oracle) == {"lost", "cancelled"}


async def ask_both(oracle: Oracle, server: Server, count: int) -> list[Reader]:
    """Ask until both workers have answers to give; which of them takes a connection is up to the kernel."""
    readers: list[Reader] = []
    async with asyncio.timeout(30):
        while len(readers) < 12 or not all(connections(server, pid) for pid in server.workers):
            readers.append(oracle.ask(count))
            await oracle.far(readers, len(readers) % 4)
    await oracle.far(readers, 5)
    return readers


def connections(server: Server, pid: int) -> int:
    """Return how many connections to its port a process of the server holds."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{server.port:04X}") and row[3] == "01"}
    with contextlib.suppress(OSError):  # it came or went while we looked
        return sum(os.readlink(file) in ours for file in Path(f"/proc/{pid}/fd").iterdir())
    return 0


async def cancel(oracle: Oracle, stream_id: str) -> None:
    async with oracle.session.post(f"{oracle.url}/v1/streams/{stream_id}/cancel") as response:
        assert response.status == 200


@at_scale(kills=(1, 10))
async def test_when_one_of_two_workers_is_killed_its_readers_are_told_and_the_others_read_on(
    serve: Serve, judge: Judge, kills: int
) -> None:
    """Guards the neighbours' look at the lock of the dead: the lease is an hour here, nothing else tells of a death."""
    server = serve("--workers=2", echo_rate=50, env=lease(3600, reap=0.2))
    async with judge("SIGKILL of one of two workers", server.url) as oracle:
        for _ in range(kills):
            await ask_both(oracle, server, 150)
            os.kill(random.choice(server.workers), signal.SIGKILL)
            oracle.count.trials += 1
            await oracle.finished()
        await oracle.check()
        assert states(oracle) == {"completed", "lost"}


@at_scale(streams=(30, 200), grace=(2, 8))
async def test_sigterm_under_load_ends_within_the_deadline_and_readers_go_on_at_the_next_process(
    serve: Serve, judge: Judge, streams: int, grace: int
) -> None:
    """Guards the deadline: without it, the process waits for the longest answer."""
    server = serve(f"--set=grace={grace}", echo_rate=20)
    async with judge("SIGTERM under load, then the next process", server.url) as oracle:
        readers = [oracle.ask(20 if number % 2 else LONG) for number in range(streams)]
        await oracle.far(readers, 3)
        began = time.monotonic()
        code = await asyncio.to_thread(server.terminate)
        assert time.monotonic() - began < grace + 3
        assert code in (0, -signal.SIGTERM), "uvicorn passes the signal on once all is done"
        await asyncio.to_thread(server.start)
        await oracle.check()
        oracle.count.trials += 1
        assert {(len(stream.text.split()), stream.state) for stream in oracle.streams} == {
            (20, "completed"),
            (LONG, "lost"),
        }


DAY = 86_400


@at_scale(jumps=([DAY, -DAY], [DAY, -DAY, -DAY, DAY, 40 * DAY, -40 * DAY] * 3))
async def test_a_clock_that_jumps_ends_nothing_and_forgets_nothing(
    serve: Serve, judge: Judge, tmp_path: Path, jumps: list[int]
) -> None:
    """Guards leases in monotonic time, which in wall time end the running streams at a jump, and retention by a
    clock that does not jump, else a jump of a day makes all that has ended a day old.
    """
    clock = tmp_path / "clock"
    clock.write_text("0")
    server = serve(
        "--workers=2",
        echo_rate=20,
        env=meddle(
            "import time, pathlib",
            "from tickertape import stream_core",
            "stream_core.SWEEP = 0.05",
            "from tickertape.streams.sqlite.engine import SqliteEngine",
            "SqliteEngine.__init__.__kwdefaults__.update(reap=0.3)",
            f"real, offset = time.time, pathlib.Path({str(clock)!r})",
            "time.time = lambda: real() + float(offset.read_text() or 0)",
        ),
    )
    async with judge("clock jumps by days", server.url) as oracle:
        for jump in jumps:
            before = oracle.ask(2)
            await oracle.until(lambda: before.end)  # noqa: B023 - awaited at once
            during = await ask_both(oracle, server, 60)
            move(clock, jump)
            await oracle.far(during, 55)  # two seconds: forty rounds of forgetting, six of looking after neighbours
            after = oracle.ask(2)
            await oracle.until(lambda: after.end)  # noqa: B023 - awaited at once
            oracle.count.trials += 1
        await oracle.check()
        assert states(oracle) == {"completed"}


def move(clock: Path, jump: int) -> None:
    """Move the clock in one step, so that nobody reads half a time."""
    beside = clock.with_suffix(".new")
    beside.write_text(str(float(clock.read_text()) + jump))
    beside.replace(clock)


# --- readers that stop reading


def resident(server: Server) -> int:
    """Return the server's own memory in bytes."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


BIG = 16_000
"""Words, each with the padding: 20 MB of events, more than the kernel holds for both ends of a connection."""

PADDING = "x" * 1000


async def watch(server: Server, memory: list[int]) -> None:
    """Note the server's memory again and again: what has come and gone in between counts too."""
    while True:
        memory.append(resident(server))
        await asyncio.sleep(0.02)


async def store(data: Path, stream: Stream) -> None:
    """Write a whole answer into the log, an event for every word."""
    async with SqliteEngine(data / "tape.db", lost=encode_delta(LOST)) as log:
        header = Header(id=stream.id, owner=LOCAL, model="echo", created=0)
        writer = await create(log, header, [OPENING])
        first, *others = stream.text.split()
        entries = [encode_delta(Text(text)) for text in (first, *(f" {word}" for word in others))]
        await writer.finish([*entries, encode_delta(Finish("stop")), encode_delta(End(State.COMPLETED, "stop"))])


def late(readers: list[Reader], rate: float, since: float, until: float) -> float:
    """Return how late, in seconds, 19 of 20 events of this time were at most, by the pace of the echo model."""
    found = []
    for reader in readers:
        lags = [(at, at - index / rate) for index, at in enumerate(reader.arrivals[1:])]
        begun = min(lag for _at, lag in lags)
        found += [lag - begun for at, lag in lags if since <= at < until]
    return sorted(found)[len(found) * 19 // 20]


@at_scale(streams=(50, 1000), stalled=(6, 40), seconds=(5, 60), rate=(20, 4))
async def test_readers_who_stop_reading_cost_no_memory_and_slow_nobody(
    serve: Serve, judge: Judge, tmp_path: Path, streams: int, stalled: int, seconds: int, rate: int
) -> None:
    """Guards the parking of readers whose connection is full: written to all the same, they fill the memory; waited
    for, they hold up the others. They are dropped after a while, come back, and go on from their index; a rendering
    that is shared with readers who stand elsewhere is a gap or a repeat.
    """
    data = tmp_path / "data"
    async with judge("readers stop reading, beside live streams", "") as oracle:
        big = oracle.add(BIG)
        big.id, big.text = "b" * 32, " ".join(f"{word}{PADDING}" for word in big.text.split())
        await store(data, big)
        server = serve(f"--set=send_timeout={seconds * 0.6}", echo_rate=rate, data=data)
        oracle.url = server.url
        live = [oracle.ask(rate * (seconds + 4)) for _ in range(streams)]
        await oracle.far(live, 2)
        began = time.monotonic()
        await oracle.far(live, rate * 2)
        stopped, memory, go_on = time.monotonic(), [resident(server)], asyncio.Event()
        slow = [oracle.join(big, stall=go_on) for _ in range(stalled)]
        watching = asyncio.create_task(watch(server, memory))
        await oracle.far(live, rate * (seconds + 2), 60 + 3 * seconds)
        ended, grown = time.monotonic(), max(memory) - memory[0]
        watching.cancel()
        assert max(seen(slow)) < BIG, "nobody stood still"
        go_on.set()
        await oracle.check(60 + 3 * seconds)
        oracle.count.trials += stalled
        assert states(oracle) == {"completed"}
        assert all(reader.connections > 1 for reader in slow), "who takes nothing is not dropped"
        before, beside = late(live, rate, began, stopped), late(live, rate, stopped, ended)
        # A machine that others keep busy delays anybody by as much as it likes; a short run says nothing of that.
        if seconds >= 60 and os.getloadavg()[0] < (os.cpu_count() or 1):
            assert beside < 2 * before + 0.1, f"events were {beside:.3f} s late, {before:.3f} s before"
        most = 24e6 + 3 * len(big.text) + 2e6 * stalled  # the answer as it is read from the disk, and one slice each
        assert grown < most, f"the memory grew by {grown / 1e6:.0f} MB, {most / 1e6:.0f} are for that"
