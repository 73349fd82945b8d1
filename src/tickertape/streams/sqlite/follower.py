"""Reading what is in the file: streams of other processes as they grow, and those that have ended, once for all.

One *look* is for all streams, whatever their number: a query for the batches since the last look, a query for which of
the followed streams still run, and one pass over the journal for all streams that are new here, from its end back to
where the oldest of them begins. A stream that has been compacted since is read from its row: its batches may be gone.
All of that is one snapshot.

There is one look at a time, in a thread and on a connection that nothing else uses, so that neither the event loop nor
what else is read from the file waits for it. Its outcome is applied on the loop, in one go, before the next one begins.
So every followed stream holds exactly what was committed up to the batch ``_last``: batches have ascending numbers in
the order of their commits, and no number is used twice.

`SingleFlight` is for rows: after a start, all readers of a stream come back in the same moment. Each reading it for
itself, a thousand readers of a long answer would read it a thousand times, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from tickertape.errors import EngineError
from tickertape.streams.contract import Stream
from tickertape.streams.sqlite.file_format import (
    BatchReader,
    explain,
    header_checksum,
    snapshot,
    stream_is_intact,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable
    from pathlib import Path

    from tickertape.streams.sqlite.file_format import Connect
    from tickertape.streams.sqlite.producer import SqliteStream

Loaded = TypeVar("Loaded", bound=Stream)

logger = logging.getLogger("tickertape")

PIECE = 256
"""Batches that are taken at once on the way back through the journal: some 100 kB of a busy server's."""

FEW = 16
"""Streams. For so few, looking for their prefixes in a batch is quicker than going through its groups."""


class RunningStream(NamedTuple):
    """All that can be read of a running stream. ``torn`` says that there is more, after a damaged part."""

    entries: list[bytes]
    ended: bool
    torn: bool


class Update(NamedTuple):
    """What the file holds of a stream beyond what its stream has.

    ``missing`` says that the stream is not there any more, ``damaged`` that it is and cannot be read.
    """

    entries: list[bytes]
    ended: bool = False
    place: int = 0
    missing: bool = False
    damaged: bool = False


class Changes(NamedTuple):
    """The outcome of a look: of which state of the file it is, and what is new in it."""

    version: int
    last: int
    streams: list[tuple[SqliteStream, Update]]
    stops: list[str]


