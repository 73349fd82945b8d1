"""The one thread that writes to the SQLite log, and what it can be asked to do.

Adaptive group commit: the thread takes whatever has been asked for since its last transaction and commits it as one.
When it is idle, that is one token at once; when it is busy, the work gathers while a commit runs.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from tickertape.errors import KeyReused, LogError, LogUnavailable
from tickertape.log import journal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tickertape.log.base import Header, Key, Tape


class Fenced(LogUnavailable):
    """Raised in a process that stood still so long that another one took it for dead and ended its streams."""

    def __init__(self) -> None:
        super().__init__("This process stood still, was taken for dead, and its running answers were ended as lost.")


class Line:
    """The writer's view of one running stream: its row, its producer, and the next entry that may be committed."""

    __slots__ = ("next", "no", "producer", "ticks")

    def __init__(self) -> None:
        self.no = 0
        self.producer = 0
        self.next = 1
        self.ticks: list[int] = []


class Task(Protocol):
    """Something to be done in the next transaction: `write` in the thread, then one of the others on the loop."""

    def write(self, transaction: Transaction) -> None:
        """Perform it within the transaction, or raise LogError to be left out of it."""

    def committed(self) -> None:
        """Run on the event loop once it is committed."""

    def failed(self, error: LogError) -> None:
        """Run on the event loop when it was not committed."""


class Create:
    """Insert the stream's row and first entries, unless its key exists already."""

    def __init__(self, header: Header, entries: list[bytes], key: Key | None, done: asyncio.Future[str | None]) -> None:
        self.header, self.entries, self.key, self.done = header, entries, key, done
        self.line = Line()
        self.existing: str | None = None

    def write(self, transaction: Transaction) -> None:
        """Insert; find the existing stream if the key is taken."""
        header = self.header
        if self.key is not None:
            self.existing = transaction.claim(header, self.key)
            if self.existing is not None:
                return
        transaction.insert(header, self.line)
        transaction.append(self.line, 1, self.entries, ended=False)

    def committed(self) -> None:
        """Give the waiting caller the stream that the key belongs to, or None for a new one."""
        if not self.done.done():
            self.done.set_result(self.existing)

    def failed(self, error: LogError) -> None:
        """Raise in the waiting caller."""
        if not self.done.done():
            self.done.set_exception(error)


class Append:
    """Add entries to a stream's tick; the last of them ends it if ``done`` is given."""

    __slots__ = ("done", "entries", "first", "line", "tape")

    def __init__(self, tape: Tape, line: Line, first: int, entries: list[bytes]) -> None:
        self.tape, self.line, self.first, self.entries = tape, line, first, entries
        self.done: asyncio.Future[None] | None = None

    def write(self, transaction: Transaction) -> None:
        """Put the entries into the tick."""
        transaction.append(self.line, self.first, self.entries, ended=self.done is not None)

    def committed(self) -> None:
        """Show the entries to the readers."""
        self.tape.extend(self.entries, ended=self.done is not None)
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: LogError) -> None:
        """Tell the producer, now if it waits, else with its next append."""
        if self.done is None:
            self.tape.error = error
            self.tape.wake()
        elif not self.done.done():
            self.done.set_exception(error)


class Fold:
    """Turn an ended stream's ticks into its body."""

    __slots__ = ("line", "tape")

    def __init__(self, tape: Tape, line: Line) -> None:
        self.tape, self.line = tape, line

    def write(self, transaction: Transaction) -> None:
        """Write the body; drop the ticks that nobody needs any more."""
        transaction.fold(self.line, b"\n".join(self.tape.entries))

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: LogError) -> None:
        """Leave the ticks: opening the file again folds them."""


class Tell:
    """Tell another process's producer something, in the stream's row, which it looks at."""

    STOP = "UPDATE stream SET stop = 1 WHERE id = ? AND ended IS NULL AND stop = 0"
    SEEN = "UPDATE stream SET seen = ?2 WHERE id = ?1 AND ended IS NULL"

    def __init__(self, statement: str, *values: object) -> None:
        self.statement, self.values = statement, values

    def write(self, transaction: Transaction) -> None:
        """Mark the row."""
        transaction.connection.execute(self.statement, self.values)

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: LogError) -> None:
        """Do nothing: it will be told again."""


