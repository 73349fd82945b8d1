"""From the event loop to the thread that commits, and back.

The `WriteQueue` is on the event loop's side: it gathers commands and hands them over together. Every hand-over costs a
switch of threads, a transaction and a wake-up of the loop, some 150 CPU-µs whatever is in it. So tokens in the middle
of an answer wait for others, 10 ms at most; whatever somebody waits for does not: the beginning of an answer, its first
token, its end.

The `WriterThread` is the only one that writes. Adaptive group commit: it takes whatever has been handed over since its
last transaction and commits it as one. When it is idle, that is one token at once; when it is busy, the work gathers
while a commit runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING

from tickertape.errors import EngineError, EngineUnavailable, Fenced
from tickertape.streams.sqlite import leases
from tickertape.streams.sqlite.commands import Append, Command, Compact, StreamHandle, Transaction
from tickertape.streams.sqlite.file_format import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tickertape.streams.sqlite.producer import SqliteWriter

logger = logging.getLogger("tickertape")

BACKLOG = 20_000
"""Entries. A producer that is this far ahead of the disk waits, so that memory stays bounded."""

GATHER = 0.01
"""Seconds from one submission to the next, when all that has come can wait."""


class WriteQueue:
    """Gathers commands and hands them to ``submit``; `deliver` takes their results."""

    def __init__(self, loop: asyncio.AbstractEventLoop, submit: Callable[[list[Command]], None]) -> None:
        self._loop = loop
        self._submit = submit
        self._commands: list[Command] = []
        self._soon = False
        self._earliest = 0.0  # loop time before which nothing is submitted that can wait
        self._drained = asyncio.Event()
        self.backlog = 0  # entries between here and the disk

    def add(self, command: Command, *, waits: bool = False) -> None:
        """Have it submitted at the end of this turn of the loop, or later if it can wait for others."""
        alone = not self._commands
        self._commands.append(command)
        if self._soon or (waits and not alone):
            return
        if waits and self._loop.time() < self._earliest:
            self._loop.call_at(self._earliest, self.submit)
        else:
            self.submit_soon()

    def append(self, writer: SqliteWriter, first: int, entries: Sequence[bytes], *, waits: bool) -> None:
        """Add entries to a stream; until they are submitted, more can be added to the writer's ``pending``."""
        self.backlog += len(entries)
        if writer.pending is None:
            writer.pending = Append(writer, first, list(entries))
            self.add(writer.pending, waits=waits)
        else:
            writer.pending.entries += entries

    def finish(self, writer: SqliteWriter) -> asyncio.Future[None]:
        """Have what is pending end the stream; the future is done once that is committed."""
        assert writer.pending is not None  # noqa: S101 - the end was appended just now
        append, writer.pending = writer.pending, None
        append.done = self._loop.create_future()
        self.submit_soon()
        return append.done

    def submit_soon(self) -> None:
        """Submit at the end of this turn of the loop."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self.submit)

    def submit(self) -> None:
        """Submit what there is."""
        self._soon = False
        if self._commands:
            for command in self._commands:
                if type(command) is Append:
                    command.writer.pending = None
            self._submit(self._commands)
            self._commands = []
            self._earliest = self._loop.time() + GATHER

    def deliver(self, results: list[Callable[[], None]], entries: int) -> None:
        """For the writer's thread: run the results on the loop; so many entries are done."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._delivered, results, entries)

    def _delivered(self, results: list[Callable[[], None]], entries: int) -> None:
        for result in results:
            result()
        self.backlog -= entries
        if self.backlog <= BACKLOG:
            self._drained.set()

    async def drain(self) -> None:
        """Wait while the disk is far behind."""
        while self.backlog > BACKLOG:
            self._drained.clear()
            await self._drained.wait()


