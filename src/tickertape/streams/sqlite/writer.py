"""The one thread that writes to the SQLite log; `tickertape.streams.sqlite.commands` is what it can be asked to do.

Adaptive group commit: the thread takes whatever has been asked for since its last transaction and commits it as one.
When it is idle, that is one token at once; when it is busy, the work gathers while a commit runs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
from collections import Counter
from typing import TYPE_CHECKING

from tickertape.errors import Fenced, LogError, LogUnavailable
from tickertape.streams.sqlite import journal
from tickertape.streams.sqlite.commands import Append, Fold, Task
from tickertape.streams.sqlite.transaction import Line, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


logger = logging.getLogger("tickertape")


class Writer(threading.Thread):
    """Commits tasks in order, as the producer ``name``. Others read there which ``settings`` they must share.

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
        settings: str = "",
    ) -> None:
        super().__init__(name="tickertape-log", daemon=True)
        self._connection = connection
        self._path = path
        self._name = name
        self._settings = settings
        self.producer = journal.join(connection, name, settings)
        self._deliver = deliver
        self._rejoined = rejoined
        self._queue: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self._trouble = ""  # why the last transaction could not be committed
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
            del taken, tasks  # while this waits for the next ones, it must not keep their streams in memory

    def _commit(self, tasks: list[Task]) -> list[Callable[[], None]]:
        """Commit the tasks as one transaction; return what is to be run on the event loop."""
        transaction = Transaction(self._connection, self.producer)
        results: list[Callable[[], None]] = []
        try:
            if self._connection.in_transaction:  # even rolling back had failed
                self._connection.execute("ROLLBACK")
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
            transaction.drop(tick for tick, count in released.items() if count == self._pins[tick])
            tick = transaction.commit()
        except Fenced:
            self._roll_back()
            return self._rejoin(tasks)
        except (sqlite3.Error, LogError) as error:
            self._roll_back()
            return self._fail(tasks, error)
        except Exception as error:  # one that cannot be written at all must end neither the others nor this thread
            self._roll_back()
            if len(tasks) > 1:
                return [result for task in tasks for result in self._commit([task])]
            logger.exception("The stream log cannot write this")
            return [_failure(tasks[0], LogUnavailable(f"The stream log cannot write this: {error}."))]
        self._pin(tick, transaction.lines, released)
        if self._trouble:
            self._trouble = ""
            logger.warning("The stream log %s can be written again", self._path)
        return results

    def _rejoin(self, tasks: list[Task]) -> list[Callable[[], None]]:
        """Commit the tasks as a new producer; those for streams that were ended in the meantime fail."""
        try:
            self.producer = journal.join(self._connection, self._name, self._settings)
        except sqlite3.Error as error:  # tried again with the next tasks
            return self._fail(tasks, error)
        return [self._rejoined, *self._commit(tasks)]

    def _fail(self, tasks: list[Task], error: sqlite3.Error | LogError) -> list[Callable[[], None]]:
        """Tell everybody that nothing was committed, and why; tell the operator once."""
        reason = error if isinstance(error, LogError) else journal.explain(error, self._path)
        if str(reason) != self._trouble:
            self._trouble = str(reason)
            logger.error("%s", self._trouble)
        return [_failure(task, reason) for task in tasks]

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # after an I/O error it may have happened already
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
