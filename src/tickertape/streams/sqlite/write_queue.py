"""From the event loop to the writer thread and back: what is to be written is gathered here, and its outcome told.

Every submission costs a switch of threads, a transaction and a wake-up of the loop, some 150 CPU-µs whatever is in it.
So tokens in the middle of an answer wait for others, 10 ms at most; whatever somebody waits for does not: the
beginning of an answer, its first token, its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tickertape.streams.sqlite.commands import Append

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tickertape.streams.sqlite.commands import Task
    from tickertape.streams.sqlite.production import SqliteWriter

BACKLOG = 20_000
"""Entries. A producer that is this far ahead of the disk waits, so that memory stays bounded."""

GATHER = 0.01
"""Seconds from one submission to the next, when all that has come can wait."""


class WriteQueue:
    """Gathers tasks and hands them to ``submit``; `deliver` takes their results."""

    def __init__(self, loop: asyncio.AbstractEventLoop, submit: Callable[[list[Task]], None]) -> None:
        self._loop = loop
        self._take = submit
        self._tasks: list[Task] = []
        self._hurried = False
        self._earliest = 0.0  # loop time before which nothing is submitted that can wait
        self._drained = asyncio.Event()
        self.backlog = 0  # entries between here and the disk

    def add(self, task: Task, *, waits: bool = False) -> None:
        """Have it submitted at the end of this turn of the loop, or later if it can wait for others."""
        alone = not self._tasks
        self._tasks.append(task)
        if self._hurried or (waits and not alone):
            return
        if waits and self._loop.time() < self._earliest:
            self._loop.call_at(self._earliest, self.submit)
        else:
            self.hurry()

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
        self.hurry()
        return append.done

    def hurry(self) -> None:
        """Submit at the end of this turn of the loop."""
        if not self._hurried:
            self._hurried = True
            self._loop.call_soon(self.submit)

    def submit(self) -> None:
        """Submit what there is."""
        self._hurried = False
        if self._tasks:
            for task in self._tasks:
                if type(task) is Append:
                    task.writer.pending = None
            self._take(self._tasks)
            self._tasks = []
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
