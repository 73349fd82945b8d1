"""Following the streams of other processes: what they have committed to the SQLite log, for those who read it here.

One *look* is for all streams, whatever their number: a query for the ticks since the last look, a query for which of
the followed streams still run, and one pass over the journal for all streams that are new here, from its end back to
where the oldest of them begins. A stream that has been folded since is read from its row: its ticks may be gone. All of
that is one snapshot.

There is one look at a time, in a thread and on a connection that nothing else uses, so that neither the event loop nor
what else is read from the file waits for it. Its outcome is applied on the loop, in one go, before the next one begins.
So every followed stream holds exactly what was committed up to the tick ``_last``: ticks have ascending numbers in the
order of their commits, and no number is used twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from tickertape.streams.sqlite import journal
from tickertape.streams.sqlite.checksums import header as checksum
from tickertape.streams.sqlite.checksums import stream_is_intact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from tickertape.streams.sqlite.stream import SqliteStream

logger = logging.getLogger("tickertape")

PIECE = 256
"""Ticks that are taken at once on the way back through the journal: some 100 kB of a busy server's."""

FEW = 16
"""Streams. For so few, looking for their marks in a tick is quicker than going through its groups."""


class Whole(NamedTuple):
    """All that can be read of an unfolded stream. ``torn`` says that there is more, after a damaged part."""

    entries: list[bytes]
    ended: bool
    torn: bool


class Found(NamedTuple):
    """What the file holds of a stream beyond what its stream has.

    ``missing`` says that the stream is not there any more, ``damaged`` that it is and cannot be read.
    """

    entries: list[bytes]
    ended: bool = False
    place: int = 0
    missing: bool = False
    damaged: bool = False


class News(NamedTuple):
    """The outcome of a look: of which state of the file it is, and what is new in it."""

    version: int
    last: int
    streams: list[tuple[SqliteStream, Found]]
    stops: list[str]


