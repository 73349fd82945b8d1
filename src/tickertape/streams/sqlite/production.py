"""The streams that this process produces: their writers, and what becomes of an end that could not be written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tickertape.errors import Fenced, LogError, StreamEnded
from tickertape.streams.contract import StreamWriter
from tickertape.streams.sqlite.commands import Fold, Late, Tell
from tickertape.streams.sqlite.stream import SqliteStream
from tickertape.streams.sqlite.write_queue import BACKLOG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tickertape.streams.sqlite.commands import Append, Create
    from tickertape.streams.sqlite.follower import Follower
    from tickertape.streams.sqlite.transaction import Line
    from tickertape.streams.sqlite.write_queue import WriteQueue


class Production:
    """Writers by the id of their running streams, and what is written later because it could not be written before.

    ``queue`` takes what is to be written, under the number that ``producer`` returns. ``check`` raises if the file is
    not there any more, ``seen`` says whether another process has lately read a stream, and ``begun`` is called when
    there is something to look after.
    """

    def __init__(
        self,
        queue: WriteQueue,
        follower: Follower,
        *,
        producer: Callable[[], int],
        check: Callable[[], object],
        seen: Callable[[str, float], Awaitable[bool]],
        begun: Callable[[], object],
    ) -> None:
        self.queue = queue
        self.writers: dict[str, SqliteWriter] = {}
        self.check = check
        self.seen = seen
        self._follower = follower
        self._producer = producer
        self._begun = begun
        self._late: list[Fold | Late] = []

    @property
    def active(self) -> bool:
        """Whether streams run here, or something is still to be written."""
        return bool(self.writers or self._late)

    def begin(self, stream: SqliteStream, create: Create) -> SqliteWriter:
        """Return the writer of a stream that was created."""
        writer = self.writers[stream.header.id] = SqliteWriter(self, stream, create.line)
        self._begun()
        return writer

    def end(self, writer: SqliteWriter) -> None:
        """Let go of a writer whose stream has its end in the file, and fold the stream."""
        self.writers.pop(writer.stream.header.id, None)
        self._fold(writer.stream, writer.line)

    async def settle(self, writer: SqliteWriter, end: bytes) -> None:
        """End a stream whose end could not be committed: with the end that somebody else wrote, else with ours."""
        stream = writer.stream
        try:
            stored = SqliteStream(stream.header, [], stream.no)
            with contextlib.suppress(LogError):
                await self._follower.catch_up(stored)
                if stored.ended:
                    stream.extend(stored.entries[len(stream.entries) :], ended=True)
                    return
            stream.extend([end], ended=True)
            self._again(Late(stream, writer.line, lambda line: self._fold(stream, line), self._again))
        finally:
            self.writers.pop(stream.header.id, None)

    def fence(self) -> None:
        """Break off the streams that were begun before this process was taken for dead: they have ended."""
        for writer in tuple(self.writers.values()):
            if writer.line.producer != self._producer():
                writer.break_off(Fenced())

    def tell_places(self) -> None:
        """Tell other processes each answer's place in the line, where it has changed."""
        for writer in self.writers.values():
            if writer.told != writer.stream.queued:
                writer.tell_place()

    def try_again(self) -> None:
        """Have what could not be written before written now."""
        late, self._late = self._late, []
        for task in late:
            self.queue.add(task)

    def _fold(self, stream: SqliteStream, line: Line) -> None:
        self.queue.add(Fold(stream, line, self._again), waits=True)

    def _again(self, task: Fold | Late) -> None:
        """Keep what could not be written to be tried again. It holds the stream: readers go on to find it here."""
        if task.line.producer == self._producer():
            self._late.append(task)
            self._begun()


class SqliteWriter(StreamWriter):
    """Hands entries to the `WriteQueue`; ``pending`` is what more can be added to before it goes to the disk.

    ``line`` is what the writer thread keeps of the stream. ``appended`` counts the entries, with those that are yet to
    be committed; ``told`` is the place in the line that other processes were told last.
    """

    __slots__ = ("_production", "_queue", "appended", "line", "pending", "told")

    stream: SqliteStream

    def __init__(self, production: Production, stream: SqliteStream, line: Line) -> None:
        super().__init__(stream, line.producer)
        self._production = production
        self._queue = production.queue
        self.line = line
        self.pending: Append | None = None
        self.appended = len(stream.entries)
        self.told = 0

    def append(self, entries: Sequence[bytes]) -> None:
        pending = self.pending
        if pending is None or self.told:
            self._begin_append(entries)
            return
        count = len(entries)
        pending.entries += entries
        self.appended += count
        self._queue.backlog += count

    def _begin_append(self, entries: Sequence[bytes]) -> None:
        if self.error is not None:
            raise self.error
        if self.stream.ended or self.stream.header.id not in self._production.writers:
            raise StreamEnded(self.stream.header.id)
        if self.told:
            self.tell_place()  # in the same transaction: who has text is in no line
        self._queue.append(self, self.appended + 1, entries, waits=self.appended > 2)
        self.appended += len(entries)

    @property
    def behind(self) -> bool:
        return self._queue.backlog > BACKLOG

    async def drained(self) -> None:
        await self._queue.drain()

    async def finish(self, entries: Sequence[bytes]) -> None:
        if self.stream.ended:
            return
        if self.error is not None:
            raise self.error
        self._production.check()
        self.append(entries)
        try:
            await self._queue.finish(self)
        except LogError as error:
            raise self.error or error from error  # the first one has the reason
        self._production.end(self)

    async def fail(self, end: bytes) -> None:
        if self.stream.ended:
            return
        self.error = None
        self.appended = len(self.stream.entries)  # what was not committed is given up; the end follows what was
        self.pending = None
        try:
            await self.finish([end])
        except LogError:
            await self._production.settle(self, end)

    def break_off(self, error: LogError) -> None:
        self.pending = None  # so that the next append looks at the error
        super().break_off(error)

    async def attended(self, within: float) -> bool:
        return self.stream.readers > 0 or await self._production.seen(self.stream.header.id, within)

    def tell_place(self) -> None:
        """Tell other processes the answer's place in the line."""
        self.told = self.stream.queued
        self._queue.add(Tell(Tell.PLACE, self.stream.header.id, self.told))