class Expire:
    """Delete old streams and their keys, a few at a time, so that no commit has to wait for long."""

    BATCH = 200

    def __init__(self, before: float, done: asyncio.Future[int]) -> None:
        self.before, self.done = before, done
        self.count = 0

    def write(self, transaction: Transaction) -> None:
        """Delete. The pages are used again; nothing is ever vacuumed."""
        self.count = transaction.expire(self.before, self.BATCH)

    def committed(self) -> None:
        """Give the number to who waits."""
        if not self.done.done():
            self.done.set_result(self.count)

    def failed(self, error: LogError) -> None:
        """Raise in who waits."""
        if not self.done.done():
            self.done.set_exception(error)


class Beat:
    """Say that this process runs. It goes the way of the tokens, so that it says it of the whole way."""

    def write(self, transaction: Transaction) -> None:
        """Renew the lease."""
        transaction.beat()

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: LogError) -> None:
        """Do nothing: the next one comes."""


class Transaction:
    """What is gathered for one commit."""

    def __init__(self, connection: sqlite3.Connection, producer: int) -> None:
        self.connection = connection
        self.begun = False
        self._producer = producer
        self._tick: list[bytes] = []
        self._lines: dict[Line, int] = {}

    def insert(self, header: Header, line: Line) -> None:
        """Insert a stream's row."""
        self._begin()
        cursor = self.connection.execute(
            "INSERT INTO stream (id, owner, model, created, producer) VALUES (?, ?, ?, ?, ?)",
            (header.id, header.owner, header.model, header.created, self._producer),
        )
        line.no, line.producer = cursor.lastrowid or 0, self._producer

    def beat(self) -> None:
        """Renew the lease. Raises Fenced if it was taken away."""
        cursor = self.connection.execute(
            "UPDATE producer SET beat = ? WHERE no = ?", (time.monotonic(), self._producer)
        )
        if not cursor.rowcount:
            raise Fenced

    def expire(self, before: float, most: int) -> int:
        """Delete at most so many streams that ended before; return how many."""
        self._begin()
        old = self.connection.execute("SELECT id FROM stream WHERE ended < ? LIMIT ?", (before, most)).fetchall()
        self.connection.executemany("DELETE FROM idempotency WHERE stream = ?", old)
        self.connection.executemany("DELETE FROM stream WHERE id = ?", old)
        return len(old)

    def claim(self, header: Header, key: Key) -> str | None:
        """Give the key to this stream; if it is taken, return the stream that has it. Raises KeyReused."""
        self._begin()
        connection = self.connection
        claimed = connection.execute(
            "INSERT INTO idempotency VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (header.owner, key.value, key.digest, header.id),
        ).rowcount
        if claimed:
            return None
        digest, stream_id = connection.execute(
            "SELECT digest, stream FROM idempotency WHERE owner = ? AND key = ?", (header.owner, key.value)
        ).fetchone()
        if digest != key.digest:
            raise KeyReused(key.value)
        return str(stream_id)

    def append(self, line: Line, first: int, entries: list[bytes], *, ended: bool) -> None:
        """Add to the tick. Entries whose predecessors were not committed are refused: a stream has no gaps."""
        self._check(line)
        if first != self._lines.get(line, line.next):
            raise LogUnavailable("An earlier part of this answer could not be written to the stream log.")
        self._tick.append(journal.group(line.no, first, entries, ended=ended))
        self._lines[line] = first + len(entries)

    def fold(self, line: Line, body: bytes) -> None:
        """Write a stream's body."""
        self._check(line)
        self._begin()
        self.connection.execute("UPDATE stream SET ended = ?, body = ? WHERE no = ?", (time.time(), body, line.no))

    def delete(self, ticks: Iterable[int]) -> None:
        """Delete ticks that nobody needs any more."""
        rows = [(tick,) for tick in ticks]
        if rows:
            self.connection.executemany("DELETE FROM journal WHERE tick = ?", rows)

    def commit(self) -> int | None:
        """Write the tick and commit; return the tick's number, None if there was nothing to append."""
        tick = None
        if self._tick:
            # One statement, also a fence: a producer that was declared dead has no row and writes nothing.
            cursor = self.connection.execute(
                "INSERT INTO journal (producer, body) SELECT no, ?2 FROM producer WHERE no = ?1",
                (self._producer, b"\n".join(self._tick)),
            )
            if not cursor.rowcount:
                raise Fenced
            tick = cursor.lastrowid
        if self.begun:
            self.connection.execute("COMMIT")
        for line, number in self._lines.items():
            line.next = number
        return tick

    @property
    def lines(self) -> list[Line]:
        """The streams that have entries in this tick."""
        return list(self._lines)

    def _check(self, line: Line) -> None:
        if line.producer != self._producer:
            raise LogUnavailable(str(Fenced()))  # its stream was ended by somebody else, the others go on

    def _begin(self) -> None:
        # A tick alone is one INSERT in autocommit mode: one call into SQLite, one release of the GIL.
        if not self.begun:
            self.begun = True
            self.connection.execute("BEGIN IMMEDIATE")


