"""One transaction of the SQLite log: what is gathered for it, and the fence that it passes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tickertape.clock import now
from tickertape.errors import Fenced, LogUnavailable
from tickertape.sqlite_upkeep import shrink
from tickertape.streams.sqlite import checksums, journal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from tickertape.streams.contract import Header, Key


FRESH = 1.0
"""Seconds. A younger beat is not renewed with every stream that begins: that would be one page more to write."""


class Line:
    """The writer's view of one running stream: its row, its producer, and the next entry that may be committed.

    ``seal`` is the checksum of its header.
    """

    __slots__ = ("next", "no", "producer", "seal", "ticks")

    def __init__(self) -> None:
        self.no = 0
        self.producer = 0
        self.seal = 0
        self.next = 1
        self.ticks: list[int] = []


class Transaction:
    """What is gathered for one commit."""

    def __init__(self, connection: sqlite3.Connection, producer: int) -> None:
        self.connection = connection
        self.begun = False
        self._producer = producer
        self._tick: list[bytes] = []
        self._lines: dict[Line, int] = {}

    def insert(self, header: Header, line: Line) -> None:
        """Insert a stream's row. Who has a running stream needs a beat that is not old: one without had none."""
        self._begin()
        beat = "UPDATE producer SET beat = ?1 WHERE no = ?2 AND beat < ?1 - ?3"
        self.connection.execute(beat, (time.monotonic(), self._producer, FRESH))
        line.seal = checksums.header(header.id, header.owner, header.model, header.created)
        cursor = self.connection.execute(
            "INSERT INTO stream (id, owner, model, created, producer, crc) VALUES (?, ?, ?, ?, ?, ?)",
            (header.id, header.owner, header.model, header.created, self._producer, line.seal),
        )
        line.no, line.producer = cursor.lastrowid or 0, self._producer

    def beat(self) -> None:
        """Renew the lease. Raises Fenced if it was taken away."""
        cursor = self.connection.execute(
            "UPDATE producer SET beat = ? WHERE no = ?", (time.monotonic(), self._producer)
        )
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
        return journal.keyed(connection, header.owner, key)

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
        ended = now()
        crc = checksums.whole(line.seal, ended, body)
        self.connection.execute(
            "UPDATE stream SET ended = ?, body = ?, crc = ? WHERE no = ?", (ended, body, crc, line.no)
        )

    def drop(self, ticks: Iterable[int]) -> None:
        """Delete ticks that nobody needs any more."""
        rows = [(tick,) for tick in ticks]
        if rows:
            self.connection.executemany("DELETE FROM journal WHERE tick = ?", rows)

    def commit(self) -> int | None:
        """Write the tick and commit; return the tick's number, None if there was nothing to append."""
        tick = None
        if self._tick:
            # One statement, also a fence: a producer that was declared dead has no row and writes nothing.
            body = b"\n".join(self._tick)
            cursor = self.connection.execute(
                "INSERT INTO journal (producer, body, crc) SELECT no, ?2, ?3 FROM producer WHERE no = ?1",
                (self._producer, body, checksums.tick(self._producer, body)),
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
