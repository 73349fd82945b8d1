"""Streams of other processes are read together: what a look costs does not grow with their number, and nobody waits."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.errors import EngineUnavailable, UnknownStream
from tickertape.streams.sqlite import file_format
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, key, text, whole

from .faults import Connections
from .test_single_flight import turn
from .test_sqlite import settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from tickertape.streams.contract import Stream, StreamWriter


pytestmark = pytest.mark.usefixtures("unwatched")

FAR = 10**9
"""An entry that no stream has: to ask for it makes an engine look."""


@asynccontextmanager
async def two(path: Path, connections: Connections | None = None) -> AsyncIterator[tuple[SqliteEngine, SqliteEngine]]:
    """Open the file twice, as two processes would; the second one has these connections."""
    options: dict[str, Any] = {} if connections is None else {"connect": connections}
    path = path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as here, SqliteEngine(path, lost=LOST, **options) as there:
        yield here, there


async def look(engine: SqliteEngine, copies: Iterable[Stream]) -> None:
    """Have an engine look at what others have written, if one of these is yet to end."""
    running = [copy for copy in copies if not copy.ended]
    if running:
        await engine.reach(running[0], FAR)


async def begin_many(log: SqliteEngine, count: int) -> list[StreamWriter]:
    return await asyncio.gather(*(begin(log) for _ in range(count)))


async def test_a_look_takes_as_many_statements_for_fifty_streams_as_for_one(quick_path: Path) -> None:
    """Guards: 300 readers of streams elsewhere cost 300 readings of the whole journal a look."""
    connections, statements = Connections(), list[str]()
    async with two(quick_path, connections) as (here, there):
        connections.follower.set_trace_callback(statements.append)
        counts = []
        for size in (1, 50):
            writers = await begin_many(here, size)
            copies = [await there.get(writer.stream.header.id, "ann") for writer in writers]
            for writer in writers:
                writer.append([text(2)])
            await asyncio.gather(*(caught_up(writer.stream, 2) for writer in writers))
            statements.clear()
            await look(there, copies)
            assert [copy.entries for copy in copies] == [[text(1), text(2)]] * size
            counts.append(len(statements))
            for writer in writers:
                await writer.finish([DONE])
            await look(there, copies)
        assert counts[0] == counts[1]


async def test_a_hundred_readers_that_come_at_once_share_one_pass_over_the_journal(quick_path: Path) -> None:
    connections, statements, loads = Connections(), list[str](), list[str]()
    async with two(quick_path, connections) as (here, there):
        writers = await begin_many(here, 100)
        await there.get((await begin(here)).stream.header.id, "ann")  # it is active from now on
        connections.follower.set_trace_callback(statements.append)
        connections.reader.set_trace_callback(loads.append)
        read_on = connections.follower.hold()
        getting = [asyncio.create_task(there.get(writer.stream.header.id, "ann")) for writer in writers]
        while sum("FROM stream WHERE id" in load for load in loads) < 100:
            await asyncio.sleep(0)
        await there.keyed("ann", key())  # behind the last of these: all are known to run, and the first look has begun
        await turn()
        read_on.open()
        found = await asyncio.gather(*getting)
        assert [copy.entries for copy in found] == [[text(1)]] * 100
        assert sum("ORDER BY tick DESC" in statement for statement in statements) <= 2
        for writer in writers:
            await writer.finish([DONE])


async def test_who_asks_for_a_stream_while_it_is_read_for_the_first_time_reads_every_entry_once(
    quick_path: Path,
) -> None:
    connections = Connections()
    async with two(quick_path, connections) as (here, there):
        writer = await begin(here)
        read_on = connections.follower.hold()
        getting = [asyncio.create_task(there.get(writer.stream.header.id, "ann"))]
        await read_on.reached.wait()
        getting += [asyncio.create_task(there.get(writer.stream.header.id, "ann")) for _ in range(2)]
        await turn()
        read_on.open()
        copies = await asyncio.gather(*getting)
        await writer.finish([DONE])
        await look(there, copies)
        assert all(copy is copies[0] for copy in copies)
        assert copies[0].entries == [text(1), DONE]


async def test_what_was_appended_before_a_stream_began_is_not_read_for_it(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickertape.streams.sqlite.follower.PIECE", 4)
    real, read = file_format.BatchReader.add, []

    def counting(gathered: file_format.BatchReader, ticks: Any) -> None:
        taken = list(ticks)
        read.extend(taken)
        real(gathered, taken)

    async with two(quick_path) as (here, there):
        old = await begin(here)
        for number in range(2, 40):
            old.append([text(number)])
            await caught_up(old.stream, number)
        writer = await begin(here)
        monkeypatch.setattr(file_format.BatchReader, "add", counting)
        assert (await there.get(writer.stream.header.id, "ann")).entries == [text(1)]
        assert len(read) <= 4
        assert (await there.get(old.stream.header.id, "ann")).entries == old.stream.entries
        await asyncio.gather(writer.finish([DONE]), old.finish([DONE]))


async def test_nothing_else_waits_while_another_processs_stream_is_read(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: dead producers were noticed, and keys found, only after all that was to be read."""
    real, reading, read_on = file_format.BatchReader.add, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(gathered: file_format.BatchReader, ticks: Any) -> None:
        loop.call_soon_threadsafe(reading.set)
        assert read_on.wait(60)
        real(gathered, ticks)

    async with two(quick_path) as (here, there):
        writer, ended = await begin(here), await begin(here)
        await ended.finish([DONE])
        await settled(here)
        monkeypatch.setattr(file_format.BatchReader, "add", slow)
        getting = asyncio.create_task(there.get(writer.stream.header.id, "ann"))
        await reading.wait()
        assert await there.reap() == 0
        assert await whole(await there.get(ended.stream.header.id, "ann")) == ended.stream.entries
        assert await there.keyed("ann", key("another")) is None
        mine = await begin(there)
        await mine.finish([DONE])
        assert not getting.done()
        read_on.set()
        assert (await getting).entries == [text(1)]
        await writer.finish([DONE])