class Follower:
    """Brings streams up to date with the file; ``following`` are those that stay so with every look.

    ``producer`` returns the number under which this process writes, and ``stop`` is called with the id of each of its
    streams that another process wants to be stopped. ``ends`` are the terminal entries for lost and for damaged ones: a
    followed one that was forgotten, or cannot be read, has an end too, if nobody knows which.
    """

    def __init__(
        self, path: Path, ends: tuple[bytes, bytes], producer: Callable[[], int], stop: Callable[[str], object]
    ) -> None:
        self._path = path
        self._lost, self._damaged = ends
        self._producer = producer
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
        """Open the file; for another thread than the loop's. Raises LogUnavailable with the reason."""
        self._connection = journal.connect(self._path)

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

        It is followed from then on, as long as somebody holds it. Raises LogUnavailable.
        """
        if stream not in self.following:
            self._fresh.add(stream)
        await self.look()
        return stream.ended or stream.produced_here or stream in self.following

    async def look(self) -> None:
        """Return after a look that began after this was called; who asks at the same time shares it.

        Raises LogUnavailable.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._look_after(self._current))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def _look_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._current, self._next = self._next, None
        followed, producer = tuple(self.following), self._producer()
        # Somebody may have asked for one of these while the look before was reading it.
        fresh = {
            stream
            for stream in self._fresh
            if not stream.ended and not stream.produced_here and stream not in self.following
        }
        self._fresh.clear()
        loop = asyncio.get_running_loop()
        news = await loop.run_in_executor(self._thread, lambda: self._read(producer, followed, tuple(fresh)))
        if news is None:
            return
        for stream, found in news.streams:
            self._apply(stream, found, fresh=stream in fresh)
        for stream_id in news.stops:
            self._stop(stream_id)
        self._version, self._last = news.version, news.last

    def _apply(self, stream: SqliteStream, found: Found, *, fresh: bool) -> None:
        if stream.produced_here:
            return  # it is produced here: the writer tells of what it has committed
        if found.missing or found.damaged:
            if fresh:
                return  # it was there a moment ago; who asks again is told
            found = Found([self._damaged if found.damaged else self._lost], ended=True)
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

    def _read(self, producer: int, followed: Collection[SqliteStream], fresh: Collection[SqliteStream]) -> News | None:
        """Return what is new, None if nobody else has written since the last look and no stream is fresh."""
        try:
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if version == self._version and not fresh:
                return None
            with journal.snapshot(self._connection):
                (newest,) = self._connection.execute("SELECT max(tick) FROM journal").fetchone()
                streams = self._streams(producer, followed, fresh) if followed or fresh else []
                query = "SELECT id FROM stream WHERE producer = ? AND ended IS NULL AND stop = 1"
                stops = [stream_id for (stream_id,) in self._connection.execute(query, (producer,))]
            return News(version, max(self._last, newest or 0), streams, stops)
        except sqlite3.Error as error:
            raise journal.explain(error, self._path) from error

    def _streams(
        self, producer: int, followed: Collection[SqliteStream], fresh: Collection[SqliteStream]
    ) -> list[tuple[SqliteStream, Found]]:
        """Return what is new of the followed streams, and all that there is of the fresh ones."""
        numbers = json.dumps([stream.no for stream in (*followed, *fresh)])
        query = "SELECT no, place FROM stream WHERE ended IS NULL AND no IN (SELECT value FROM json_each(?))"
        places: dict[int, int] = dict(self._connection.execute(query, (numbers,)))
        since = journal.Gathered({stream.mark: len(stream.entries) + 1 for stream in followed if stream.no in places})
        if since.first:
            query = "SELECT producer, body, crc FROM journal WHERE tick > ? AND producer != ? ORDER BY tick"
            since.add(self._connection.execute(query, (self._last, producer)))
        found = {name: Whole(more, name in since.ended, name in since.torn) for name, more in since.entries.items()}
        found |= whole(self._connection, [stream.mark for stream in fresh if stream.no in places])
        streams = [(stream, self._folded(stream)) for stream in (*followed, *fresh) if stream.no not in places]
        for stream in (*followed, *fresh):
            if stream.no in places:
                entries, ended, torn = found[stream.mark]
                place = 0 if ended else places[stream.no]
                if torn:
                    self._tell_torn(stream)
                if entries or place != stream.queued or stream in fresh:
                    streams.append((stream, Found(entries, ended, place)))
        return streams

    def _folded(self, stream: SqliteStream) -> Found:
        """Return what a stream that runs no longer has beyond its stream."""
        query = "SELECT id, owner, model, created, ended, body, crc FROM stream WHERE no = ?"
        row = self._connection.execute(query, (stream.no,)).fetchone()
        if row is None:
            return Found([], missing=True)
        stream_id, owner, model, created, ended, body, crc = row
        if body is None or not stream_is_intact(checksum(stream_id, owner, model, created), ended, body, crc):
            return Found([], damaged=True)
        return Found(body.split(b"\n")[len(stream.entries) :], ended=True)

    def _tell_torn(self, stream: SqliteStream) -> None:
        """Tell the operator, once, that the rest of a stream can only be read once its producer has folded it."""
        if stream.no not in self._torn:
            self._torn.add(stream.no)
            logger.error("A part of the stream log %s is damaged; an answer stands still until its end", self._path)


def whole(connection: sqlite3.Connection, streams: Iterable[bytes]) -> dict[bytes, Whole]:
    """Return all of some unfolded streams, in one pass over the journal: back from its end to where they begin."""
    parts: dict[bytes, list[journal.Gathered]] = {stream: [] for stream in streams}
    missing = set(parts)  # those whose first entry was not met yet
    ticks = connection.execute("SELECT producer, body, crc FROM journal ORDER BY tick DESC")
    while missing and (piece := ticks.fetchmany(PIECE)):
        if len(missing) <= FEW:
            piece = [tick for tick in piece if any(stream in tick[1] for stream in missing)]
        gathered = journal.Gathered(dict.fromkeys(missing))
        gathered.add(reversed(piece))
        for stream, first in gathered.first.items():
            if first is not None:
                parts[stream].append(gathered)
        missing -= {stream for stream, first in gathered.first.items() if first == 1}
    return {stream: _joined(stream, reversed(parts[stream])) for stream in parts}


def _joined(stream: bytes, parts: Iterable[journal.Gathered]) -> Whole:
    """Put together what was found of a stream, as far as one part follows on the other."""
    entries: list[bytes] = []
    for part in parts:
        if part.first[stream] != len(entries) + 1:
            return Whole(entries, ended=False, torn=True)
        entries += part.entries[stream]
        if stream in part.torn:
            return Whole(entries, ended=False, torn=True)
        if stream in part.ended:
            return Whole(entries, ended=True, torn=False)
    return Whole(entries, ended=False, torn=False)


def _retrieve(look: asyncio.Task[None]) -> None:
    """Whoever asked may have left: then its error is nobody's."""
    if not look.cancelled():
        look.exception()
