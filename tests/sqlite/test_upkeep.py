"""The files of a server that runs: a plain copy has what was written, nothing has what was deleted, space is freed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER
from streams.conftest import quick_path
from support.answers import answer, conversations_of
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.sqlite import SqliteDatabase, check
from tickertape.sqlite import upkeep
from tickertape.sqlite.upkeep import Upkeep, checkpoint, shrink
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import connect
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.streams.sqlite.commands import Delete

__all__ = ["quick_path"]

SECRET = "The-Eagle-Has-Landed"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECKPOINT", "RETRY", "PAUSE"):
        monkeypatch.setattr(upkeep, name, 0.0)


async def kept_up(*keepers: Upkeep) -> None:
    """Wait until nothing is left to be done."""
    for keeper in keepers:
        while keeper._timer is not None or (keeper._work is not None and not keeper._work.done()):
            await asyncio.sleep(0)


def found(folder: Path) -> dict[str, int]:
    """Return how often the secret stands in which file, as bytes."""
    counts = {file.name: file.read_bytes().count(SECRET.encode()) for file in folder.iterdir()}
    return {name: count for name, count in counts.items() if count}


async def test_what_was_deleted_for_good_is_in_no_file_of_a_server_that_runs(quick_path: Path) -> None:
    """Guards: `secure_delete`, and that the write-ahead logs are cut after a purge."""
    async with SqliteEngine(quick_path / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(quick_path, log, undo=1e-9)
        conversation = await answer(async_store, log, service, SECRET, size=300)
        await answer(async_store, log, service, "something else")
        await kept_up(log._upkeep, async_store._maintenance)
        assert set(found(quick_path)) >= {"tape.db", "chats.db"}, "it is there as long as it is kept"
        await service.delete(OWNER, conversation)
        await service.gc()
        await kept_up(log._upkeep, async_store._maintenance)
        assert found(quick_path) == {}
        await service.close()


async def test_what_has_expired_is_in_no_file_even_if_somebody_read_when_it_was_deleted(quick_path: Path) -> None:
    """Guards: that the cut of the write-ahead log is tried again."""
    path = quick_path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as log:
        writer = await begin(log, SECRET.encode())
        await writer.finish([DONE])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT body FROM stream").fetchone()
            assert await log.expire(-1) == 1
            for _ in range(1000):
                await asyncio.sleep(0)
            assert found(quick_path)
            reader.execute("ROLLBACK")
        await kept_up(log._upkeep)
        assert found(quick_path) == {}


async def test_a_deletion_that_nobody_waited_for_is_carried_out_at_the_end(quick_path: Path) -> None:
    path = quick_path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as neighbour:
        async with SqliteEngine(path, lost=LOST) as log:
            writer = await begin(log, SECRET.encode())
            await writer.finish([DONE])
            await log.expire(-1)
        assert found(quick_path) == {}
        del neighbour


async def test_a_plain_copy_of_the_two_files_holds_what_was_answered_before(quick_path: Path) -> None:
    """Guards: a checkpoint now and then, without which all of it may stand in the write-ahead logs alone."""
    async with SqliteEngine(quick_path / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(quick_path, log)
        asked = [await answer(async_store, log, service, f"number {number}") for number in range(5)]
        await kept_up(log._upkeep, async_store._maintenance)
        copy = quick_path / "copy"
        copy.mkdir()
        for name in ("tape.db", "chats.db"):
            shutil.copyfile(quick_path / name, copy / name)
        await service.close()
    async with SqliteEngine(copy / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(copy, log)
        assert (await async_store.read(lambda store: store.list_page(OWNER))).total == 5
        for number, conversation in enumerate(asked):
            kept = await async_store.read(lambda store, conversation=conversation: store.get(OWNER, conversation))  # type: ignore[misc]
            assert (kept.messages[1].state, f"number {number} 2" in kept.messages[1].content) == ("completed", True)
        await service.close()


async def test_nothing_is_done_where_nothing_was_written(quick_path: Path) -> None:
    """A beat, and what /readyz commits to find out whether it can, is nothing that a copy would lack."""
    async with SqliteEngine(quick_path / "tape.db", lost=LOST, reap=0.001) as log:
        for _ in range(300):
            await asyncio.sleep(0.0001)
        await log.probe()
        assert (log._upkeep._timer, log._upkeep._work) == (None, None)


async def test_the_file_shrinks_when_answers_have_expired_and_what_is_left_is_whole(quick_path: Path) -> None:
    path = quick_path / "tape.db"
    async with SqliteEngine(path, lost=LOST, synchronous="OFF") as log:
        for _ in range(60):
            writer = await begin(log, b"x" * 100_000)
            await writer.finish([DONE])
        kept = await begin(log, b"y" * 50_000)
        kept.append([b"z" * 50_000])
        await caught_up(kept.stream, 2)
        await kept_up(log._upkeep)
        before = path.stat().st_size
        assert await log.expire(-1) == 60
        await kept_up(log._upkeep)
        assert before > 6_000_000
        assert path.stat().st_size < 1_500_000, "1 MiB stays for what comes"
        await kept.finish([DONE])
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT length(body) FROM stream").fetchone()[0] > 100_000


def test_the_log_does_not_grow_though_somebody_writes_while_a_checkpoint_is_done(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: that it is repeated until nobody has, so that SQLite does none within a commit that others wait for."""
    path = quick_path / "tape.db"
    done: list[int] = []

    class Interrupted(sqlite3.Connection):
        """Another one commits while the first of several checkpoints is done."""

        def execute(self, sql: str, /, *values: object) -> sqlite3.Cursor:
            cursor = super().execute(sql, *values)
            if "PASSIVE" not in sql:
                return cursor
            found = cursor.fetchone()
            if not done:
                other.execute("INSERT INTO producer (name, beat) VALUES ('two', 0)")
            done.append(found[1])
            return super().execute("SELECT ?, ?, ?", found)

    with closing(connect(path)) as other:
        other.execute("INSERT INTO producer (name, beat) VALUES ('one', 0)")
        real = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **k, factory=Interrupted))
        assert checkpoint(path) is True
        assert len(done) == 3, "one that misses the second commit, one for it, one that finds nothing"
        size = path.with_name("tape.db-wal").stat().st_size
        other.execute("INSERT INTO producer (name, beat) VALUES ('three', 0)")
        assert path.with_name("tape.db-wal").stat().st_size == size, "the log was begun anew"


