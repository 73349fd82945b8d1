"""The file: its format, what a crash leaves, and what is refused at the door."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.errors import EngineUnavailable
from tickertape.streams.sqlite import file_format, follower
from tickertape.streams.sqlite.file_format import (
    UNKNOWN,
    BatchReader,
    batch_checksum,
    connect,
    encode_group,
    group_prefix,
)
from tickertape.streams.sqlite.follower import RunningStream, read_running
from tickertape.streams.sqlite.leases import reap
from tickertape.testing.engine_contract import DONE, LOST, text

from .faults import limit_pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

entries = st.lists(st.binary(max_size=8).filter(lambda entry: b"\n" not in entry) | st.sampled_from([b"#1 1", b""]))
Groups = list[tuple[int, bool, list[bytes]]]


@st.composite
def ticks(draw: st.DrawFn) -> list[Groups]:
    """Return what ticks are made of: of each group the stream, whether it ends with it, and its entries."""
    made = draw(st.lists(st.lists(st.tuples(st.integers(1, 6), st.booleans(), entries), min_size=1, max_size=5)))
    over: set[int] = set()
    natural = []
    for tick in made:
        natural.append([])
        for no, end, lines in tick:
            if no not in over:
                natural[-1].append((no, end, lines))
                over |= {no} if end else set()
    return [tick for tick in natural if tick]


def numbered(made: list[Groups], summed: bool = True) -> list[tuple[int, bytes, int]]:
    """Return the rows of the ticks; the entries of each stream are numbered from 1."""
    counts: Counter[int] = Counter()
    rows = []
    for parts in made:
        groups = []
        for no, ended, lines in parts:
            groups.append(encode_group(no, counts[no] + 1, lines, ended=ended))
            counts[no] += len(lines)
        body = b"\n".join(groups)
        rows.append((7, body, batch_checksum(7, body) if summed else UNKNOWN))
    return rows


def entries_of(connection: sqlite3.Connection, no: int) -> tuple[list[bytes], bool]:
    """Return an unfolded stream's entries, and whether it has ended."""
    return read_running(connection, [group_prefix(no)])[group_prefix(no)][:2]


@given(ticks(), st.sets(st.integers(1, 5)), st.booleans())
def test_batches_are_taken_apart_into_the_groups_that_they_were_made_of(
    made: list[Groups], wanted: set[int], summed: bool
) -> None:
    groups = [group for tick in made for group in tick]
    gathered = BatchReader({group_prefix(no): 1 for no in wanted})
    gathered.add(numbered(made, summed))
    assert gathered.entries == {
        group_prefix(no): [line for of, _end, lines in groups for line in lines if of == no] for no in wanted
    }
    assert gathered.ended == {group_prefix(no) for no, end, _lines in groups if end and no in wanted}
    assert (gathered.torn, gathered.damaged) == (set(), 0)


@given(ticks(), st.sets(st.integers(0, 9)), st.sets(st.integers(1, 5)), st.integers(1, 4), st.sampled_from([0, 16]))
def test_streams_are_read_back_from_the_end_of_the_journal_as_they_would_be_from_its_start(
    made: list[Groups], damaged: set[int], wanted: set[int], piece: int, few: int
) -> None:
    rows = [
        (producer, body, crc if index not in damaged else crc ^ 1)
        for index, (producer, body, crc) in enumerate(numbered(made))
    ]
    gathered = BatchReader({group_prefix(no): 1 for no in wanted})
    gathered.add(rows)
    with pytest.MonkeyPatch.context() as patched, closing(sqlite3.connect(":memory:")) as connection:
        patched.setattr(follower, "PIECE", piece)
        patched.setattr(follower, "FEW", few)
        connection.execute("CREATE TABLE journal (tick INTEGER PRIMARY KEY, producer, body, crc)")
        connection.executemany("INSERT INTO journal (producer, body, crc) VALUES (?, ?, ?)", rows)
        assert read_running(connection, map(group_prefix, wanted)) == {
            name: RunningStream(entries, name in gathered.ended, name in gathered.torn)
            for name, entries in gathered.entries.items()
        }


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = connect(tmp_path / "tape.db")
    yield opened
    opened.close()


