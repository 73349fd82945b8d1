"""The thread that writes, on a disk that is full or fails: no gap, no false end, and the others go on.

The oracle of all these tests: entry n of a stream is a function of both; a reader sees a prefix of it and one end;
*completed* comes only after the whole; and what the file holds is what live readers saw.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from support.producer import DONE, LOST, Producer, entry
from tickertape.errors import EngineError, EngineUnavailable
from tickertape.streams.contract import Header
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import connect
from tickertape.streams.sqlite.leases import reap
from tickertape.testing.engine_contract import begin, caught_up, create, key, new_header, text, whole

from .faults import Connections, limit_pages
from .test_sqlite import NEVER, rows, settled

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.streams.contract import Stream, StreamWriter

FAILED = b'.{"state":"failed"}'
COUNT = 6
"""Entries of a stream that is whole, its end not counted."""
PADDING = b"x" * 2000


def padded(number: int, stream_id: str) -> bytes:
    return b't"%b %d %b"' % (stream_id.encode(), number, PADDING)


async def produce(log: SqliteEngine, writers: list[StreamWriter], *, pause: int) -> None:
    """Make one answer, as a generation does: what cannot be committed ends it as failed."""
    header = new_header()
    try:
        writer = await create(log, header, [padded(1, header.id)], key(header.id))
    except EngineUnavailable:
        return
    writers.append(writer)
    try:
        for number in range(2, COUNT + 1):
            writer.append([padded(number, header.id)])
            for _ in range(pause):
                await asyncio.sleep(0)
            if pause == 2:
                await caught_up_or_failed(writer, number)
        await writer.finish([DONE])
    except EngineError:
        await writer.fail(FAILED)


async def caught_up_or_failed(writer: StreamWriter, size: int) -> None:
    while len(writer.stream.entries) < size and writer.error is None:
        await writer.stream.wait(len(writer.stream.entries))


async def work(log: SqliteEngine) -> list[Stream]:
    """Make several answers side by side: in lockstep with the disk, a little faster, and all at once."""
    writers: list[StreamWriter] = []
    await asyncio.gather(*(produce(log, writers, pause=pause) for pause in (0, 1, 2)))
    return [writer.stream for writer in writers]


def check(header: Header, entries: list[bytes]) -> bool:
    """Check one stream against the oracle; return whether it is whole."""
    *body, end = entries
    assert body == [padded(number, header.id) for number in range(1, len(body) + 1)], "a gap, a repeat or a swap"
    assert end in (DONE, FAILED)
    assert end == FAILED or len(body) == COUNT, "a false end"
    return end == DONE


async def check_file(path: Path, seen: dict[Header, list[bytes]]) -> None:
    """Check that what is on disk is what live readers saw, and that nothing is left over."""
    async with SqliteEngine(path, lost=LOST) as log:
        for header, entries in seen.items():
            assert (await log.get(header.id, "ann")).entries == entries
    assert rows(path, "SELECT count(*) FROM journal") == [(0,)]
    ids = {header.id for header in seen}
    assert {name for (name,) in rows(path, "SELECT id FROM stream")} == ids
    assert {name for (name,) in rows(path, "SELECT stream FROM idempotency")} == ids, "a key without its stream"


async def live_on(log: SqliteEngine, streams: list[Stream]) -> dict[Header, list[bytes]]:
    """Check that the log goes on once the fault is over; return all streams as live readers saw them."""
    await settled(log)  # what the fault still hit is known now
    await log.probe()  # and what it kept from being written is tried again
    header = new_header()
    writer = await create(log, header, [padded(1, header.id)], key(header.id))
    writer.append([padded(number, header.id) for number in range(2, COUNT + 1)])
    await writer.finish([DONE])
    streams.append(writer.stream)
    seen = {stream.header: list(stream.entries) for stream in streams}
    kept = [weakref.ref(stream) for stream in streams]
    del writer
    streams.clear()
    await settled(log)
    await settled(log)
    gc.collect()
    assert not any(stream() for stream in kept), "they are on disk: no need to keep them in memory"
    for known, entries in seen.items():
        assert (await log.get(known.id, "ann")).entries == entries
    return seen


# --- moving the failing step on until the run completes


async def test_a_full_disk_at_any_page_ends_only_what_it_hits_and_leaves_no_gap(quick_path: Path) -> None:
    """Guards: the second end of an answer; the late end."""
    whole_ones = -1
    for more in range(200):
        path = quick_path / f"{more}.db"
        connections = Connections()
        async with SqliteEngine(path, lost=LOST, reap=60, connect=connections) as log:
            limit_pages(connections.writer, more)
            streams = await work(log)
            whole_ones = sum([check(stream.header, stream.entries) for stream in streams])
            limit_pages(connections.writer, None)
            seen = await live_on(log, streams)
        await check_file(path, seen)
        if whole_ones == 3:
            break
    assert whole_ones == 3, "the limit was never out of the way"
    assert more > 5, "the limit was never in the way"


@pytest.mark.parametrize("count", [1, 3, 1000], ids=["once", "three times", "for long"])
async def test_an_io_error_at_any_statement_ends_only_what_it_hits_and_leaves_no_gap(
    quick_path: Path, count: int
) -> None:
    """Guards: the rollback, that the thread outlives every error, and all that the full disk guards."""
    step, failed = 0, True
    while failed:
        step += 1
        path = quick_path / f"{step}.db"
        connections = Connections()
        async with SqliteEngine(path, lost=LOST, reap=60, synchronous="OFF", connect=connections) as log:
            connections.writer.fail(step, count)
            streams = await work(log)
            await settled_or_not(log)
            failed = bool(connections.writer.failed)
            assert count > 1 or not connections.writer.in_transaction, "others cannot write"
            assert [check(stream.header, stream.entries) for stream in streams].count(True) >= 0
            connections.writer.heal()
            seen = await live_on(log, streams)
        await check_file(path, seen)
    assert step > 10


async def test_a_full_disk_is_told_to_who_wants_to_begin(tmp_path: Path) -> None:
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        limit_pages(connections.writer, 0)
        refused: list[Any] = [None]
        while not isinstance(refused[0], EngineUnavailable):
            header = new_header()
            refused = await asyncio.gather(log.create(header, [padded(1, header.id) * 4]), return_exceptions=True)
        assert "the disk is full; free some space, the server goes on by itself" in str(refused[0])
        limit_pages(connections.writer, None)
        await (await begin(log)).finish([DONE])


async def test_a_late_append_does_not_fill_the_gap_of_an_earlier_one(tmp_path: Path) -> None:
    """The disk has room again before the producer knows that it had none. Guards: that an append must follow what was
    committed.
    """
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        writer = await begin(log)
        connections.writer.fail()
        writer.append([text(2)])
        await asyncio.sleep(0)  # it is handed over
        while not connections.writer.failed:
            pass  # the loop stands still: the producer has not been told
        writer.append([text(3)])
        with pytest.raises(EngineUnavailable, match="I/O error"):
            await writer.finish([DONE])
        await writer.fail(FAILED)
        assert await whole(writer.stream) == [text(1), FAILED]
    assert rows(tmp_path / "tape.db", "SELECT body FROM stream") == [(b"\n".join([text(1), FAILED]),)]


async def test_the_first_error_is_the_one_that_is_told(tmp_path: Path) -> None:
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        writer = await begin(log)
        connections.writer.fail()
        for number in (2, 3):
            writer.append([text(number)])
            await asyncio.sleep(0)  # it is handed over
            while not connections.writer.failed:
                pass  # the loop stands still: the producer has not been told
        with pytest.raises(EngineUnavailable, match="I/O error"):
            await writer.finish([DONE])


async def test_an_end_that_could_not_be_written_is_written_once_there_is_room(tmp_path: Path) -> None:
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, reap=0.01, connect=connections) as log:
        writer = await begin(log)
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        connections.writer.fail(1, 20)
        with pytest.raises(EngineUnavailable):
            await writer.finish([DONE])
        await writer.fail(FAILED)
        assert await whole(writer.stream) == [text(1), text(2), FAILED]
        stream_id = writer.stream.header.id
        del writer
        while rows(tmp_path / "tape.db", "SELECT 1 FROM stream WHERE body IS NULL"):
            assert (await log.get(stream_id, "ann")).entries == [text(1), text(2), FAILED]
            await settled_or_not(log)
        assert len(connections.writer.failed) == 20
    assert rows(tmp_path / "tape.db", "SELECT body FROM stream") == [(b"\n".join([text(1), text(2), FAILED]),)]


async def settled_or_not(log: SqliteEngine) -> None:
    await asyncio.gather(log.expire(NEVER), return_exceptions=True)


async def test_the_operator_is_told_once_that_the_disk_is_full_and_once_that_it_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, reap=60, connect=connections) as log:
        connections.writer.fail(1, 5)
        for _ in range(3):
            await settled_or_not(log)
        with pytest.raises(EngineUnavailable):
            await log.create(new_header(), [text(1)])
        connections.writer.heal()
        await settled(log)
        await settled(log)
    assert [record.levelname for record in caplog.records if record.name == "tickertape"] == ["ERROR", "WARNING"]
    assert "the disk reports an I/O error" in caplog.text
    assert "can be written again" in caplog.text


@pytest.mark.parametrize("step", range(1, 9))
async def test_a_producer_that_was_taken_for_dead_on_a_failing_disk_goes_on_once_it_can(
    tmp_path: Path, step: int
) -> None:
    """Guards: that the thread outlives an error while it registers anew."""
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, reap=60, connect=connections) as log:
        writer = await begin(log)
        outside = connect(tmp_path / "tape.db")
        reap(outside, writer.epoch, LOST)
        outside.close()
        connections.writer.fail(step, 3)
        for _ in range(8):
            await asyncio.gather(log.create(new_header(), [text(1)]), return_exceptions=True)
        connections.writer.heal()
        fresh = await begin(log)
        await fresh.finish([DONE])
        await writer.fail(FAILED)
        assert await whole(writer.stream) == [text(1), LOST]
        assert await whole(fresh.stream) == [text(1), DONE]


async def test_a_task_that_cannot_be_written_at_all_harms_no_other(tmp_path: Path) -> None:
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST) as log:
        writer = await begin(log)
        header = new_header()
        poisoned = Header(id="poison", owner="half a \ud83d", model="echo", created=0)
        writer.append([text(2)])
        results = await asyncio.gather(
            log.create(new_header(), [text(1)], key("one")),
            log.create(poisoned, [text(1)], key("two")),
            log.create(header, [text(1)], key("three")),
            return_exceptions=True,
        )
        assert isinstance(results[1], EngineUnavailable)
        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        await writer.finish([DONE])
        assert writer.stream.entries == [text(1), text(2), DONE]
        assert (await log.get(header.id, "ann")).entries == [text(1)]
    assert rows(tmp_path / "tape.db", "SELECT key FROM idempotency ORDER BY key") == [("one",), ("three",)]


# --- a limit that the operating system sets, in a process of its own


@pytest.mark.parametrize("room", [0, 1, 4_096, 20_000, 60_000])
async def test_a_file_that_may_not_grow_ends_only_what_it_hits(tmp_path: Path, room: int) -> None:
    """RLIMIT_FSIZE: writes beyond it fail, in the middle of the file that is being written."""
    path = tmp_path / "tape.db"
    with Producer(path, streams=3) as producer:
        producer.ready()
        assert producer.command("append 10") == "ok"
        size = path.with_name("tape.db-wal").stat().st_size
        producer.command(f"limit {size + room}")
        outcome = "ok"
        while outcome == "ok":
            outcome = producer.command("append 1")
        assert outcome.startswith("EngineUnavailable: The stream log"), outcome
        assert "No such file" not in outcome
        producer.command("limit -1")
        fresh = producer.command("create")
        producer.command("fail")
        producer.kill()
    async with SqliteEngine(path, lost=LOST) as log:
        for stream, acknowledged in producer.acknowledged.items():
            *entries, end = await whole(await log.get(stream, "ann"))
            assert entries == [entry(stream, number) for number in range(1, len(entries) + 1)]
            assert len(entries) >= acknowledged
            assert end == FAILED
        assert (await log.get(fresh, "ann")).entries == [entry(fresh, 1), FAILED]
