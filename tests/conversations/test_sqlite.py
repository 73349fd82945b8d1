"""The file: who may read it, whose it is, and what is said when it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER, answer, ask
from tickertape.conversations import schema, sqlite
from tickertape.conversations.models import ConversationLimits
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import ConversationsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.conversations.sql_store import SqlStore


def test_the_file_and_what_sqlite_lays_beside_it_are_for_their_owner_only(store: SqlStore, tmp_path: Path) -> None:
    answer(store, ask("Hello"))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["chats.db", "chats.db-shm", "chats.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_what_was_kept_is_there_when_the_file_is_opened_again(make_store: Callable[..., SqlStore]) -> None:
    store = make_store()
    prepared = answer(store, ask("Hello"), "World")
    store.close()
    assert make_store().get(OWNER, prepared.conversation).messages[1].content == "World"


@pytest.mark.parametrize("name", ["what?", "50%25", "a#b", "a&b=c"])
def test_a_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    store = SqliteDatabase(folder / "chats.db").open(ConversationLimits())
    answer(store, ask("Hello"))
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (folder / "chats.db").stat().st_size > 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a database, but long enough to be looked at as one" * 20, "no SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "cannot be used"),
    ],
)
def test_a_damaged_file_is_one_sentence_and_is_left_as_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "chats.db"
    file.write_bytes(content)
    for look in (sqlite.check, sqlite.open_engine):
        with pytest.raises(ConversationsUnavailable, match=says) as error:
            look(file)
        assert str(file) in str(error.value)
        assert str(tmp_path) not in error.value.shown
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (f"PRAGMA user_version = {sqlite.VERSION + 1}", f"have format {sqlite.VERSION + 1}, this tickertape reads"),
        ("PRAGMA application_id = 7", "database of another program"),
    ],
)
def test_a_newer_file_and_another_programs_are_refused(
    make_store: Callable[..., SqlStore], tmp_path: Path, statement: str, says: str
) -> None:
    make_store().close()
    file = tmp_path / "chats.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
    for look in (sqlite.check, sqlite.open_engine):
        with pytest.raises(ConversationsUnavailable, match=says):
            look(file)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConversationsUnavailable, match="Choose another --data folder"):
        SqliteDatabase(tmp_path / "none" / "chats.db").open(ConversationLimits())


def test_a_full_disk_is_one_sentence_and_what_was_kept_stays(store: SqlStore) -> None:
    prepared = answer(store, ask("Hello"))
    with store._database.engine.connect() as connection:  # the pool's one connection keeps the limit
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(ConversationsUnavailable, match="the disk is full") as error:
        store.prepare_answer(OWNER, ask("x" * 100_000))
    assert "chats.db" not in error.value.shown
    assert store.get(OWNER, prepared.conversation).messages[1].content == "An answer"
    assert store.list_page(OWNER).total == 1


def test_a_table_that_is_not_described_here_is_in_no_file(store: SqlStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert found - {"sqlite_sequence"} == set(schema.metadata.tables)


def test_a_file_that_another_program_keeps_locked_is_one_sentence_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "TIMEOUT", 0)
    store = SqliteDatabase(tmp_path / "chats.db").open(ConversationLimits())
    with closing(sqlite3.connect(tmp_path / "chats.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConversationsUnavailable, match="another program keeps the file locked"):
            store.prepare_answer(OWNER, ask("Hello"))
        assert store.list_page(OWNER).total == 0, "it can be read all the same"
        other.execute("ROLLBACK")
    answer(store, ask("Hello"))
    assert store.list_page(OWNER).total == 1
    store.close()


def test_damage_where_nothing_is_read_at_the_start_is_told_at_the_start_too(
    make_store: Callable[..., SqlStore], tmp_path: Path
) -> None:
    """Guards: the look at the whole file; most of a conversation is read only when somebody opens it."""
    store = make_store()
    answer(store, ask("Hello"))
    store.close()
    file = tmp_path / "chats.db"
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recent'").fetchone()
    damaged = bytearray(file.read_bytes())
    damaged[(root - 1) * 4096 : root * 4096] = b"\xaa" * 4096
    file.write_bytes(damaged)
    with pytest.raises(ConversationsUnavailable, match="the file is damaged; move it away"):
        sqlite.check(file)
    assert file.read_bytes() == damaged
