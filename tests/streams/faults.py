"""Faults between an engine and SQLite, each at a moment of the test's choice: the engine's own seam, ``connect``."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from tickertape.streams.sqlite.file_format import connect

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.streams.sqlite.file_format import Role


class Gate:
    """Holds the thread that passes it first until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        self._used = False

    def pass_through(self) -> None:
        if not self._used:
            self._used = True
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


class Rows(list[Any]):
    """What a cursor would give."""

    def fetchone(self) -> Any:
        return self.pop(0) if self else None

    def fetchmany(self, size: int) -> list[Any]:
        taken, self[:] = self[:size], self[size:]
        return taken


class FaultyConnection(sqlite3.Connection):
    """A connection whose statements fail, or wait at a gate, when a test wants that. ``failed`` are those that did."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.failed: list[str] = []
        self._left, self._count = 0, 0
        self._gate: Gate | None = None
        self._at, self._before = "", True

    def fail(self, first: int = 1, count: int = 1) -> None:
        """Have statements fail from number ``first`` on, 1 is the next one, with an I/O error and nothing done."""
        self._left, self._count = first - 1, count

    def heal(self) -> None:
        """Have no more of them fail."""
        self._count = 0

    def hold(self, at: str = "", *, before: bool = True) -> Gate:
        """Return a gate before the next statement that has these words in it, or just after it."""
        self._gate, self._at, self._before = Gate(), at, before
        return self._gate

    def execute(self, statement: str, *values: Any) -> Any:
        self._step(statement)
        gate = self._gate if self._at in statement else None
        if gate is None:
            return super().execute(statement, *values)
        if self._before:
            gate.pass_through()
            return super().execute(statement, *values)
        cursor = super().execute(statement, *values)
        if cursor.description is None:
            gate.pass_through()
            return cursor
        found = Rows(cursor.fetchall())
        gate.pass_through()
        return found

    def executemany(self, statement: str, values: Any) -> Any:
        self._step(statement)
        return super().executemany(statement, values)

    def _step(self, statement: str) -> None:
        if self._left:
            self._left -= 1
        elif self._count:
            self._count -= 1
            self.failed.append(statement)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
            raise error


class Connections:
    """Opens an engine's connections as `connect` does, and holds them by what they are for."""

    writer: FaultyConnection
    reader: FaultyConnection
    follower: FaultyConnection

    def __call__(self, path: Path, role: Role, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
        connection = connect(path, role, synchronous=synchronous, factory=FaultyConnection)
        assert isinstance(connection, FaultyConnection)
        setattr(self, role, connection)
        return connection


def limit_pages(connection: sqlite3.Connection, more: int | None) -> None:
    """Let the file grow by so many pages and no further, as a full disk does; None takes the limit away."""
    (size,) = connection.execute("PRAGMA page_count").fetchone()
    limit = 2**30 if more is None else size + more
    connection.execute(f"PRAGMA max_page_count = {limit}")
