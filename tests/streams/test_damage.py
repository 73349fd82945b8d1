"""Bits that flip on the disk: told in words, never served as a part of an answer."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.errors import EngineError, EngineUnavailable, StreamDamaged, UnknownStream
from tickertape.sqlite.file import lost_commits, wal_commits
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import UNKNOWN, batch_checksum, connect, encode_group, header_checksum
from tickertape.streams.sqlite.leases import join
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, create, key, new_header, text, whole

from .faults import Connections
from .test_sqlite import rows, settled

if TYPE_CHECKING:
    from pathlib import Path

DAMAGED = b'.{"state":"lost","error":{"code":"damaged"}}'
PLACES = 120


def open_log(path: Path, **options: Any) -> SqliteEngine:
    return SqliteEngine(path, lost=LOST, damaged=DAMAGED, synchronous="OFF", reap=1000, **options)


async def fill(folder: Path, *, into_wal: bool) -> dict[str, list[bytes]]:
    """Leave what a killed process leaves; return what was committed: answers that had ended, and two that ran.

    Most of it is in the file, or still in its write-ahead log.
    """
    expected: dict[str, list[bytes]] = {}
    path = folder / "live.db"
    connections = Connections()
    async with open_log(path, connect=connections) as log:
        if into_wal:
            connections.writer.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(12):
            header = new_header()
            writer = await create(log, header, [text(1, header.id)], key(header.id))
            expected[header.id] = writer.stream.entries
            for more in range(2, 30):
                writer.append([text(more, header.id)])
                if more % 5 == number % 5:
                    await caught_up(writer.stream, more)
            if number < 10:
                await writer.finish([DONE])
        await settled(log)
        expected = {name: list(entries) for name, entries in expected.items()}
        if not into_wal:
            connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in ("live.db", "live.db-wal"):
            shutil.copyfile(folder / name, folder / name.replace("live", "kept"))
    return expected


def true(entries: list[bytes], written: list[bytes]) -> bool:
    """Say whether this is the answer as it was written, or a part of it that says that it is one."""
    *part, end = entries
    return entries == written or (end in (LOST, DAMAGED) and part == written[: len(part)])


@pytest.mark.parametrize("file", ["kept.db", "kept.db-wal"])
async def test_no_damage_anywhere_in_the_file_or_its_log_is_served_as_a_whole_answer(
    quick_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards: the checksums of ticks and streams, and that a stream goes on with the entry that follows."""
    caplog.set_level(logging.CRITICAL, "tickertape")
    expected = await fill(quick_path, into_wal=file.endswith("wal"))
    original = (quick_path / file).read_bytes()
    chance = random.Random(15)
    path = quick_path / "tape.db"
    false: list[tuple[int, str]] = []
    hit = 0
    for _ in range(PLACES // 2):
        for name in ("kept.db", "kept.db-wal"):
            shutil.copyfile(quick_path / name, quick_path / name.replace("kept", "tape"))
        (quick_path / "tape.db-shm").unlink(missing_ok=True)
        at = chance.randrange(len(original))
        damaged = bytearray(original)
        damaged[at] ^= 1 << chance.randrange(8)
        (quick_path / file.replace("kept", "tape")).write_bytes(damaged)
        try:
            async with open_log(path) as log:
                for stream, written in expected.items():
                    try:
                        entries = list((await log.get(stream, "ann")).entries)
                    except EngineError:
                        hit += 1
                        continue
                    hit += entries != written
                    if not true(entries, written):
                        false.append((at, stream))
        except EngineUnavailable:
            hit += 1
    assert false == []
    assert hit > PLACES // 8, "the damage was never in the way"


def change(path: Path, statement: str, *values: object) -> None:
    """Change the file behind the log's back, as a bit that flips does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


async def ended_stream(path: Path) -> str:
    async with open_log(path) as log:
        writer = await create(log, new_header(), [text(1)], key())
        await writer.finish([text(2), DONE])
        return writer.stream.header.id


@pytest.mark.parametrize(
    "damage",
    [
        "body = replace(CAST(body AS TEXT), '2', '3')",
        "body = CAST(replace(CAST(body AS TEXT), '2', '3') AS BLOB)",
        "body = NULL",
        "model = 'another'",
        "created = 'x'",
        "ended = ended - 9e4",
        "ended = NULL",
        "crc = crc - 1",
    ],
)
async def test_a_damaged_answer_is_an_error_in_words_everywhere_and_others_are_served(
    quick_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = quick_path / "tape.db"
    stream, other = await ended_stream(path), ""
    async with open_log(path) as log:
        writer = await begin(log)
        await writer.finish([DONE])
        other = writer.stream.header.id
    change(path, f"UPDATE stream SET {damage} WHERE id = ?", stream)
    async with open_log(path) as log:
        assert stream in caplog.text, "the operator is told at the start"
        for _ in range(2):
            with pytest.raises(StreamDamaged, match="is damaged on the server's disk: its checksum does not match"):
                await log.get(stream, "ann")
        with pytest.raises(UnknownStream):
            await log.get(stream, "bob")
        with pytest.raises(StreamDamaged):
            await log.keyed("ann", key())
        assert (await log.get(other, "ann")).entries == [text(1), DONE]
        assert await log.delete([stream, other]) in ([], [stream]), "what is damaged can be deleted"
    assert caplog.text.count(f"{stream!r} is damaged") == 2, "once at the start, once when it was asked for"


async def test_an_owner_that_is_no_text_any_more_is_damage_too(quick_path: Path) -> None:
    path = quick_path / "tape.db"
    stream = await ended_stream(path)
    change(path, "UPDATE stream SET owner = CAST(x'ff' AS TEXT)")
    async with open_log(path) as log:
        with pytest.raises(UnknownStream):
            await log.get(stream, "ann")


def running(path: Path, *streams: str, producer: str = "dead") -> int:
    """Leave streams that a dead producer was writing, with no entries."""
    with closing(connect(path)) as connection:
        number = join(connection, producer)
        for stream in streams:
            connection.execute(
                "INSERT INTO stream (id, owner, model, created, producer) VALUES (?, 'ann', 'echo', 0, ?)",
                (stream, number),
            )
        return number


def add(path: Path, producer: int, *groups: bytes, crc: int | None = None) -> None:
    body = b"\n".join(groups)
    crc = batch_checksum(producer, body) if crc is None else crc
    change(path, "INSERT INTO journal (producer, body, crc) VALUES (?, ?, ?)", producer, body, crc)


async def test_a_damaged_transaction_of_a_dead_process_cuts_its_answers_off_and_leaves_the_whole_ones(
    quick_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards: that `reap` ends none as if it were whole, also one whose terminal entry is there."""
    path = quick_path / "tape.db"
    dead = running(path, "whole", "torn", "last")
    add(path, dead, *(encode_group(no, 1, [text(1)], ended=False) for no in (1, 2, 3)))
    add(path, dead, encode_group(1, 2, [DONE], ended=True))
    add(path, dead, encode_group(2, 2, [text(2)], ended=False), encode_group(3, 2, [DONE], ended=True), crc=1)
    add(path, dead, encode_group(2, 3, [text(3), DONE], ended=True))
    async with open_log(path) as log:
        found = {name: (await log.get(name, "ann")).entries for name in ("whole", "torn", "last")}
    assert found == {"whole": [text(1), DONE], "torn": [text(1), DAMAGED], "last": [text(1), DAMAGED]}
    assert "Transaction 3 of the stream log is damaged" in caplog.text
    assert "these answers were cut off where it begins: torn, last" in caplog.text
    assert rows(path, "SELECT count(*) FROM journal") == [(0,)]


async def test_a_transaction_that_is_missing_is_no_gap_in_an_answer(quick_path: Path) -> None:
    """A disk that lost a write gives back an older page, whose checksums are right."""
    path = quick_path / "tape.db"
    dead = running(path, "torn")
    add(path, dead, encode_group(1, 1, [text(1)], ended=False))
    add(path, dead, encode_group(1, 3, [text(3), DONE], ended=True))
    async with open_log(path) as log:
        assert (await log.get("torn", "ann")).entries == [text(1), DAMAGED]


@pytest.mark.parametrize("body", [b"", b"#1", b"#1 x 1\n", b"#1 1 9\n", b"nonsense"])
async def test_a_transaction_without_a_checksum_that_makes_no_sense_is_damage(quick_path: Path, body: bytes) -> None:
    """A process of the version before writes none."""
    path = quick_path / "tape.db"
    dead = running(path, "a")
    add(path, dead, encode_group(1, 1, [text(1)], ended=False), crc=UNKNOWN)
    add(path, dead, body, crc=UNKNOWN)
    async with open_log(path) as log:
        assert (await log.get("a", "ann")).entries == [text(1), DAMAGED]


async def test_a_reader_elsewhere_waits_at_the_damage_until_the_producer_has_compacted(
    quick_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = quick_path / "tape.db"
    async with open_log(path) as producing, open_log(path) as reading:
        await reading.reap()
        writer = await begin(producing)
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        change(path, "UPDATE journal SET crc = 1 WHERE tick = (SELECT max(tick) FROM journal)")
        writer.append([text(3)])
        await caught_up(writer.stream, 3)
        elsewhere = await reading.get(writer.stream.header.id, "ann")
        assert (elsewhere.entries, elsewhere.ended) == ([text(1)], False)
        assert caplog.text.count("an answer stands still until its end") == 1
        await writer.finish([DONE])
        assert await whole(elsewhere) == [text(1), text(2), text(3), DONE]


async def test_a_reader_elsewhere_is_told_when_what_it_reads_is_damaged(quick_path: Path, unwatched: None) -> None:
    path = quick_path / "tape.db"
    async with open_log(path) as producing, open_log(path) as reading:
        writer = await begin(producing)
        elsewhere = await reading.get(writer.stream.header.id, "ann")
        await writer.finish([text(2), DONE])
        await settled(producing)
        change(path, "UPDATE stream SET crc = 1")
        await reading.reach(elsewhere, 9)
        assert await whole(elsewhere) == [text(1), DAMAGED]


async def test_what_a_version_without_checksums_wrote_is_read_as_before(quick_path: Path) -> None:
    """During a takeover the process of the version before ends its answers, and those of a new one that dies."""
    path = quick_path / "tape.db"
    stream = await ended_stream(path)
    change(path, "UPDATE stream SET crc = ?", header_checksum(stream, "ann", "echo", 1_700_000_000))
    async with open_log(path) as log:
        assert (await log.get(stream, "ann")).entries == [text(1), text(2), DONE]


# --- the write-ahead log


def copy(folder: Path) -> Path:
    for name in ("kept.db", "kept.db-wal"):
        shutil.copyfile(folder / name, folder / name.replace("kept", "tape"))
    return folder / "tape.db"


@pytest.mark.parametrize("where", ["header", "middle"])
async def test_transactions_that_are_lost_with_the_end_of_the_write_ahead_log_are_told_at_the_start(
    quick_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """SQLite drops what comes after a frame that it cannot read, and says nothing."""
    await fill(quick_path, into_wal=True)
    path = copy(quick_path)
    commits = wal_commits(path).frames
    wal = bytearray(path.with_name("tape.db-wal").read_bytes())
    at = 17 if where == "header" else 32 + (commits[-4] - 1) * 4120 + 500
    wal[at] ^= 1
    path.with_name("tape.db-wal").write_bytes(wal)
    connect(path).close()
    lost = len(commits) if where == "header" else 4
    assert f"cannot be read and are lost, {lost} of them" in caplog.text
    connect(path).close()
    assert caplog.text.count("cannot be read and are lost") == 1


async def test_a_write_ahead_log_that_is_whole_is_not_said_to_be_lost(
    quick_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also not one whose last transaction was not committed, or that was begun anew over an older one."""
    await fill(quick_path, into_wal=True)
    path = copy(quick_path)
    with closing(connect(path)) as held, closing(connect(path)) as other:
        for size in (900, 5):
            held.execute("BEGIN")
            held.executemany("INSERT INTO journal (producer, body) VALUES (1, ?)", [(b"x" * 3000,)] * size)
            held.execute("COMMIT")
            other.execute("PRAGMA wal_checkpoint(RESTART)")
        held.execute("PRAGMA cache_size = 1")
        held.execute("BEGIN")
        held.executemany("INSERT INTO journal (producer, body) VALUES (1, ?)", [(b"x" * 3000,)] * 50)
        for name in ("tape.db", "tape.db-wal"):
            shutil.copyfile(quick_path / name, quick_path / name.replace("tape", "left"))
        held.execute("ROLLBACK")
    connect(quick_path / "left.db").close()
    assert caplog.text == ""


@pytest.mark.parametrize("mode", ["RESTART", "TRUNCATE"])
def test_a_start_beside_a_server_that_begins_its_write_ahead_log_anew_tells_of_no_loss(
    quick_path: Path, mode: str
) -> None:
    path = quick_path / "tape.db"
    with closing(connect(path)) as ours, closing(connect(path)) as other:
        for number in range(9):
            other.execute("INSERT INTO journal (producer, body) VALUES (?, 'x')", (number,))
        found = wal_commits(path)
        other.execute(f"PRAGMA wal_checkpoint({mode})")
        other.execute("INSERT INTO journal (producer, body) VALUES (9, 'x')")
        assert len(found.frames) > len(wal_commits(path).frames)
        assert lost_commits(ours, found) == 0


def test_a_start_beside_a_server_that_is_about_to_commit_tells_of_no_loss(quick_path: Path) -> None:
    """It has written the transaction to the disk, and not said so yet: with FULL, an fsync is in between."""
    path = quick_path / "tape.db"
    with closing(connect(path)) as ours, closing(connect(path)) as other:
        other.execute("INSERT INTO journal (producer, body) VALUES (1, 'x')")
        found = wal_commits(path)
        found.frames.append(found.frames[-1] + 1)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO journal (producer, body) VALUES (2, 'x')")
        ours.set_trace_callback(lambda statement: other.commit() if statement.startswith("BEGIN") else None)
        assert lost_commits(ours, found) == 0


def test_no_write_ahead_log_has_lost_nothing(quick_path: Path) -> None:
    assert wal_commits(quick_path / "none.db").frames == []
    (quick_path / "none.db-wal").write_bytes(b"short")
    assert wal_commits(quick_path / "none.db").frames == []
    with closing(connect(quick_path / "tape.db")) as connection:
        assert lost_commits(connection, wal_commits(quick_path / "none.db")) == 0
