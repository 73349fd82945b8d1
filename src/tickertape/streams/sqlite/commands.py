"""What the writer thread can be asked to do, and the transaction in which it does it.

Whatever was asked for since the last commit goes into one `Transaction`. It gathers the groups of all streams for one
batch, and writes it with the INSERT that is also the fence: ``INSERT … SELECT … FROM producer WHERE no = ?`` finds no
row for an epoch that was taken away. A transaction that holds nothing but a batch is that one statement, in autocommit
mode: one call into SQLite, one release of the GIL.

A command is performed by the thread (`Command.write`) and told of its outcome on the event loop (`Command.committed` or
`Command.failed`). One that raises EngineError in `write` is left out; the others of its transaction are committed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from tickertape.errors import EngineUnavailable, Fenced
from tickertape.sqlite.upkeep import PAGE, SLICE, shrink
from tickertape.streams.sqlite.file_format import (
    batch_checksum,
    encode_group,
    header_checksum,
    keyed,
    stream_checksum,
)
from tickertape.util.clock import now

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from tickertape.errors import EngineError
    from tickertape.streams.contract import Header, Key, Stream
    from tickertape.streams.sqlite.producer import SqliteWriter


FRESH = 1.0
"""Seconds. A younger heartbeat is not renewed with every stream that begins: that would be one page more to write."""


class StreamHandle:
    """The writer thread's view of one running stream: its row, its epoch, and the next entry that may be committed.

    ``checksum`` is that of its header, ``batches`` are those in which it has entries.
    """

    __slots__ = ("batches", "checksum", "epoch", "next", "no")

    def __init__(self) -> None:
        self.no = 0
        self.epoch = 0
        self.checksum = 0
        self.next = 1
        self.batches: list[int] = []


class Transaction:
    """What is gathered for one commit."""

    def __init__(self, connection: sqlite3.Connection, epoch: int) -> None:
        self.connection = connection
        self.begun = False
        self._epoch = epoch
        self._groups: list[bytes] = []
        self._handles: dict[StreamHandle, int] = {}

    def insert(self, header: Header, handle: StreamHandle) -> None:
        """Insert a stream's row. Who has a running stream needs a heartbeat that is not old: one without had none."""
        self._begin()
        beat = "UPDATE producer SET beat = ?1 WHERE no = ?2 AND beat < ?1 - ?3"
        self.connection.execute(beat, (time.monotonic(), self._epoch, FRESH))
        handle.checksum = header_checksum(header.id, header.owner, header.model, header.created)
        cursor = self.connection.execute(
            "INSERT INTO stream (id, owner, model, created, producer, crc) VALUES (?, ?, ?, ?, ?, ?)",
            (header.id, header.owner, header.model, header.created, self._epoch, handle.checksum),
        )
        handle.no, handle.epoch = cursor.lastrowid or 0, self._epoch

    def heartbeat(self) -> None:
        """Renew the lease. Raises Fenced if it was taken away."""
        cursor = self.connection.execute("UPDATE producer SET beat = ? WHERE no = ?", (time.monotonic(), self._epoch))
        if not cursor.rowcount:
            raise Fenced

    def old(self, before: float, most: int) -> list[str]:
        """Return the ids of streams that ended before, so many at most."""
        found = self.connection.execute("SELECT id FROM stream WHERE ended < ? LIMIT ?", (before, most))
        return [stream_id for (stream_id,) in found]

    def find(self, stream_id: str) -> tuple[bool, int] | None:
        """Return whether a stream has ended and how many bytes its body has, None if it is not there."""
        query = "SELECT ended IS NOT NULL, ifnull(length(body), 0) FROM stream WHERE id = ?"
        found = self.connection.execute(query, (stream_id,)).fetchone()
        return found and (bool(found[0]), found[1])

    def delete(self, stream_id: str) -> None:
        """Delete a stream and its keys."""
        self._begin()
        self.connection.execute("DELETE FROM stream WHERE id = ?", (stream_id,))
        self.connection.execute("DELETE FROM idempotency WHERE stream = ?", (stream_id,))

    def shrink(self) -> bool:
        """Make the file smaller by a few pages, if many are free; return whether it can be made smaller still."""
        self._begin()
        return shrink(self.connection)

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
        return keyed(connection, header.owner, key)

    def append(self, handle: StreamHandle, first: int, entries: list[bytes], *, ended: bool) -> None:
        """Add to the batch. Entries whose predecessors were not committed are refused: a stream has no gaps."""
        self._check(handle)
        if first != self._handles.get(handle, handle.next):
            raise EngineUnavailable("An earlier part of this answer could not be written to the stream log.")
        self._groups.append(encode_group(handle.no, first, entries, ended=ended))
        self._handles[handle] = first + len(entries)

    def compact(self, handle: StreamHandle, body: bytes) -> None:
        """Write a stream's body."""
        self._check(handle)
        self._begin()
        ended = now()
        crc = stream_checksum(handle.checksum, ended, body)
        self.connection.execute(
            "UPDATE stream SET ended = ?, body = ?, crc = ? WHERE no = ?", (ended, body, crc, handle.no)
        )

    def drop(self, batches: Iterable[int]) -> None:
        """Delete batches that nobody needs any more."""
        rows = [(batch,) for batch in batches]
        if rows:
            self.connection.executemany("DELETE FROM journal WHERE tick = ?", rows)

    def commit(self) -> int | None:
        """Write the batch and commit; return its number, None if there was nothing to append."""
        batch = None
        if self._groups:
            # One statement, also the fence: an epoch that was taken away has no row and writes nothing.
            body = b"\n".join(self._groups)
            cursor = self.connection.execute(
                "INSERT INTO journal (producer, body, crc) SELECT no, ?2, ?3 FROM producer WHERE no = ?1",
                (self._epoch, body, batch_checksum(self._epoch, body)),
            )
            if not cursor.rowcount:
                raise Fenced
            batch = cursor.lastrowid
        if self.begun:
            self.connection.execute("COMMIT")
        for handle, number in self._handles.items():
            handle.next = number
        return batch

    @property
    def handles(self) -> list[StreamHandle]:
        """The streams that have entries in this batch."""
        return list(self._handles)

    def _check(self, handle: StreamHandle) -> None:
        if handle.epoch != self._epoch:
            raise EngineUnavailable(str(Fenced()))  # its stream was ended by somebody else, the others go on

    def _begin(self) -> None:
        # A batch alone is one INSERT in autocommit mode: one call into SQLite, one release of the GIL.
        if not self.begun:
            self.begun = True
            self.connection.execute("BEGIN IMMEDIATE")