class Follower:
    """Brings streams up to date with the file; ``following`` are those that stay so with every look.

    ``epoch`` returns that of this process, and ``stop`` is called with the id of each of its
    streams that another process wants to be stopped. ``ends`` are the terminal entries for lost and for damaged ones: a
    followed one that was deleted, or cannot be read, has an end too, if nobody knows which.
    """

    def __init__(
        self,
        path: Path,
        connect: Connect,
        ends: tuple[bytes, bytes],
        epoch: Callable[[], int],
        stop: Callable[[str], object],
    ) -> None:
        self._path = path
        self._connect = connect
        self._lost, self._damaged = ends
        self._epoch = epoch
        self._stop = stop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tickertape-follow")
        self._connection: sqlite3.Connection
        self.following: weakref.WeakSet[SqliteStream] = weakref.WeakSet()
        self._fresh: set[SqliteStream] = set()  # to be followed from the next look on
        self._version = -1
        self._last = 0
        self._torn: set[int] = set()  # streams whose damage the operator was told of
        self._current: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Open the file; for another thread than the loop's. Raises EngineUnavailable with the reason."""
        self._connection = self._connect(self._path, "follower")

    async def close(self) -> None:
        """Look no more, and close the file."""
        looks = [task for task in (self._current, self._next) if task is not None]
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connection.close)
        self.abandon()

    def abandon(self) -> None:
        """End the thread; nothing was opened."""
        self._thread.shutdown()

    async def catch_up(self, stream: SqliteStream) -> bool:
        """Return once the stream holds all that was committed when this was called, or False if the stream is gone.

        It is followed from then on, as long as somebody holds it. Raises EngineUnavailable.
        """
        if stream not in self.following:
            self._fresh.add(stream)
        await self.look()
        return stream.ended or stream.produced_here or stream in self.following

    async def look(self) -> None:
        """Return after a look that began after this was called; who asks at the same time shares it.

        Raises EngineUnavailable.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._look_after(self._current))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _look_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._current, self._next = self._next, None
        followed, epoch = tuple(self.following), self._epoch()
        # Somebody may have asked for one of these while the look before was reading it.
        fresh = {
            stream
            for stream in self._fresh
            if not stream.ended and not stream.produced_here and stream not in self.following
        }
        self._fresh.clear()
        loop = asyncio.get_running_loop()
        changes = await loop.run_in_executor(self._thread, lambda: self._read(epoch, followed, tuple(fresh)))
        if changes is None:
            return
        for stream, found in changes.streams:
            self._apply(stream, found, fresh=stream in fresh)
        for stream_id in changes.stops:
            self._stop(stream_id)
        self._version, self._last = changes.version, changes.last

    def _apply(self, stream: SqliteStream, found: Update, *, fresh: bool) -> None:
        if stream.produced_here:
            return  # it is produced here: the writer tells of what it has committed
        if found.missing or found.damaged:
            if fresh:
                return  # it was there a moment ago; who asks again is told
            found = Update([self._damaged if found.damaged else self._lost], ended=True)
        moved = stream.queued != found.place
        stream.queued = found.place
        if found.ended:
            self.following.discard(stream)
        else:
            self.following.add(stream)
        if found.entries or found.ended:
            stream.extend(found.entries, ended=found.ended)
        elif moved:
            stream.wake()

    # --- in the thread

    def _read(self, epoch: int, followed: Collection[SqliteStream], fresh: Collection[SqliteStream]) -> Changes | None:
        """Return what is new, None if nobody else has written since the last look and no stream is fresh."""
        try:
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if version == self._version and not fresh:
                return None
            with snapshot(self._connection):
                (newest,) = self._connection.execute("SELECT max(tick) FROM journal").fetchone()
                streams = self._streams(epoch, followed, fresh) if followed or fresh else []
                query = "SELECT id FROM stream WHERE producer = ? AND ended IS NULL AND stop = 1"
                stops = [stream_id for (stream_id,) in self._connection.execute(query, (epoch,))]
            return Changes(version, max(self._last, newest or 0), streams, stops)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    def _streams(
        self, epoch: int, followed: Collection[SqliteStream], fresh: Collection[SqliteStream]
    ) -> list[tuple[SqliteStream, Update]]:
        """Return what is new of the followed streams, and all that there is of the fresh ones."""
        numbers = json.dumps([stream.no for stream in (*followed, *fresh)])
        query = "SELECT no, place FROM stream WHERE ended IS NULL AND no IN (SELECT value FROM json_each(?))"
        places: dict[int, int] = dict(self._connection.execute(query, (numbers,)))
        since = BatchReader({stream.prefix: len(stream.entries) + 1 for stream in followed if stream.no in places})
        if since.first:
            query = "SELECT producer, body, crc FROM journal WHERE tick > ? AND producer != ? ORDER BY tick"
            since.add(self._connection.execute(query, (self._last, epoch)))
        found = {
            name: RunningStream(more, name in since.ended, name in since.torn) for name, more in since.entries.items()
        }
        found |= read_running(self._connection, [stream.prefix for stream in fresh if stream.no in places])
        streams = [(stream, self._ended(stream)) for stream in (*followed, *fresh) if stream.no not in places]
        for stream in (*followed, *fresh):
            if stream.no in places:
                entries, ended, torn = found[stream.prefix]
                place = 0 if ended else places[stream.no]
                if torn:
                    self._report_torn(stream)
                if entries or place != stream.queued or stream in fresh:
                    streams.append((stream, Update(entries, ended, place)))
        return streams

    def _ended(self, stream: SqliteStream) -> Update:
        """Return what a stream that runs no longer has beyond its stream."""
        query = "SELECT id, owner, model, created, ended, body, crc FROM stream WHERE no = ?"
        row = self._connection.execute(query, (stream.no,)).fetchone()
        if row is None:
            return Update([], missing=True)
        stream_id, owner, model, created, ended, body, crc = row
        if body is None or not stream_is_intact(header_checksum(stream_id, owner, model, created), ended, body, crc):
            return Update([], damaged=True)
        return Update(body.split(b"\n")[len(stream.entries) :], ended=True)

    def _report_torn(self, stream: SqliteStream) -> None:
        """Tell the operator, once, that the rest of a stream can only be read once its producer has compacted it."""
        if stream.no not in self._torn:
            self._torn.add(stream.no)
            logger.error("A part of the stream log %s is damaged; an answer stands still until its end", self._path)


def read_running(connection: sqlite3.Connection, streams: Iterable[bytes]) -> dict[bytes, RunningStream]:
    """Return all of some running streams, in one pass over the journal: back from its end to where they begin."""
    parts: dict[bytes, list[BatchReader]] = {stream: [] for stream in streams}
    missing = set(parts)  # those whose first entry was not met yet
    batches = connection.execute("SELECT producer, body, crc FROM journal ORDER BY tick DESC")
    while missing and (piece := batches.fetchmany(PIECE)):
        if len(missing) <= FEW:
            piece = [batch for batch in piece if any(stream in batch[1] for stream in missing)]
        gathered = BatchReader(dict.fromkeys(missing))
        gathered.add(reversed(piece))
        for stream, first in gathered.first.items():
            if first is not None:
                parts[stream].append(gathered)
        missing -= {stream for stream, first in gathered.first.items() if first == 1}
    return {stream: _joined(stream, reversed(parts[stream])) for stream in parts}


def _joined(stream: bytes, parts: Iterable[BatchReader]) -> RunningStream:
    """Put together what was found of a stream, as far as one part follows on the other."""
    entries: list[bytes] = []
    for part in parts:
        if part.first[stream] != len(entries) + 1:
            return RunningStream(entries, ended=False, torn=True)
        entries += part.entries[stream]
        if stream in part.torn:
            return RunningStream(entries, ended=False, torn=True)
        if stream in part.ended:
            return RunningStream(entries, ended=True, torn=False)
    return RunningStream(entries, ended=False, torn=False)


def _retrieve(look: asyncio.Task[None]) -> None:
    """Whoever asked may have left: then its error is nobody's."""
    if not look.cancelled():
        look.exception()


class SingleFlight(Generic[Loaded]):
    """Calls ``load`` with a stream's id, and shares what it returns or raises."""

    def __init__(self, load: Callable[[str], Coroutine[object, object, Loaded]]) -> None:
        self._load = load
        self._running: dict[str, asyncio.Task[Loaded]] = {}

    async def read(self, stream_id: str) -> Loaded:
        """Return the stream as it is at this moment, or later."""
        reading = self._running.get(stream_id)
        if reading is not None:
            with contextlib.suppress(EngineError):
                found = await asyncio.shield(reading)
                if found.ended:
                    return found
            reading = self._running.get(stream_id)  # the one before may have begun before we were asked
        if reading is None:
            reading = self._running[stream_id] = asyncio.create_task(self._load(stream_id))
            reading.add_done_callback(lambda done: self._done(stream_id, done))
        return await asyncio.shield(reading)

    def _done(self, stream_id: str, reading: asyncio.Task[Loaded]) -> None:
        del self._running[stream_id]
        if not reading.cancelled():
            reading.exception()  # whoever asked may have left: then it is nobody's
