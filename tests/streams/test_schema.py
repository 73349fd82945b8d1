"""The formats of the file: every old one can be opened, a newer one is refused, damage is told at the door."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.producer import DONE, LOST, entry
from tickertape.errors import EngineUnavailable
from tickertape.sqlite.file import verify
from tickertape.streams.contract import Header, Key
from tickertape.streams.sqlite import file_format
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.file_format import connect
from tickertape.testing.engine_contract import attach, create

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = Path(__file__).parent / "formats"
"""Files as that version left them: streams 1 and 2 have ended, the process that was producing stream 3 was killed."""

OLD = sorted(file_format.MIGRATIONS)


def stream(number: int) -> str:
    return f"{number:032x}"


def known() -> dict[str, list[bytes]]:
    """Return what the streams of those files hold; the last one was cut off after four entries."""
    sizes = {1: 3, 2: 3, 3: 4}
    return {
        stream(number): [*(entry(stream(number), n) for n in range(1, size + 1)), LOST if number == 3 else DONE]
        for number, size in sizes.items()
    }


@pytest.fixture(params=OLD)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of a file that an older version wrote."""
    return Path(shutil.copyfile(FORMATS / f"{request.param}.db", tmp_path / "tape.db"))


@pytest.fixture
def connection(old: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(old, isolation_level=None)) as opened:
        yield opened


def shape(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return tables, columns and indexes, however they came about."""
    names = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    return {
        name: (
            connection.execute(f"SELECT * FROM pragma_table_xinfo('{name}')").fetchall(),
            sorted(
                (index, unique, partial, tuple(connection.execute(f"SELECT * FROM pragma_index_xinfo('{index}')")))
                for _no, index, unique, _origin, partial in connection.execute(
                    f"SELECT * FROM pragma_index_list('{name}')"
                )
            ),
        )
        for name in names
    }


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


async def test_a_file_of_an_older_version_is_opened_with_all_that_is_in_it(old: Path) -> None:
    async with SqliteEngine(old, lost=LOST) as log:
        for stream_id, entries in known().items():
            stream = await log.get(stream_id, "ann")
            assert (stream.entries, stream.ended) == (entries, True)
            again = await attach(log, Key(f"key-{int(stream_id, 16)}", b"digest"))
            assert again.header.id == stream_id
        fresh_one = await create(log, Header(id="y" * 32, owner="ann", model="echo", created=0), [entry("y", 1)])
        await fresh_one.finish([DONE])
        assert await log.expire(-1) == 4
    assert version_of(old) == file_format.VERSION


def test_a_migrated_file_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    with closing(connect(old)) as migrated, closing(connect(tmp_path / "new.db")) as new:
        assert shape(migrated) == shape(new)


def test_a_migration_that_fails_at_any_step_leaves_the_old_format(old: Path, connection: sqlite3.Connection) -> None:
    """Guards: that all steps and the number are one transaction."""
    before, found = shape(connection), version_of(old)
    last, done = 0, False
    while not done:
        last, steps = last + 1, 0

        def refuse(*_: object) -> int:
            nonlocal steps
            steps += 1
            return sqlite3.SQLITE_DENY if steps == last else sqlite3.SQLITE_OK  # noqa: B023 - used in this round only

        connection.execute("BEGIN IMMEDIATE")
        connection.set_authorizer(refuse)
        try:
            file_format.prepare(connection, old)
            done = True
        except sqlite3.DatabaseError:
            pass
        connection.set_authorizer(None)
        connection.execute("ROLLBACK")
        assert (shape(connection), version_of(old)) == (before, found)
    assert last > 5


async def test_a_process_of_the_version_before_goes_on_while_the_next_one_takes_over(old: Path) -> None:
    """Guards: that a migration only adds: what an older process has open, it can still write."""
    with closing(sqlite3.connect(old, isolation_level=None)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("INSERT INTO producer (no, name, beat) VALUES (77, 'old', 1e12)")
        async with SqliteEngine(old, lost=LOST) as log:
            writing.execute(
                "INSERT INTO stream (id, owner, model, created, producer) VALUES (?, 'ann', 'echo', 0, 77)", ("z" * 32,)
            )
            (no,) = writing.execute("SELECT no FROM stream WHERE id = ?", ("z" * 32,)).fetchone()
            writing.execute("UPDATE stream SET ended = 1.0, body = ? WHERE no = ?", (DONE, no))
            assert (await log.get("z" * 32, "ann")).entries == [DONE]


def test_every_older_format_has_a_file_and_a_way_to_the_next() -> None:
    assert list(range(1, file_format.VERSION)) == OLD
    assert [FORMATS / f"{version}.db" for version in OLD] == sorted(FORMATS.iterdir())
    assert [version_of(FORMATS / f"{version}.db") for version in OLD] == OLD


@pytest.mark.parametrize("version", [0, file_format.VERSION + 1])
def test_another_format_is_told_with_the_numbers_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "tape.db"
    with closing(connect(path)) as made:
        made.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(EngineUnavailable) as refused:
        connect(path)
    assert str(refused.value) == (
        f"The stream log {path} has format {version}, this tickertape reads formats 1 to {file_format.VERSION}. "
        "Upgrade tickertape, or move the file away."
    )
    assert path.read_bytes() == before


async def test_damage_where_nothing_is_read_at_the_start_is_told_at_the_start_too(tmp_path: Path) -> None:
    """Guards: the look at the whole file; the ends of old answers are read only when somebody asks for them."""
    path = tmp_path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as log:
        for number in range(20):
            writer = await create(log, Header(id=stream(number), owner="ann", model="echo", created=0), [b"x" * 9000])
            await writer.finish([DONE])
    with closing(connect(path)) as made:
        (root,) = made.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'ended'").fetchone()
    damaged = bytearray(path.read_bytes())
    damaged[(root - 1) * 4096 : root * 4096] = b"\xaa" * 4096
    path.write_bytes(damaged)
    with pytest.raises(EngineUnavailable, match="the file is damaged; move it away"):
        async with SqliteEngine(path, lost=LOST):
            pass
    assert path.read_bytes() == damaged


def test_looking_for_damage_ends_in_time(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "tape.db")) as made:
        made.execute("BEGIN")
        made.executemany("INSERT INTO journal (producer, body) VALUES (1, ?)", [(b"x" * 900,)] * 20_000)
        made.execute("COMMIT")
        assert verify(made, seconds=-1) is False
        assert verify(made) is True
        assert made.execute("SELECT count(*) FROM journal").fetchone() == (20_000,)
