"""Ways to make SQLite fail, each at a moment of the test's choice."""

from __future__ import annotations

import sqlite3
from typing import Any


class FlakyConnection:
    """A connection whose statements fail from number ``first`` on, ``count`` of them; 1 is the next one.

    They fail as a disk does, with an I/O error, before anything has happened. ``failed`` says how many did.
    """

    def __init__(self, real: sqlite3.Connection, first: int, count: int = 1) -> None:
        self._real = real
        self._first = first
        self._last = first + count - 1
        self.statements = 0
        self.failed: list[str] = []

    @property
    def in_transaction(self) -> bool:
        return self._real.in_transaction

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._step(statement)
        return self._real.execute(statement, *values)

    def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:
        self._step(statement)
        return self._real.executemany(statement, values)

    def close(self) -> None:
        self._real.close()

    def _step(self, statement: str) -> None:
        self.statements += 1
        if self._first <= self.statements <= self._last:
            self.failed.append(statement)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
            raise error


def limit_pages(connection: sqlite3.Connection, more: int | None) -> None:
    """Let the file grow by so many pages and no further, as a full disk does; None takes the limit away."""
    (size,) = connection.execute("PRAGMA page_count").fetchone()
    limit = 2**30 if more is None else size + more
    connection.execute(f"PRAGMA max_page_count = {limit}")