async def test_a_transaction_deletes_no_more_than_a_slice(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit waits for it: large answers are deleted one by one, small ones many at a time."""
    batches: list[int] = []
    real = SqliteEngine._delete

    async def counted(log: SqliteEngine, task: Delete) -> int:
        batches.append(await real(log, task))
        return batches[-1]

    monkeypatch.setattr(SqliteEngine, "_delete", counted)
    async with SqliteEngine(quick_path / "tape.db", lost=LOST, synchronous="OFF") as log:
        names = []
        for size in (*[upkeep.SLICE] * 3, *[10] * 70):
            writer = await begin(log, b"x" * size)
            await writer.finish([DONE])
            names.append(writer.stream.header.id)
        running = (await begin(log)).stream
        assert await log.delete([names[0], running.header.id, "unknown", *names[40:]]) == [running.header.id]
        assert batches == [1, 33]
        assert await log.expire(-1) == len(names) - 34
        assert batches[2:] == [1, 1, 37, 0]


def test_pages_are_given_back_a_few_at_a_time(quick_path: Path) -> None:
    with closing(connect(quick_path / "tape.db")) as connection:
        connection.executemany("INSERT INTO journal (producer, body) VALUES (1, ?)", [(b"x" * 3000,)] * 1000)
        connection.execute("DELETE FROM journal")
        (before,) = connection.execute("PRAGMA page_count").fetchone()
        assert shrink(connection) is True
        (after,) = connection.execute("PRAGMA page_count").fetchone()
        assert before - after - upkeep.STEP in (0, 1), "and the page that says where these were"
        while shrink(connection):
            pass
        assert connection.execute("PRAGMA freelist_count").fetchone() == (upkeep.SPARE,)
        assert shrink(connection) is False


@pytest.mark.parametrize("name", ["tape.db", "chats.db"])
async def test_a_file_that_could_not_shrink_can_after_the_next_start_if_it_is_small(
    quick_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = quick_path / name

    async def open_and_close() -> tuple[int]:
        async with SqliteEngine(quick_path / "tape.db", lost=LOST):
            async_store = AsyncStore(SqliteDatabase(quick_path / "chats.db"))
            check(quick_path / "chats.db")
            await async_store.write(lambda store: store.changelog_range())
            await async_store.close()
        with closing(sqlite3.connect(path)) as connection:
            found: tuple[int] = connection.execute("PRAGMA auto_vacuum").fetchone()
            return found

    assert await open_and_close() == (2,)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM;")
    monkeypatch.setattr(upkeep, "SMALL", 0)
    assert await open_and_close() == (0,)
    monkeypatch.setattr(upkeep, "SMALL", 10_000_000)
    assert await open_and_close() == (2,)


def test_a_checkpoint_waits_for_nobody_and_makes_no_file(quick_path: Path) -> None:
    path = quick_path / "tape.db"
    with pytest.raises(sqlite3.OperationalError):
        checkpoint(path)
    assert not path.exists()
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO producer (name, beat) VALUES ('a', 0)")
        assert checkpoint(path, empty=True) is False
        connection.execute("COMMIT")
        assert checkpoint(path, empty=True) is True
        assert path.with_name("tape.db-wal").stat().st_size == 0
