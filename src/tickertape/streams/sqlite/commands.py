"""What the writer of the SQLite log can be asked to do, each within the next transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tickertape.sqlite_upkeep import PAGE, SLICE
from tickertape.streams.sqlite.transaction import Line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from tickertape.errors import LogError
    from tickertape.streams.contract import Header, Key, Stream
    from tickertape.streams.sqlite.production import SqliteWriter
    from tickertape.streams.sqlite.transaction import Transaction


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

    __slots__ = ("done", "entries", "first", "writer")

    def __init__(self, writer: SqliteWriter, first: int, entries: list[bytes]) -> None:
        self.writer, self.first, self.entries = writer, first, entries
        self.done: asyncio.Future[None] | None = None

    def write(self, transaction: Transaction) -> None:
        """Put the entries into the tick."""
        transaction.append(self.writer.line, self.first, self.entries, ended=self.done is not None)

    def committed(self) -> None:
        """Show the entries to the readers."""
        self.writer.stream.extend(self.entries, ended=self.done is not None)
        if self.done is not None and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: LogError) -> None:
        """Tell the producer, now if it waits, else with its next append."""
        if self.done is None:
            self.writer.break_off(error)
        elif not self.done.done():
            self.done.set_exception(error)


class Fold:
    """Turn an ended stream's ticks into its body."""

    __slots__ = ("again", "line", "stream")

    def __init__(self, stream: Stream, line: Line, again: Callable[[Fold], None]) -> None:
        self.stream, self.line, self.again = stream, line, again

    def write(self, transaction: Transaction) -> None:
        """Write the body; drop the ticks that nobody needs any more."""
        transaction.fold(self.line, b"\n".join(self.stream.entries))

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: LogError) -> None:
        """Leave the ticks for another time; opening the file again folds them too."""
        self.again(self)


class Late:
    """Write a terminal entry that live readers were shown already, when it could not be written."""

    __slots__ = ("again", "line", "stream", "written")

    def __init__(
        self, stream: Stream, line: Line, written: Callable[[Line], None], again: Callable[[Late], None]
    ) -> None:
        self.stream, self.line, self.written, self.again = stream, line, written, again

    def write(self, transaction: Transaction) -> None:
        """Put it into the tick, after what was committed."""
        transaction.append(self.line, len(self.stream.entries), self.stream.entries[-1:], ended=True)

    def committed(self) -> None:
        """Go on to fold the stream."""
        self.written(self.line)

    def failed(self, error: LogError) -> None:
        """Try another time. If none comes, whoever opens the file next ends the stream as lost."""
        self.again(self)


class Tell:
    """Tell other processes something in the stream's row, which they look at: its producer, or who reads there."""

    STOP = "UPDATE stream SET stop = 1 WHERE id = ? AND ended IS NULL AND stop = 0"
    SEEN = "UPDATE stream SET seen = ?2 WHERE id = ?1 AND ended IS NULL"
    PLACE = "UPDATE stream SET place = ?2 WHERE id = ?1 AND ended IS NULL"

    def __init__(self, statement: str, *values: object) -> None:
        self.statement, self.values = statement, values

    def write(self, transaction: Transaction) -> None:
        """Mark the row."""
        transaction.connection.execute(self.statement, self.values)

    def committed(self) -> None:
        """Nothing waits for it."""

    def failed(self, error: LogError) -> None:
        """Do nothing: it will be told again."""


class Delete:
    """Delete streams that have ended, with their keys, as many as one transaction may; ``done`` gets the ids of those.

    ``left`` are those of the others that are there: they run, or are yet to be folded. ``rest`` are those that it did
    not come to, ``size`` is how many bytes were deleted.
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

    def failed(self, error: LogError) -> None:
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


class Probe(Beat):
    """Find out whether anything can be written; ``done`` is done once it was."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done

    def committed(self) -> None:
        """Tell who waits."""
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: LogError) -> None:
        """Raise in who waits."""
        if not self.done.done():
            self.done.set_exception(error)