class WriterThread(threading.Thread):
    """Commits commands in order, as the producer ``name`` with this ``epoch``.

    ``settings`` are those that others who use the file must share.

    ``deliver`` is called in the thread with what to run on the event loop, and the number of entries that are done.
    ``fenced`` is among that after this process was taken for dead: its running streams are gone, it has a new epoch.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        name: str,
        deliver: Callable[[list[Callable[[], None]], int], object],
        fenced: Callable[[], None],
        settings: str = "",
    ) -> None:
        super().__init__(name="tickertape-log", daemon=True)
        self._connection = connection
        self._path = path
        self._name = name
        self._settings = settings
        self.epoch = leases.join(connection, name, settings)
        self._deliver = deliver
        self._fenced = fenced
        self._queue: queue.SimpleQueue[list[Command] | None] = queue.SimpleQueue()
        self._trouble = ""  # why the last transaction could not be committed
        self._pinned: dict[int, int] = {}  # batch -> running streams with entries in it

    def submit(self, commands: list[Command]) -> None:
        """Commit these with the next transaction, after all that were submitted before."""
        self._queue.put(commands)

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
            commands = [command for handed in taken if handed is not None for command in handed]
            if commands:
                entries = sum(len(command.entries) for command in commands if type(command) is Append)
                self._deliver(self._commit(commands), entries)
            del taken, commands  # while this waits for the next ones, it must not keep their streams in memory

    def _commit(self, commands: list[Command]) -> list[Callable[[], None]]:
        """Commit the commands as one transaction; return what is to be run on the event loop."""
        transaction = Transaction(self._connection, self.epoch)
        results: list[Callable[[], None]] = []
        try:
            if self._connection.in_transaction:  # even rolling back had failed
                self._connection.execute("ROLLBACK")
            for command in commands:
                try:
                    command.write(transaction)
                    results.append(command.committed)
                except Fenced:
                    raise
                except EngineError as error:
                    results.append(_failure(command, error))
            compacted = [command.handle for command in commands if type(command) is Compact]
            released = Counter(batch for handle in compacted for batch in handle.batches)
            transaction.drop(batch for batch, count in released.items() if count == self._pinned[batch])
            batch = transaction.commit()
        except Fenced:
            self._roll_back()
            return self._rejoin(commands)
        except (sqlite3.Error, EngineError) as error:
            self._roll_back()
            return self._fail(commands, error)
        except Exception as error:  # one that cannot be written at all must end neither the others nor this thread
            self._roll_back()
            if len(commands) > 1:
                return [result for command in commands for result in self._commit([command])]
            logger.exception("The stream log cannot write this")
            return [_failure(commands[0], EngineUnavailable(f"The stream log cannot write this: {error}."))]
        self._pin(batch, transaction.handles, released)
        if self._trouble:
            self._trouble = ""
            logger.warning("The stream log %s can be written again", self._path)
        return results

    def _rejoin(self, commands: list[Command]) -> list[Callable[[], None]]:
        """Commit the commands as a new producer; those for streams that were ended in the meantime fail."""
        try:
            self.epoch = leases.join(self._connection, self._name, self._settings)
        except sqlite3.Error as error:  # tried again with the next commands
            return self._fail(commands, error)
        return [self._fenced, *self._commit(commands)]

    def _fail(self, commands: list[Command], error: sqlite3.Error | EngineError) -> list[Callable[[], None]]:
        """Tell everybody that nothing was committed, and why; tell the operator once."""
        reason = error if isinstance(error, EngineError) else explain(error, self._path)
        if str(reason) != self._trouble:
            self._trouble = str(reason)
            logger.error("%s", self._trouble)
        return [_failure(command, reason) for command in commands]

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # after an I/O error it may have happened already
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _pin(self, batch: int | None, handles: list[StreamHandle], released: Counter[int]) -> None:
        """Note which batches are still needed, now that the transaction is committed."""
        if batch is not None:
            self._pinned[batch] = len(handles)
            for handle in handles:
                handle.batches.append(batch)
        for number, count in released.items():
            self._pinned[number] -= count
            if not self._pinned[number]:
                del self._pinned[number]


def _failure(command: Command, error: EngineError) -> Callable[[], None]:
    return lambda: command.failed(error)
