"""The SQLite log: what is left after a restart, how streams are folded, and that a damaged file is told."""

from __future__ import annotations

import asyncio
import errno
import gc
import sqlite3
import stat
import threading
import weakref
from itertools import count
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.producer import Producer
from tickertape.errors import EngineUnavailable
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import check, connect, encode_group
from tickertape.testing.engine_contract import (
    DONE,
    LOST,
    begin,
    caught_up,
    create,
    new_header,
    text,
    whole,
)

if TYPE_CHECKING:
    from pathlib import Path


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """Look into the file from outside."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


NEVER = 1e9
"""Seconds. No stream is that old."""


def open_log(path: Path, **options: float) -> SqliteEngine:
    return SqliteEngine(path, lost=LOST, **options)  # type: ignore[arg-type]


async def settled(log: SqliteEngine) -> None:
    """Wait until everything that was asked of the writer before is committed."""
    await log.expire(NEVER)


# --- opening


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("FileSystem does not support flock")]
)
async def test_a_folder_that_takes_no_locks_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(EngineUnavailable, match=r"takes no locks: .* Choose another --data folder, on a local disk\.$"):
        async with open_log(tmp_path / "tape.db"):
            pass


# --- restart


_files = count()
entries = st.lists(st.sampled_from([b"", b"#1 1", b"#1 1 0 end", b"\0", b"\r", b't"a"', b"\xff", b" "]), max_size=4)


@given(first=entries, appends=st.lists(entries, max_size=4), last=st.none() | entries)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_entries_survive_a_restart(
    quick_path: Path, first: list[bytes], appends: list[list[bytes]], last: list[bytes] | None
) -> None:
    path = quick_path / f"{next(_files)}.db"

    async def write() -> str:
        async with open_log(path) as log:
            writer = await create(log, new_header(), first)
            other = await begin(log)
            for number, batch in enumerate(appends, 2):
                writer.append(batch)
                other.append([text(number)])
                if number % 2:
                    await settled(log)
            if last is not None:
                await writer.finish([*last, DONE])
            return writer.stream.header.id

    async def read(stream_id: str) -> list[bytes]:
        async with open_log(path) as log:
            return (await log.get(stream_id, "ann")).entries

    expected = [*first, *(entry for batch in appends for entry in batch)]
    expected += [LOST] if last is None else [*last, DONE]
    assert asyncio.run(read(asyncio.run(write()))) == expected


# --- the file while it is used


async def test_an_ended_stream_is_compacted_into_one_row_and_its_batches_go(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db") as log:
        writer = await begin(log)
        for number in range(2, 30):
            writer.append([text(number)])
            await caught_up(writer.stream, number)
        assert len(rows(tmp_path / "tape.db", "SELECT tick FROM journal")) == 29
        await writer.finish([DONE])
        await settled(log)
        assert rows(tmp_path / "tape.db", "SELECT tick FROM journal") == []
        assert rows(tmp_path / "tape.db", "SELECT body FROM stream") == [(b"\n".join(writer.stream.entries),)]


async def test_a_batch_stays_as_long_as_one_of_its_streams_runs(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db") as log:
        short, long = await asyncio.gather(begin(log), begin(log))
        for number in range(2, 10):
            short.append([text(number)])
            long.append([text(number)])
            await caught_up(long.stream, number)
        before = rows(tmp_path / "tape.db", "SELECT tick FROM journal")
        await short.finish([DONE])
        await settled(log)
        assert rows(tmp_path / "tape.db", "SELECT tick FROM journal") == before
        await long.finish([DONE])
        await settled(log)
        assert rows(tmp_path / "tape.db", "SELECT tick FROM journal") == []


async def test_many_streams_that_come_and_go_leave_no_batches(tmp_path: Path) -> None:
    async def produce(size: int) -> None:
        writer = await begin(log)
        for number in range(2, size):
            writer.append([text(number)])
            await asyncio.sleep(0)
        await writer.finish([DONE])

    async with open_log(tmp_path / "tape.db") as log:
        await asyncio.gather(*(produce(size % 37) for size in range(150)))
        await settled(log)
        assert rows(tmp_path / "tape.db", "SELECT tick FROM journal") == []
        assert rows(tmp_path / "tape.db", "SELECT count(*) FROM stream WHERE body IS NULL") == [(0,)]


async def test_a_stream_that_nobody_holds_is_read_from_disk(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db") as log:
        writer = await begin(log, text(1), b"", b"#1 1")
        await writer.finish([DONE])
        await settled(log)
        header, kept = writer.stream.header, weakref.ref(writer.stream)
        del writer
        gc.collect()
        assert kept() is None
        again = await log.get(header.id, "ann")
        assert (again.header, again.entries, again.ended) == (header, [text(1), b"", b"#1 1", DONE], True)


async def test_a_writer_that_waits_keeps_no_ended_stream_in_memory(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db", reap=1000) as log:
        writer = await begin(log)
        await writer.finish([DONE])
        kept = weakref.ref(writer.stream)
        del writer
        while kept() is not None:
            await asyncio.sleep(0)


async def test_tokens_that_come_together_share_a_transaction(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db") as log:
        writers = await asyncio.gather(*(begin(log) for _ in range(20)))
        for writer in writers:
            for number in range(2, 52):
                writer.append([text(number)])
        await asyncio.gather(*(caught_up(writer.stream, 51) for writer in writers))
        assert rows(tmp_path / "tape.db", "SELECT count(*) FROM journal")[0][0] < 10


async def test_nothing_is_readable_before_it_is_committed(tmp_path: Path) -> None:
    """Whenever a reader is woken, the file already holds what it can read: asked over a connection of its own."""
    async with open_log(tmp_path / "tape.db") as log:
        writer = await begin(log)
        outside = sqlite3.connect(tmp_path / "tape.db")
        checks = []

        def on_disk() -> None:
            found = b"\n".join(body for (body,) in outside.execute("SELECT body FROM journal ORDER BY tick"))
            checks.append(all(entry in found.split(b"\n") for entry in writer.stream.entries))

        writer.stream.listen(on_disk)
        for number in range(2, 200):
            writer.append([text(number)])
            if number % 40 == 0:
                await caught_up(writer.stream, number)
        await writer.finish([DONE])
        outside.close()
        assert len(checks) > 2
        assert all(checks)


# --- the door


@pytest.mark.parametrize("table", ["producer", "stream", "journal"])
async def test_a_damaged_page_is_one_clear_sentence(tmp_path: Path, table: str) -> None:
    path = tmp_path / "tape.db"
    connection = connect(path)
    connection.execute("INSERT INTO producer (no, name, beat) VALUES (7, 'dead', 0)")
    for no in range(500):
        statement = "INSERT INTO stream (no, id, owner, model, created, producer) VALUES (?, ?, 'ann', 'echo', 0, 7)"
        connection.execute(statement, (no + 1, f"{no}"))
        tick = encode_group(no + 1, 1, [text(1) * 20], ended=False)
        connection.execute("INSERT INTO journal (producer, body) VALUES (7, ?)", (tick,))
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    damaged = bytearray(path.read_bytes())
    damaged[(root - 1) * 4096 : root * 4096] = b"\xaa" * 4096
    path.write_bytes(damaged)
    with pytest.raises(EngineUnavailable, match="the file is damaged; move it away"):
        async with open_log(path):
            pass
    assert [file.name for file in tmp_path.glob("*.lock")] in ([], ["tape.db-producer-dead.lock"])


async def test_a_log_that_could_not_be_opened_lets_go_of_its_threads_and_files(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    path.write_bytes(b"Dear diary, " * 1000)
    log = open_log(path)
    with pytest.raises(EngineUnavailable):
        await log.__aenter__()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tape.db"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tickertape")]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            EngineUnavailable, match=r"cannot be used for the stream log: .*Choose another --data folder"
        ):
            check(folder / "tape.db")


def test_a_folder_that_cannot_be_written_is_told() -> None:
    from pathlib import Path

    with pytest.raises(EngineUnavailable, match="Choose another --data folder"):
        check(Path("/proc/self/tape.db"))


async def test_other_users_of_the_machine_cannot_read_the_answers(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tape.db"
    async with open_log(path) as log:
        await begin(log)
        for name in ("tape.db", "tape.db-wal", "tape.db-shm"):
            assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_check_leaves_nothing_but_the_log(tmp_path: Path) -> None:
    check(tmp_path / "new" / "folder" / "tape.db")
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["tape.db"]


def test_processes_that_open_one_new_file_at_once_do_not_trip_over_each_other(tmp_path: Path) -> None:
    producers = [Producer(tmp_path / "tape.db") for _ in range(6)]
    try:
        for producer in producers:
            producer.ready()
            assert producer.command("append 3") == "ok"
            assert producer.command("finish") == "ok"
    finally:
        for producer in producers:
            producer.__exit__()
    ids = {stream for producer in producers for stream in producer.streams}
    assert {row[0] for row in rows(tmp_path / "tape.db", "SELECT id FROM stream")} == ids


async def test_opening_and_closing_leaves_no_lock_file(tmp_path: Path) -> None:
    async with open_log(tmp_path / "tape.db"):
        assert len(list(tmp_path.glob("*.lock"))) == 1
    assert not list(tmp_path.glob("*.lock"))
    assert rows(tmp_path / "tape.db", "SELECT * FROM producer") == []


async def test_the_log_can_be_opened_and_closed_without_being_used(tmp_path: Path) -> None:
    for _ in range(3):
        async with open_log(tmp_path / "tape.db"):
            pass


async def test_a_reader_that_is_far_behind_the_disk_makes_the_producer_wait(tmp_path: Path) -> None:
    """An endless producer does not fill the memory: it is at most a backlog ahead of the disk."""
    async with open_log(tmp_path / "tape.db") as log:
        writer = await begin(log)
        stream, most = writer.stream, 0
        for number in range(2, 60_002):
            if writer.behind:
                await writer.drained()
            writer.append([text(number)])
            most = max(most, number - len(stream.entries))
        assert most <= 20_002
        await writer.finish([DONE])
        assert await whole(stream) == [*map(text, range(1, 60_002)), DONE]