# --- commands


class Command(Protocol):
    """Something to be done in the next transaction: `write` in the thread, then one of the others on the loop."""

    def write(self, transaction: Transaction) -> None:
        """Perform it within the transaction, or raise EngineError to be left out of it."""

    def committed(self) -> None:
        """Run on the event loop once it is committed."""

    def failed(self, error: EngineError) -> None:
        """Run on the event loop when it was not committed."""


class Create:
    """Insert the stream's row and first entries, unless its key exists already."""

    def __init__(self, header: Header, entries: list[bytes], key: Key | None, done: asyncio.Future[str | None]) -> None:
        self.header, self.entries, self.key, self.done = header, entries, key, done
        self.handle = StreamHandle()
        self.existing: str | None = None

    def write(self, transaction: Transaction) -> None:
        """Insert; find the existing stream if the key is taken."""
        header = self.header
        if self.key is not None:
            self.existing = transaction.claim(header, self.key)
            if self.existing is not None:
                return
        transaction.insert(header, self.handle)
        transaction.append(self.handle, 1, self.entries, ended=False)

    def committed(self) -> None:
        """Give the waiting caller the stream that the key belongs to, or None for a new one."""
        if not self.done.done():
            self.done.set_result(self.existing)

    def failed(self, error: EngineError) -> None:
        """Raise in the waiting caller."""
        if not self.done.done():
            self.done.set_exception(error)


class Append:
    """Add entries to a stream's batch; the last of them ends it if ``done`` is given."""

    __slots__ = ("done", "entries", "first", "writer")

    def __init__(self, writer: SqliteWriter, first: int, entries: list[bytes]) -> None:
        self.writer, self.first, self.entries = writer, first, entries
        self.done: asyncio.Future[None] | None = None

    def write(self, transaction: Transaction) -> None:
        """Put the entries into the batch."""
        transaction.append(self.writer.handle, self.first, self.entries, ended=self.done is not None)

    def committed(self) -> None:
        """Show the entries to the readers."""
        self.writer.stream.extend(self.entries, ended=self.done is not None)
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: EngineError) -> None:
        """Tell the producer, now if it waits, else with its next append."""
        if self.done is None:
            self.writer.break_off(error)
        elif not self.done.done():
            self.done.set_exception(error)


class Compact:
    """Turn an ended stream's entries into its body."""

    __slots__ = ("again", "handle", "stream")

    def __init__(self, stream: Stream, handle: StreamHandle, again: Callable[[Compact], None]) -> None:
        self.stream, self.handle, self.again = stream, handle, again

    def write(self, transaction: Transaction) -> None:
        """Write the body; the batches that nobody needs any more go."""
        transaction.compact(self.handle, b"\n".join(self.stream.entries))

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: EngineError) -> None:
        """Leave it for another time; who opens the file next does it too."""
        self.again(self)


