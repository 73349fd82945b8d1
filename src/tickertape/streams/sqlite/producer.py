"""What this process produces: its streams, their writers, and ends that could not be written.

A `SqliteWriter` is what a provider's tokens go through, so `append` does next to nothing: it adds to the `Append` that
waits in the queue. The `Producer` holds the writers of all streams that run here, and keeps what could not be written
to try it again: an end that live readers were shown on a full disk, or a stream that could not be compacted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tickertape.errors import EngineError, Fenced, StreamEnded
from tickertape.streams.contract import Header, Stream, StreamWriter
from tickertape.streams.sqlite.commands import Compact, DeferredEnd, SetFlag
from tickertape.streams.sqlite.file_format import group_prefix
from tickertape.streams.sqlite.writer import BACKLOG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tickertape.streams.sqlite.commands import Append, Create, StreamHandle
    from tickertape.streams.sqlite.follower import Follower
    from tickertape.streams.sqlite.writer import WriteQueue


class SqliteStream(Stream):
    """A stream with its number in the file, ``no``, and how its groups begin, ``prefix``.

    ``produced_here`` says that this process is or was its producer: the writer tells of what was committed. Everybody
    else is told by the follower.
    """

    __slots__ = ("no", "prefix", "produced_here")

    def __init__(self, header: Header, entries: list[bytes], no: int, *, ended: bool = False) -> None:
        super().__init__(header, entries, ended=ended)
        self.no = no
        self.prefix = group_prefix(no)
        self.produced_here = False


class Producer:
    """Writers by the id of their running streams, and what is written later because it could not be written before.

    ``queue`` takes what is to be written, with the epoch that ``epoch`` returns. ``check`` raises if the file is
    not there any more, ``seen`` says whether another process has lately read a stream, and ``begun`` is called when
    there is something to look after.
    """

    def __init__(
        self,
        queue: WriteQueue,
        follower: Follower,
        *,
        epoch: Callable[[], int],
        check: Callable[[], object],
        seen: Callable[[str, float], Awaitable[bool]],
        begun: Callable[[], object],
    ) -> None:
        self.queue = queue
        self.writers: dict[str, SqliteWriter] = {}
        self.check = check
        self.seen = seen
        self._follower = follower
        self._epoch = epoch
        self._begun = begun
        self._deferred: list[Compact | DeferredEnd] = []

    @property
    def active(self) -> bool:
        """Whether streams run here, or something is still to be written."""
        return bool(self.writers or self._deferred)

    def begin(self, stream: SqliteStream, create: Create) -> SqliteWriter:
        """Return the writer of a stream that was created."""
        writer = self.writers[stream.header.id] = SqliteWriter(self, stream, create.handle)
        self._begun()
        return writer

    def end(self, writer: SqliteWriter) -> None:
        """Let go of a writer whose stream has its end in the file, and compact the stream."""
        self.writers.pop(writer.stream.header.id, None)
        self._compact(writer.stream, writer.handle)

    async def settle(self, writer: SqliteWriter, end: bytes) -> None:
        """End a stream whose end could not be committed: with the end that somebody else wrote, else with ours."""
        stream = writer.stream
        try:
            stored = SqliteStream(stream.header, [], stream.no)
            with contextlib.suppress(EngineError):
                await self._follower.catch_up(stored)
                if stored.ended:
                    stream.extend(stored.entries[len(stream.entries) :], ended=True)
                    return
            stream.extend([end], ended=True)
            self._defer(DeferredEnd(stream, writer.handle, lambda handle: self._compact(stream, handle), self._defer))
        finally:
            self.writers.pop(stream.header.id, None)

    def fence(self) -> None:
        """Break off the streams that were begun before this process was taken for dead: they have ended."""
        for writer in tuple(self.writers.values()):
            if writer.handle.epoch != self._epoch():
                writer.break_off(Fenced())

    def announce_places(self) -> None:
        """Tell other processes each answer's place in the line, where it has changed."""
        for writer in self.writers.values():
            if writer.announced != writer.stream.queued:
                writer.announce_place()

    def retry_deferred(self) -> None:
        """Have what could not be written before written now."""
        deferred, self._deferred = self._deferred, []
        for command in deferred:
            self.queue.add(command)

    def _compact(self, stream: SqliteStream, handle: StreamHandle) -> None:
        self.queue.add(Compact(stream, handle, self._defer), waits=True)

    def _defer(self, command: Compact | DeferredEnd) -> None:
        """Keep what could not be written to be tried again. It holds the stream: readers go on to find it here."""
        if command.handle.epoch == self._epoch():
            self._deferred.append(command)
            self._begun()


class SqliteWriter(StreamWriter):
    """Hands entries to the `WriteQueue`; ``pending`` is what more can be added to before it goes to the disk.

    ``handle`` is what the writer thread keeps of the stream. ``appended`` counts the entries, with those that are yet
    to be committed; ``announced`` is the place in the line that other processes were told last.
    """

    __slots__ = ("_producer", "_queue", "announced", "appended", "handle", "pending")

    stream: SqliteStream

    def __init__(self, producer: Producer, stream: SqliteStream, handle: StreamHandle) -> None:
        super().__init__(stream, handle.epoch)
        self._producer = producer
        self._queue = producer.queue
        self.handle = handle
        self.pending: Append | None = None
        self.appended = len(stream.entries)
        self.announced = 0

    def append(self, entries: Sequence[bytes]) -> None:
        pending = self.pending
        if pending is None or self.announced:
            self._begin_append(entries)
            return
        count = len(entries)
        pending.entries += entries
        self.appended += count
        self._queue.backlog += count

    def _begin_append(self, entries: Sequence[bytes]) -> None:
        if self.error is not None:
            raise self.error
        if self.stream.ended:
            raise StreamEnded(self.stream.header.id)
        if self.announced:
            self.announce_place()  # in the same transaction: who has text is in no line
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
        self._producer.check()
        self.append(entries)
        try:
            await self._queue.finish(self)
        except EngineError as error:
            raise self.error or error from error  # the first one has the reason
        self._producer.end(self)

    async def fail(self, end: bytes) -> None:
        if self.stream.ended:
            return
        self.error = None
        self.appended = len(self.stream.entries)  # what was not committed is given up; the end follows what was
        self.pending = None
        try:
            await self.finish([end])
        except EngineError:
            await self._producer.settle(self, end)

    def break_off(self, error: EngineError) -> None:
        self.pending = None  # so that the next append looks at the error
        super().break_off(error)

    async def attended(self, within: float) -> bool:
        return self.stream.readers > 0 or await self._producer.seen(self.stream.header.id, within)

    def announce_place(self) -> None:
        """Tell other processes the answer's place in the line."""
        self.announced = self.stream.queued
        self._queue.add(SetFlag(SetFlag.PLACE, self.stream.header.id, self.announced))
