"""Logs to be measured: tickertape's, and two that are written as one writes them first.

All get tokens from an event loop, commit them in a thread, and tell the loop of every commit. The rivals here do less:
no leases, no fence, no end of a stream, no readers in other processes.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from tickertape.streams.contract import Header
from tickertape.streams.sqlite import file_format, leases
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BACKLOG = 20_000
LOST = b'.{"state":"lost"}'


class Tickertape:
    """``tickertape.streams.sqlite.engine`` as it is."""

    name = "tickertape"

    def __init__(self, path: Path, synchronous: str) -> None:
        self._log = SqliteEngine(path, lost=LOST, synchronous=synchronous)

    async def open(self, streams: int, told: Callable[[int, int], None]) -> None:
        await self._log.__aenter__()
        self._writers = []
        for number in range(streams):
            header = Header(id=f"{number:032x}", owner="", model="m", created=0)
            writer = await self._log.create(header, [])
            writer.stream.listen(lambda number=number, stream=writer.stream: told(number, len(stream.entries)))
            self._writers.append(writer)

    async def append(self, stream: int, entry: bytes) -> None:
        writer = self._writers[stream]
        writer.append([entry])
        if writer.behind:
            await writer.drained()

    async def finish(self) -> None:
        """End and fold every stream."""
        await asyncio.gather(*(writer.finish([LOST]) for writer in self._writers))
        await self._log.__aexit__()

    @staticmethod
    def fill(path: Path, entries: int, together: int) -> None:
        """Leave what a killed process leaves: running streams, ``together`` entries in every transaction."""
        connection = file_format.connect(path)
        connection.execute("BEGIN")
        producer = leases.join(connection, "dead")
        connection.executemany(
            "INSERT INTO stream (id, owner, model, created, producer) VALUES (?, '', 'm', 0, ?)",
            [(f"{number:032x}", producer) for number in range(1000)],
        )
        rows = (
            b"\n".join(
                file_format.encode_group(number % 1000 + 1, number // 1000 + 1, [token(number)], ended=False)
                for number in range(first, min(first + together, entries))
            )
            for first in range(0, entries, together)
        )
        connection.executemany(
            "INSERT INTO journal (producer, body) VALUES (?, ?)", ((producer, body) for body in rows)
        )
        connection.execute("COMMIT")
        connection.close()

    @staticmethod
    async def recover(path: Path) -> None:
        """Open the log: every stream is ended and can be read."""
        async with SqliteEngine(path, lost=LOST) as log:
            stream = await log.get(f"{7:032x}", "")
            assert stream.ended
            assert stream.entries[-1] == LOST


class Table:
    """A table with a row for every token. ``most`` is how many tokens share a transaction."""

    name = ""
    schema = ""
    most = BACKLOG

    def __init__(self, path: Path, synchronous: str) -> None:
        self._connection = self._connect(path, synchronous)
        self._connection.execute(self.schema)
        self._queue: queue.SimpleQueue[list[tuple[int, int, bytes]] | None] = queue.SimpleQueue()
        self._noted: list[tuple[int, int, bytes]] = []
        self._backlog = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._write)

    @staticmethod
    def _connect(path: Path, synchronous: str = "NORMAL") -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # as tickertape has it
        return connection

    async def open(self, streams: int, told: Callable[[int, int], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._counts = [0] * streams
        self._drained = asyncio.Event()
        self._thread.start()

    async def append(self, stream: int, entry: bytes) -> None:
        if not self._noted:
            self._loop.call_soon(self._submit)
        self._counts[stream] += 1
        self._noted.append((stream, self._counts[stream], entry))
        self._backlog += 1
        while self._backlog > BACKLOG:
            self._drained.clear()
            await self._drained.wait()

    def _submit(self) -> None:
        noted, self._noted = self._noted, []
        self._queue.put(noted)

    def _write(self) -> None:
        execute = self._connection.execute
        stopped = False
        while not stopped:
            taken = [self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get())
            stopped = None in taken
            rows = [row for batch in taken if batch for row in batch] if None not in taken else []
            for first in range(0, len(rows), self.most):
                if self._stopped:
                    break  # what it is behind with
                some = rows[first : first + self.most]
                execute("BEGIN")
                self._connection.executemany("INSERT INTO entry (stream, seq, body) VALUES (?, ?, ?)", some)
                execute("COMMIT")
                self._loop.call_soon_threadsafe(self._delivered, some)

    def _delivered(self, rows: list[tuple[int, int, bytes]]) -> None:
        for stream, number, _entry in rows:
            self._told(stream, number)
        self._backlog -= len(rows)
        if self._backlog <= BACKLOG:
            self._drained.set()

    async def finish(self) -> None:
        self._stopped = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._connection.close()

    @classmethod
    def fill(cls, path: Path, entries: int, _together: int) -> None:
        connection = cls._connect(path)
        connection.execute(cls.schema)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO entry (stream, seq, body) VALUES (?, ?, ?)",
            ((number % 1000, number // 1000 + 1, token(number)) for number in range(entries)),
        )
        connection.execute("COMMIT")
        connection.close()

    @classmethod
    async def recover(cls, path: Path) -> None:
        """Find where every stream stopped and write its end."""
        connection = cls._connect(path)
        connection.execute(
            "INSERT INTO entry (stream, seq, body) SELECT stream, max(seq) + 1, ? FROM entry GROUP BY stream", (LOST,)
        )
        connection.close()


class Keyed(Table):
    """PRIMARY KEY (stream, seq), many tokens in a transaction."""

    name = "PRIMARY KEY (stream, seq), batched"
    schema = "CREATE TABLE entry (stream INTEGER, seq INTEGER, body BLOB, PRIMARY KEY (stream, seq)) WITHOUT ROWID"


class KeyedEach(Keyed):
    """The same with a transaction for every token."""

    name = "PRIMARY KEY (stream, seq), a commit a token"
    most = 1


class Each(Table):
    """Rows in order of arrival, a transaction for every token."""

    name = "order of arrival, a commit a token"
    schema = "CREATE TABLE entry (no INTEGER PRIMARY KEY, stream INTEGER, seq INTEGER, body BLOB)"
    most = 1


CONTESTANTS: dict[str, Any] = {kind.__name__: kind for kind in (Tickertape, Each, KeyedEach, Keyed)}


def token(number: int) -> bytes:
    """Return an entry as long as a token's usually is."""
    return b't" tok%03d"' % (number % 1000)