class DeferredEnd:
    """Write a terminal entry that live readers were shown already, when it could not be written."""

    __slots__ = ("again", "handle", "stream", "written")

    def __init__(
        self,
        stream: Stream,
        handle: StreamHandle,
        written: Callable[[StreamHandle], None],
        again: Callable[[DeferredEnd], None],
    ) -> None:
        self.stream, self.handle, self.written, self.again = stream, handle, written, again

    def write(self, transaction: Transaction) -> None:
        """Put it into the batch, after what was committed."""
        transaction.append(self.handle, len(self.stream.entries), self.stream.entries[-1:], ended=True)

    def committed(self) -> None:
        """Go on to compact the stream."""
        self.written(self.handle)

    def failed(self, error: EngineError) -> None:
        """Try another time. If none comes, whoever opens the file next ends the stream as lost."""
        self.again(self)


class SetFlag:
    """Set a column of the stream's row for other processes, which look at it: its producer, or who reads there."""

    STOP = "UPDATE stream SET stop = 1 WHERE id = ? AND ended IS NULL AND stop = 0"
    SEEN = "UPDATE stream SET seen = ?2 WHERE id = ?1 AND ended IS NULL"
    PLACE = "UPDATE stream SET place = ?2 WHERE id = ?1 AND ended IS NULL"

    def __init__(self, statement: str, *values: object) -> None:
        self.statement, self.values = statement, values

    def write(self, transaction: Transaction) -> None:
        """Set it."""
        transaction.connection.execute(self.statement, self.values)

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: EngineError) -> None:
        """Do nothing: it will be told again."""


class Delete:
    """Delete streams that have ended, with their keys, as many as one transaction may; ``done`` gets the ids of those.

    ``left`` are those of the others that are there: they run, or are yet to be compacted. ``rest`` are those that it
    did not come to, ``size`` is how many bytes were deleted.
    """

    def __init__(self, streams: Sequence[str], done: asyncio.Future[list[str]]) -> None:
        self.streams, self.done = streams, done
        self.rest: Sequence[str] = ()
        self.gone: list[str] = []
        self.left: list[str] = []
        self.size = 0

    def write(self, transaction: Transaction) -> None:
        """Delete."""
        self._delete(transaction, self.streams)

    def _delete(self, transaction: Transaction, streams: Sequence[str]) -> None:
        self.gone, self.left, self.rest, self.size = [], [], (), 0
        for place, stream_id in enumerate(streams):
            if self.size >= SLICE:
                self.rest = streams[place:]
                return
            self.size += PAGE
            match transaction.find(stream_id):
                case True, size:
                    transaction.delete(stream_id)
                    self.gone.append(stream_id)
                    self.size += size
                case False, _:
                    self.left.append(stream_id)

    def committed(self) -> None:
        """Give the ids to who waits."""
        if not self.done.done():
            self.done.set_result(self.gone)

    def failed(self, error: EngineError) -> None:
        """Raise in who waits."""
        if not self.done.done():
            self.done.set_exception(error)


class Expire(Delete):
    """Delete what ended before a time, as much as one transaction may."""

    def __init__(self, before: float, done: asyncio.Future[list[str]]) -> None:
        super().__init__((), done)
        self.before = before

    def write(self, transaction: Transaction) -> None:
        """Find and delete them."""
        self._delete(transaction, transaction.old(self.before, SLICE // PAGE))


class Shrink:
    """Give some pages that nothing uses back to the file system; ``done`` gets whether there are more."""

    def __init__(self, done: asyncio.Future[bool]) -> None:
        self.done = done
        self.more = False

    def write(self, transaction: Transaction) -> None:
        """Give them back. It goes the way of the tokens, so that it never keeps them from the file."""
        self.more = transaction.shrink()

    def committed(self) -> None:
        """Tell who waits."""
        if not self.done.done():
            self.done.set_result(self.more)

    def failed(self, error: EngineError) -> None:
        """Raise in who waits."""
        if not self.done.done():
            self.done.set_exception(error)


class Heartbeat:
    """Renew the lease of this process. It goes the way of the tokens, so that it proves the whole way."""

    def write(self, transaction: Transaction) -> None:
        """Write it."""
        transaction.heartbeat()

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: EngineError) -> None:
        """Do nothing: the next one comes."""


class Probe(Heartbeat):
    """Find out whether anything can be written; ``done`` is done once it was."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done

    def committed(self) -> None:
        """Tell who waits."""
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: EngineError) -> None:
        """Raise in who waits."""
        if not self.done.done():
            self.done.set_exception(error)
