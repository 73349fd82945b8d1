"""Idle is idle: a log that nobody uses does nothing, and is still there at once for who comes."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from support.producer import Producer
from tickertape.streams.sqlite import leases
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import connect
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, stopped, text, whole

from .faults import Connections
from .test_single_flight import turn
from .test_sqlite import rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def open_log(path: Path, **options: Any) -> SqliteEngine:
    return SqliteEngine(path / "tape.db", lost=LOST, **options)


async def idle(*logs: SqliteEngine) -> None:
    """Wait until these have noticed that nothing runs and nobody reads."""
    while not all(log.idle for log in logs):
        await asyncio.sleep(0.001)


async def test_logs_that_nobody_uses_perform_no_statement_however_long_that_is(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: 50 looks a second, and a commit every two seconds, with nobody there."""
    opened = Connections(), Connections()
    async with (
        open_log(quick_path, reap=0.01, connect=opened[0]) as here,
        open_log(quick_path, reap=0.01, connect=opened[1]) as there,
    ):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        writer.append([text(2)])
        await caught_up(copy, 2)
        await writer.finish([DONE])
        assert await whole(copy) == [text(1), text(2), DONE]
        await idle(here, there)
        statements: list[str] = []
        for connections in opened:
            for connection in (connections.reader, connections.writer, connections.follower):
                connection.set_trace_callback(statements.append)
        loop, real = asyncio.get_running_loop(), time.monotonic
        for hours in range(1, 20):
            monkeypatch.setattr(loop, "time", lambda hours=hours: real() + hours * 3600)
            await turn()
        assert statements == []
        again = await begin(there)
        assert (await here.get(again.stream.header.id, "ann")).entries == [text(1)]
        assert statements
        await again.finish([DONE])


async def test_a_process_that_was_idle_beyond_its_lease_is_alive_and_so_is_its_next_answer(quick_path: Path) -> None:
    """Nobody waits for the beat of a process without streams; with one, it has a beat that is not old."""
    async with open_log(quick_path, reap=1000) as here, open_log(quick_path, reap=1000) as there:
        with closing(connect(quick_path / "tape.db")) as outside:
            outside.execute("UPDATE producer SET beat = beat - 1000")
            assert await there.reap() == 0
            assert len(leases.living(outside, quick_path / "tape.db")) == 2
        writer = await begin(here)
        assert await there.reap() == 0
        await writer.finish([text(2), DONE])
        assert await whole(writer.stream) == [text(1), text(2), DONE]
        assert len(rows(quick_path / "tape.db", "SELECT 1 FROM producer")) == 2


async def test_who_first_asks_an_idle_process_for_the_answer_of_a_dead_one_is_told_that_it_is_lost(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has looked for the dead since; it would be said to run."""
    with Producer(quick_path / "tape.db", streams=1) as producer:
        async with open_log(quick_path, reap=1000) as log:
            producer.ready().command("append 2")
            producer.kill()
            reap, asking = log.reap, asyncio.current_task()

            async def reap_here() -> int:
                if asyncio.current_task() is not asking:
                    await asyncio.Event().wait()  # the patrol, which was woken too, comes later
                return await reap()

            monkeypatch.setattr(log, "reap", reap_here)
            stream = await log.get(producer.streams[0], "ann")
            assert stream.ended
            assert stream.entries[-1] == LOST


async def test_a_stop_from_another_process_does_not_wait_for_the_next_look_for_the_dead(quick_path: Path) -> None:
    async with open_log(quick_path, reap=1000) as here:
        writer = await begin(here)
        async with open_log(quick_path, reap=1000) as there:
            await there.cancel(await there.get(writer.stream.header.id, "ann"))
            await stopped(writer)
            await writer.finish([DONE])
