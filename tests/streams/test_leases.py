"""Several processes on one file: they see each other's streams, stop them, and notice who died."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from support.producer import DONE, LOST, Producer, entry
from tickertape.errors import EngineError, UnknownStream
from tickertape.streams.sqlite import file_format, leases
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import begin, caught_up, create, key, new_header, stopped, text, whole

from .faults import Connections
from .test_single_flight import turn
from .test_sqlite import rows, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.streams.contract import Stream, StreamWriter


SOON = {"reap": 0.05}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tape.db"


def open_log(path: Path, **options: Any) -> SqliteEngine:
    return SqliteEngine(path, lost=LOST, **(SOON | options))


@asynccontextmanager
async def two(path: Path, **options: Any) -> AsyncIterator[tuple[SqliteEngine, SqliteEngine]]:
    """Open the file twice, as two processes would; the options are for the second one."""
    async with open_log(path) as here, open_log(path, **options) as there:
        yield here, there


def oracle(stream_id: str, count: int) -> list[bytes]:
    return [entry(stream_id, number) for number in range(1, count + 1)]


# --- reading each other's


async def test_a_stream_of_a_process_alone_is_seen_by_one_that_comes_later(path: Path) -> None:
    async with open_log(path) as here:
        writer = await begin(here)
        async with open_log(path) as there:
            copy = await there.get(writer.stream.header.id, "ann")
            await there.cancel(copy)
            await stopped(writer)
            await writer.finish([DONE])
            assert await whole(copy) == [text(1), DONE]


# --- races between reading and compacting, with the moment held still


async def compact_now(log: SqliteEngine, writer: StreamWriter, beside: StreamWriter, *, last: int) -> None:
    """Append up to ``last``, finish and compact; every second batch stays, as it is shared with another stream."""
    for number in range(len(writer.stream.entries) + 1, last + 1):
        writer.append([text(number)])
        if number % 2:
            beside.append([text(number)])
        await caught_up(writer.stream, number)
    beside.append([text(0)])
    await writer.finish([DONE])
    await settled(log)


async def with_a_batch_that_stays(log: SqliteEngine) -> tuple[StreamWriter, StreamWriter]:
    """Begin a stream whose second batch is shared with another stream, and stays; the first does not."""
    writer = await begin(log)
    writer.append([text(2)])
    beside = await begin(log)
    await caught_up(writer.stream, 2)
    return writer, beside


JOURNAL = "body, crc FROM journal"
"""In the statement that reads batches."""


async def test_a_stream_that_is_compacted_while_it_is_loaded_has_no_gap(path: Path) -> None:
    connections = Connections()
    async with two(path, connect=connections) as (here, there):
        writer, beside = await with_a_batch_that_stays(here)
        stream = writer.stream
        gate = connections.follower.hold(JOURNAL)
        loading = asyncio.create_task(there.get(stream.header.id, "ann"))
        await gate.reached.wait()
        await compact_now(here, writer, beside, last=20)
        gate.open()
        copy = await loading
        assert len(copy.entries) >= 2, "this was there when it was asked for"
        assert await whole(copy) == stream.entries
        await beside.finish([DONE])


async def test_a_stream_that_is_compacted_while_it_is_watched_has_no_gap(path: Path) -> None:
    connections = Connections()
    async with two(path, connect=connections) as (here, there):
        writer, beside = await with_a_batch_that_stays(here)
        stream = writer.stream
        copy = await there.get(stream.header.id, "ann")
        gate = connections.follower.hold(JOURNAL)
        reading = asyncio.create_task(whole(copy))
        writer.append([text(3)])
        await gate.reached.wait()
        await compact_now(here, writer, beside, last=20)
        gate.open()
        assert await reading == stream.entries
        await beside.finish([DONE])


async def test_an_end_that_comes_while_the_stream_is_loaded_is_not_missed(path: Path, unwatched: None) -> None:
    """The last commit falls between the reading of the stream and its being watched; nothing else is ever written."""
    connections = Connections()
    async with open_log(path, reap=3600) as here, open_log(path, reap=3600, connect=connections) as there:
        writer, other = await begin(here), await begin(here)
        copy = await there.get(other.stream.header.id, "ann")
        gate = connections.follower.hold(JOURNAL, before=False)
        loading = asyncio.create_task(there.get(writer.stream.header.id, "ann"))
        await gate.reached.wait()
        await writer.finish([text(2), DONE])
        looking = asyncio.create_task(there.reach(copy, 9))  # the next look, behind the loading
        await turn()
        gate.open()
        await looking
        assert await whole(await loading) == writer.stream.entries
        await other.finish([DONE])


async def test_get_brings_another_processs_stream_up_to_date(path: Path, unwatched: None) -> None:
    """A reader may come from there with a cursor that is newer than what was seen here."""
    async with two(path) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        for number in range(2, 10):
            writer.append([text(number)])
            await caught_up(writer.stream, number)
            assert await there.get(writer.stream.header.id, "ann") is copy
            assert copy.entries == writer.stream.entries
        await writer.finish([DONE])
        await there.get(writer.stream.header.id, "ann")
        assert (copy.entries, copy.ended) == (writer.stream.entries, True)


async def test_a_stream_that_is_deleted_while_it_is_watched_does_not_blind_the_watch(path: Path) -> None:
    async with two(path) as (here, there):
        gone, kept = await begin(here), await begin(here)
        watched = await there.get(gone.stream.header.id, "ann")
        copy = await there.get(kept.stream.header.id, "ann")
        outside = sqlite3.connect(path, isolation_level=None)
        outside.execute("DELETE FROM stream WHERE id = ?", (gone.stream.header.id,))
        outside.close()
        kept.append([text(2)])
        await kept.finish([DONE])
        assert await whole(copy) == [text(1), text(2), DONE]
        assert watched.header.id == gone.stream.header.id


@pytest.mark.parametrize("lookup", [True, False])
async def test_a_key_whose_stream_is_deleted_while_it_is_looked_up_makes_a_stream(
    path: Path, monkeypatch: pytest.MonkeyPatch, lookup: bool
) -> None:
    """Who repeats a POST in that moment was told that there is no such stream, though it named none."""
    async with two(path) as (here, there):
        old = await create(here, new_header(), [text(1)], key())
        await old.finish([DONE])
        await settled(here)
        get = there.get

        async def late(stream_id: str, owner: str) -> Stream:
            await here.delete([old.stream.header.id])
            return await get(stream_id, owner)

        monkeypatch.setattr(there, "get", late)
        if lookup:
            assert await there.keyed("ann", key()) is None
        else:
            new = await create(there, new_header(), [text(1)], key())
            assert new.stream.header.id != old.stream.header.id
            await new.finish([DONE])


@pytest.mark.parametrize("maker", [True, False], ids=["at its maker", "at a process that has read it"])
async def test_a_stream_that_another_process_has_deleted_is_unknown_while_it_is_in_memory_here(
    path: Path, maker: bool
) -> None:
    async with two(path) as (here, there):
        writer = await begin(here)
        await writer.finish([DONE])
        await settled(here)
        stream_id = writer.stream.header.id
        read = await there.get(stream_id, "ann")
        holder, other, held = (here, there, writer.stream) if maker else (there, here, read)
        assert await holder.get(stream_id, "ann") is held
        await other.delete([stream_id])
        held.enter()
        assert await holder.get(stream_id, "ann") is held, "who reads it may come back to it"
        held.leave()
        with pytest.raises(UnknownStream):
            await holder.get(stream_id, "ann")
        assert held.ended


async def test_an_answer_that_has_ended_is_in_no_memory_once_its_last_reader_has_left(path: Path) -> None:
    """Not even until the garbage is collected: a server that is idle collects none."""
    gc.disable()
    try:
        async with open_log(path, reap=0.001) as here, open_log(path, reap=0.001) as there:
            writer = await begin(here)
            copy = await there.get(writer.stream.header.id, "ann")
            for log in (here, there):
                passed = asyncio.Event()
                reap = log.reap
                passes: list[int] = []

                async def counted(reap: Any = reap, passes: list[int] = passes, passed: asyncio.Event = passed) -> int:
                    passes.append(1)
                    if len(passes) > 2:
                        passed.set()
                    return int(await reap())

                log.reap = counted  # type: ignore[method-assign]
                await passed.wait()
            await writer.finish([DONE])
            await whole(copy)
            await settled(here)
            alive = [weakref.ref(writer.stream), weakref.ref(copy)]
            del writer, copy
            while not here.idle or not there.idle:
                await asyncio.sleep(0.001)
            assert [found() for found in alive] == [None, None]
    finally:
        gc.enable()


# --- the dead


async def test_a_killed_producer_is_noticed_by_another_process_that_does_nothing_else(path: Path) -> None:
    with Producer(path, streams=3) as producer:
        async with open_log(path) as log:
            producer.ready().command("append 5")
            streams = [await log.get(stream, "ann") for stream in producer.streams]
            reading = [asyncio.create_task(whole(stream)) for stream in streams]
            await asyncio.gather(*(caught_up(stream, 6) for stream in streams))
            producer.kill()
            for stream, entries in zip(producer.streams, await asyncio.gather(*reading), strict=True):
                assert entries == [*oracle(stream, 6), LOST]


async def test_a_killed_producers_streams_are_ended_before_the_next_engine_is_open(path: Path) -> None:
    with Producer(path, streams=3) as producer:
        producer.ready().command("append 5")
        producer.kill()
    async with open_log(path) as log:
        assert rows(path, "SELECT 1 FROM stream WHERE ended IS NULL") == [], "who asks is not the first who looks"
        for stream_id in producer.streams:
            stream = await log.get(stream_id, "ann")
            assert (stream.entries, stream.ended) == ([*oracle(stream_id, 6), LOST], True)
        assert not list(path.parent.glob(f"*{'lock'}"))[1:], "the dead one's lock file is left"


@pytest.mark.parametrize("size", [2, 50, 1000])
async def test_nothing_that_was_acknowledged_is_missing_after_a_kill(path: Path, size: int) -> None:
    with Producer(path, streams=10, free=True) as producer:
        producer.ready().acknowledge(size)
        producer.kill()
    async with open_log(path) as log:
        for stream, acknowledged in producer.acknowledged.items():
            *entries, end = await whole(await log.get(stream, "ann"))
            assert end == LOST
            assert entries == oracle(stream, len(entries))
            assert len(entries) >= acknowledged
    assert rows(path, "SELECT * FROM journal") == []


async def test_another_process_that_reads_along_sees_what_the_log_holds_after_the_kill(path: Path) -> None:
    with Producer(path, streams=5, free=True) as producer:
        async with open_log(path) as log:
            producer.ready()
            streams = [await log.get(stream, "ann") for stream in producer.streams]
            reading = [asyncio.create_task(whole(stream)) for stream in streams]
            await asyncio.gather(*(caught_up(stream, 200) for stream in streams))
            producer.kill()
            seen = await asyncio.gather(*reading)
    async with open_log(path) as log:
        for stream, entries in zip(producer.streams, seen, strict=True):
            assert entries == [*oracle(stream, len(entries) - 1), LOST]
            assert entries == await whole(await log.get(stream, "ann"))


async def test_a_producer_that_lives_and_says_nothing_keeps_its_streams_beyond_the_lease(path: Path) -> None:
    """Guards the beat: without it, every producer would be taken for dead after its lease."""
    lease = {"lease": 4.0, "reap": 0.3}  # long enough that a busy machine is not a dead producer
    async with open_log(path, **lease) as here, open_log(path, **lease) as there:
        writer = await begin(here)
        beats: set[object] = set()
        while len(beats) < 15:  # more of them than fit into a lease
            found = rows(path, "SELECT beat FROM producer WHERE no = 1")
            assert found, "it was taken for dead"
            beats |= {beat for (beat,) in found}
            await asyncio.sleep(0.01)
        await there.reap()
        writer.append([text(2)])
        await writer.finish([DONE])
        assert await whole(writer.stream) == [text(1), text(2), DONE]


async def test_a_frozen_producer_is_noticed_and_fenced_and_goes_on_as_a_new_one(path: Path) -> None:
    lease = {"lease": 1.5, "reap": 0.1}
    with Producer(path, streams=2, **lease) as producer:
        async with open_log(path, **lease) as log:
            producer.ready().command("append 5")
            streams = [await log.get(stream, "ann") for stream in producer.streams]
            producer.freeze()
            seen = await asyncio.gather(*map(whole, streams))
            for stream, entries in zip(producer.streams, seen, strict=True):
                assert entries == [*oracle(stream, 6), LOST]
            producer.thaw()
            assert "taken for dead" in producer.command("append 5")
            assert producer.command("fail") == "ok"
            fresh = producer.command("create")
            assert (await log.get(fresh, "ann")).entries == oracle(fresh, 1)
            for stream, entries in zip(producer.streams, seen, strict=True):
                assert await whole(await log.get(stream, "ann")) == entries


async def test_a_producer_whose_row_is_gone_writes_nothing_more(path: Path) -> None:
    async with open_log(path) as log:
        writer = await begin(log)
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        outside = file_format.connect(path)
        assert leases.reap(outside, writer.epoch, LOST) == 1
        outside.close()
        writer.append([text(3)])
        while writer.error is None:
            await writer.stream.wait(2)
        with pytest.raises(EngineError):
            writer.append([text(4)])
        with pytest.raises(EngineError):
            await writer.finish([text(5), DONE])
        await writer.fail(DONE)
        assert await whole(writer.stream) == [text(1), text(2), LOST], "live readers see the end that is on disk"
        assert rows(path, "SELECT * FROM journal") == []
        assert rows(path, "SELECT body FROM stream") == [(b"\n".join([text(1), text(2), LOST]),)]
        other = await begin(log)
        await other.finish([DONE])
        assert await whole(other.stream) == [text(1), DONE]


async def test_a_patrol_that_meets_an_error_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections()
    with Producer(path) as producer:
        async with open_log(path, connect=connections) as log:
            producer.ready()
            stream = await log.get(producer.streams[0], "ann")
            failures, real = [OSError("no locks here")], FileLock.acquire

            def failing(lock: FileLock, *values: Any, **options: Any) -> Any:
                if failures:
                    raise failures.pop()
                return real(lock, *values, **options)

            monkeypatch.setattr(FileLock, "acquire", failing)
            connections.reader.fail()
            producer.kill()
            assert await whole(stream) == [*oracle(producer.streams[0], 1), LOST]
            assert not failures
            assert len(connections.reader.failed) == 1
