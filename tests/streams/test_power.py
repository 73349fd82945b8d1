"""What a power cut leaves: with NORMAL the write-ahead log may lack its end, with FULL only what nobody was shown."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import UnknownStream
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import LOST

from .faults import Connections
from .test_damage import DAMAGED, fill, open_log, true

if TYPE_CHECKING:
    from pathlib import Path

CUTS = 40


async def read(path: Path, streams: list[str]) -> dict[str, list[bytes]]:
    found = {}
    async with open_log(path) as log:
        for stream in streams:
            try:
                found[stream] = list((await log.get(stream, "ann")).entries)
            except UnknownStream:
                found[stream] = [LOST]
    return found


@pytest.mark.parametrize("rest", ["missing", "zeros", "old"])
async def test_a_power_cut_leaves_the_beginning_of_every_answer_and_makes_none_look_whole(
    quick_path: Path, rest: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was not written yet is missing from the file, or is zeros, or what stood there before."""
    caplog.set_level(logging.CRITICAL, "tickertape")
    expected = await fill(quick_path, into_wal=True)
    wal = (quick_path / "kept.db-wal").read_bytes()
    chance = random.Random(17)
    kept: list[int] = []
    for cut in sorted(chance.randrange(len(wal)) for _ in range(CUTS // 3)):
        old = chance.randbytes(len(wal) - cut)
        end = {"missing": b"", "zeros": bytes(len(wal) - cut), "old": old}[rest]
        shutil.copyfile(quick_path / "kept.db", quick_path / "tape.db")
        (quick_path / "tape.db-wal").write_bytes(wal[:cut] + end)
        (quick_path / "tape.db-shm").unlink(missing_ok=True)
        found = await read(quick_path / "tape.db", list(expected))
        assert all(true(entries, expected[stream]) for stream, entries in found.items())
        assert not any(DAMAGED in entries for entries in found.values()), "a cut is no damage"
        kept.append(sum(len(entries) - (entries[-1] == LOST) for entries in found.values()))
    assert kept == sorted(kept), "a later cut takes less"
    assert kept[0] < kept[-1]


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
async def test_with_full_both_files_wait_for_the_disk_at_every_commit(
    quick_path: Path, synchronous: str, number: int
) -> None:
    """SQLite's word for it: 2 is a wait for the disk before a commit is told, 1 is one at checkpoints."""
    connections = Connections()
    async with SqliteEngine(quick_path / "tape.db", lost=LOST, synchronous=synchronous, connect=connections):
        async_store = AsyncStore(SqliteDatabase(quick_path / "chats.db", synchronous))
        await async_store.write(lambda store: store.changelog_range())
        assert async_store._store is not None
        raw = async_store._store._database.engine.raw_connection()
        for connection in (connections.writer, connections.reader, raw.driver_connection):
            assert isinstance(connection, sqlite3.Connection)
            assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
        raw.close()
        await async_store.close()