class Writer(threading.Thread):
    """Commits tasks in order, as the producer ``name``.

    ``deliver`` is called in the thread with what to run on the event loop, and the number of entries that are done.
    ``rejoined`` is among that after this process was taken for dead: its running streams are gone, it goes on as new.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        name: str,
        deliver: Callable[[list[Callable[[], None]], int], object],
        rejoined: Callable[[], None],
    ) -> None:
        super().__init__(name="tickertape-log", daemon=True)
        self._connection = connection
        self._path = path
        self._name = name
        self.producer = journal.join(connection, name)
        self._deliver = deliver
        self._rejoined = rejoined
        self._queue: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self._pins: dict[int, int] = {}  # tick -> unfolded streams with entries in it

    def submit(self, tasks: list[Task]) -> None:
        """Commit these with the next transaction, after all that were submitted before."""
        self._queue.put(tasks)

    def stop(self) -> None:
        """Commit what was submitted, then end the thread; join it afterwards."""
        self._queue.put(None)

    def run(self) -> None:
        """Take, commit, deliver."""
        stopped = False
        while not stopped:
            taken = [self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get())
            stopped = None in taken
            tasks = [task for batch in taken if batch is not None for task in batch]
            if tasks:
                self._deliver(self._commit(tasks), sum(len(task.entries) for task in tasks if type(task) is Append))

    def _commit(self, tasks: list[Task]) -> list[Callable[[], None]]:
        """Commit the tasks as one transaction; return what is to be run on the event loop."""
        transaction = Transaction(self._connection, self.producer)
        results: list[Callable[[], None]] = []
        try:
            for task in tasks:
                try:
                    task.write(transaction)
                    results.append(task.committed)
                except Fenced:
                    raise
                except LogError as error:
                    results.append(_failure(task, error))
            folded = [task.line for task in tasks if type(task) is Fold]
            released = Counter(tick for line in folded for tick in line.ticks)
            transaction.delete(tick for tick, count in released.items() if count == self._pins[tick])
            tick = transaction.commit()
        except Fenced:
            self._roll_back()
            self.producer = journal.join(self._connection, self._name)
            return [self._rejoined, *self._commit(tasks)]
        except (sqlite3.Error, LogError) as error:
            self._roll_back()
            reason = error if isinstance(error, LogError) else journal.explain(error, self._path)
            return [_failure(task, reason) for task in tasks]
        self._pin(tick, transaction.lines, released)
        return results

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _pin(self, tick: int | None, lines: list[Line], released: Counter[int]) -> None:
        """Note which ticks are still needed, now that the transaction is committed."""
        if tick is not None:
            self._pins[tick] = len(lines)
            for line in lines:
                line.ticks.append(tick)
        for number, count in released.items():
            self._pins[number] -= count
            if not self._pins[number]:
                del self._pins[number]


def _failure(task: Task, error: LogError) -> Callable[[], None]:
    return lambda: task.failed(error)
