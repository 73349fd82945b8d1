"""Several processes meet one file that is new: each finds a file that is empty or made, and none is sent away."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.conversations import sqlite
from tickertape.sqlite.file import share
from tickertape.streams.sqlite import file_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

THREADS = 6
FILES = 40


def log(path: Path) -> None:
    file_format.check(path)
    file_format.connect(path).close()


def chats(path: Path) -> None:
    sqlite.check(path)
    sqlite.open_engine(path).dispose()


@pytest.mark.parametrize("opened", [log, chats])
def test_those_who_open_one_new_file_at_once_all_can_use_it(tmp_path: Path, opened: Callable[[Path], Any]) -> None:
    together = threading.Barrier(THREADS)
    failures: list[Exception] = []

    def one() -> None:
        for number in range(FILES):
            together.wait()
            try:
                opened(tmp_path / f"{number}.db")
            except Exception as error:  # the others would wait for this thread for ever
                failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection in the middle of reading the file."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE a (b); BEGIN; SELECT * FROM a;")
        yield connection


@pytest.fixture
def other(tmp_path: Path, reader: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)) as connection:
        yield connection


def test_a_file_that_others_read_is_put_in_wal_mode_when_they_are_done(
    reader: sqlite3.Connection, other: sqlite3.Connection
) -> None:
    tries: list[str] = []

    def tried(statement: str) -> None:
        tries.append(statement)
        if len(tries) == 2:
            reader.execute("ROLLBACK")

    other.set_trace_callback(tried)
    share(other, seconds=60)
    assert len(tries) == 2
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.usefixtures("reader")
def test_a_file_that_others_read_for_too_long_is_busy(other: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        share(other, seconds=0)