def add_stream(connection: sqlite3.Connection, producer: int = 1, **more: object) -> int:
    row = {"id": f"s{connection.total_changes}", "owner": "ann", "model": "echo", "created": 0, "producer": producer}
    row |= more
    marks = ", ".join("?" * len(row))
    cursor = connection.execute(f"INSERT INTO stream ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def add_batch(connection: sqlite3.Connection, *made: bytes, producer: int = 1) -> None:
    connection.execute("INSERT INTO journal (producer, body) VALUES (?, ?)", (producer, b"\n".join(made)))


def body_of(connection: sqlite3.Connection, no: int) -> list[bytes] | None:
    (body,) = connection.execute("SELECT body FROM stream WHERE no = ?", (no,)).fetchone()
    return None if body is None else body.split(b"\n")


def test_entries_are_found_in_arrival_order_among_those_of_others(connection: sqlite3.Connection) -> None:
    one, other = add_stream(connection), add_stream(connection)
    add_batch(connection, encode_group(one, 1, [text(1)], ended=False), encode_group(other, 1, [b't"x"'], ended=False))
    add_batch(
        connection, encode_group(other, 2, [DONE], ended=True), encode_group(one, 2, [text(2), text(3)], ended=False)
    )
    add_batch(connection, encode_group(one, 4, [DONE], ended=True))
    assert entries_of(connection, one) == ([text(1), text(2), text(3), DONE], True)
    assert entries_of(connection, other) == ([b't"x"', DONE], True)


def test_text_that_looks_like_a_group_of_the_stream_is_no_group(connection: sqlite3.Connection) -> None:
    one, other = add_stream(connection), add_stream(connection)
    add_batch(connection, encode_group(one, 1, [text(1)], ended=False))
    add_batch(connection, encode_group(other, 1, [b't"#%d 2 end"' % one, b"#%d 2" % one], ended=False))
    assert entries_of(connection, one) == ([text(1)], False)


def test_a_stream_number_that_begins_like_another_is_not_mixed_up(connection: sqlite3.Connection) -> None:
    add_batch(connection, encode_group(1, 1, [text(1)], ended=False), encode_group(11, 1, [text(11)], ended=False))
    add_batch(connection, encode_group(111, 1, [text(111)], ended=False))
    assert [entries_of(connection, no)[0] for no in (1, 11, 111)] == [[text(1)], [text(11)], [text(111)]]


def test_reaping_keeps_what_was_committed_and_ends_only_what_was_not(connection: sqlite3.Connection) -> None:
    cut, whole, empty = (add_stream(connection) for _ in range(3))
    add_batch(connection, encode_group(cut, 1, [text(1)], ended=False), encode_group(whole, 1, [text(1)], ended=False))
    add_batch(
        connection, encode_group(whole, 2, [text(2), DONE], ended=True), encode_group(cut, 2, [text(2)], ended=False)
    )
    assert reap(connection, 1, LOST) == 2
    assert body_of(connection, cut) == [text(1), text(2), LOST]
    assert body_of(connection, whole) == [text(1), text(2), DONE]
    assert body_of(connection, empty) == [LOST]


def test_reaping_leaves_nothing_of_the_dead_and_everything_of_the_living(connection: sqlite3.Connection) -> None:
    dead, alive = add_stream(connection, producer=1), add_stream(connection, producer=2)
    connection.execute("INSERT INTO producer (no, name, beat) VALUES (1, 'dead', 0), (2, 'alive', 0)")
    add_batch(connection, encode_group(dead, 1, [text(1)], ended=False), producer=1)
    add_batch(connection, encode_group(alive, 1, [text(1)], ended=False), producer=2)
    assert reap(connection, 1, LOST) == 1
    assert connection.execute("SELECT no FROM producer").fetchall() == [(2,)]
    assert connection.execute("SELECT producer FROM journal").fetchall() == [(2,)]
    assert body_of(connection, alive) is None


def test_reaping_twice_reaps_once(connection: sqlite3.Connection) -> None:
    no = add_stream(connection)
    assert (reap(connection, 1, LOST), reap(connection, 1, LOST)) == (1, 0)
    assert body_of(connection, no) == [LOST]


def test_a_reaping_that_fails_changes_nothing(connection: sqlite3.Connection) -> None:
    no = add_stream(connection)
    add_batch(connection, encode_group(no, 1, [text(1)], ended=False))
    with pytest.raises(TypeError):
        reap(connection, 1, "not bytes")  # type: ignore[arg-type]
    assert not connection.in_transaction
    assert body_of(connection, no) is None
    assert entries_of(connection, no) == ([text(1)], False)


def test_a_reaping_on_a_full_disk_says_that_it_is_full(connection: sqlite3.Connection) -> None:
    """SQLite ends the transaction by itself then; rolling it back is another error, which says nothing."""
    no = add_stream(connection)
    add_batch(connection, encode_group(no, 1, [b"x" * 50_000], ended=False))
    limit_pages(connection, 0)
    with pytest.raises(sqlite3.OperationalError) as full:
        reap(connection, 1, LOST)
    assert full.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    limit_pages(connection, None)
    assert reap(connection, 1, LOST) == 1


# --- the door


def sentence_for(path: Path) -> str:
    """Return what a person reads when this file cannot be opened: one sentence or two, with the path."""
    with pytest.raises(EngineUnavailable) as refused:
        connect(path)
    sentence = str(refused.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_a_new_file_gets_its_format_and_can_be_opened_again(tmp_path: Path) -> None:
    connect(tmp_path / "tape.db").close()
    connection = connect(tmp_path / "tape.db")
    assert connection.execute("PRAGMA application_id").fetchone() == (file_format.APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (file_format.VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    path.write_bytes(b"Dear diary, " * 1000)
    assert "is no SQLite database; move it away" in sentence_for(path)
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_another_programs_database_is_told_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE stream (recipe TEXT)")
    other.close()
    before = path.read_bytes()
    assert "is a database of another program" in sentence_for(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("tape.db-*"))


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    connection = connect(path)
    for _ in range(500):
        add_batch(connection, encode_group(add_stream(connection), 1, [text(1) * 20], ended=False))
    connection.close()
    path.write_bytes(path.read_bytes()[:5000])
    assert "is damaged; move it away" in sentence_for(path)


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "tape.db").mkdir()
    assert "cannot be opened" in sentence_for(tmp_path / "tape.db")


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert "check that the folder exists" in sentence_for(tmp_path / "nowhere" / "tape.db")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full; free some space"),
        (sqlite3.SQLITE_IOERR_WRITE, "the disk reports an I/O error"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "cannot be written; check the permissions"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "another program keeps the file locked"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "the file is damaged"),
    ],
)
def test_every_reason_of_sqlite_has_its_sentence(tmp_path: Path, code: int, words: str) -> None:
    error = sqlite3.OperationalError("something in C")
    error.sqlite_errorcode = code
    told = str(file_format.explain(error, tmp_path / "tape.db"))
    assert words in told
    assert "something in C" not in told