async def test_whatever_happens_between_two_looks_every_reader_elsewhere_gets_every_entry_once(
    quick_path: Path,
) -> None:
    """Begin, append, end, fold and look, in any order."""
    chance = random.Random(2)
    async with two(quick_path) as (here, there):
        running: list[StreamWriter] = []
        copies: list[tuple[Stream, Stream]] = []
        for _ in range(400):
            match chance.randrange(8):
                case 0 | 1:
                    running.append(await begin(here))
                case 2 | 3 | 4 if running:
                    for writer in chance.sample(running, chance.randint(1, len(running))):
                        size = len(writer.stream.entries)
                        writer.append([text(size + more) for more in range(chance.randint(1, 3))])
                    await asyncio.sleep(0)
                case 5 if running:
                    await running.pop(chance.randrange(len(running))).finish([DONE])
                    if chance.random() < 0.5:
                        await here.delete([])  # until the fold is committed
                case 6 if running:
                    stream = chance.choice(running).stream
                    copies.append((stream, await there.get(stream.header.id, "ann")))
                case 7:
                    committed = [len(stream.entries) for stream, _copy in copies]
                    await look(there, (copy for _stream, copy in copies))
                    assert all(
                        len(copy.entries) >= size for (_stream, copy), size in zip(copies, committed, strict=True)
                    )
            for stream, copy in copies:
                both = min(len(stream.entries), len(copy.entries))
                assert copy.entries[:both] == stream.entries[:both]
        for writer in running:
            await writer.finish([DONE])
        await look(there, (copy for _stream, copy in copies))
        assert len(copies) > 20
        for stream, copy in copies:
            assert (copy.entries, copy.ended) == (stream.entries, True)


async def test_a_file_that_cannot_be_read_is_told_to_who_asks_and_read_again_later(quick_path: Path) -> None:
    connections = Connections()
    async with two(quick_path, connections) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        for first in range(1, 7):
            connections.follower.fail(first)
            with pytest.raises(EngineUnavailable, match="I/O error"):
                await there.get(writer.stream.header.id, "ann")
            assert copy.entries == [text(1)]
        assert (await there.get(writer.stream.header.id, "ann")).entries == [text(1), text(2)]
        await writer.finish([DONE])


async def test_a_stream_that_is_deleted_before_it_is_read_is_unknown(quick_path: Path) -> None:
    connections = Connections()
    async with two(quick_path, connections) as (here, there):
        writer = await begin(here)
        gate = connections.follower.hold()
        getting = asyncio.create_task(there.get(writer.stream.header.id, "ann"))
        await gate.reached.wait()
        with closing(sqlite3.connect(quick_path / "tape.db", isolation_level=None)) as outside:
            outside.execute("DELETE FROM stream")
        gate.open()
        with pytest.raises(UnknownStream):
            await getting
