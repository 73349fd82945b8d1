"""The file of the SQLite log: what its tables hold, and what a crash leaves. `schema` makes and migrates them.

Tables::

    stream       one row a stream. `body` is NULL while the answer runs; at the end it holds all entries, a line each
    journal      one row a *tick*, that is a transaction of one producer, in order of arrival:
                     #17 204 2        the next two lines are entries of stream 17, from number 204 on
                     t"Hel"
                     t"lo"
                     #18 9 1 end      the last line of this group is the terminal entry of stream 18
                     .{"state":"completed"}
                 with a checksum each, see `checksums`
    producer     one row a process that writes; a lock on its lock file proves that it exists, its beat that it runs
    idempotency  which stream an owner's Idempotency-Key made

Appending is one INSERT at the end of one table, whatever the number of streams. A table keyed by (stream, number)
would touch one page a token and costs ten times the CPU and sixty times the bytes. When a stream ends it is *folded*:
its entries become `stream.body`, and every tick of which all streams are folded is deleted.

A crash leaves ticks of unfolded streams. All ticks are whole, for a tick is a transaction. Whoever opens the file
next, or a neighbour that notices, takes the dead producer's streams: what was committed is kept, a stream without
its terminal entry gets the one for *lost*, and all are folded (`reap`). With ``synchronous=NORMAL`` a killed process
loses nothing that was committed; a power cut may lose the last ticks, never their order.

Damage is told, never read as text: a tick with a wrong checksum is passed over, and a stream ends where the number of
its next entry is not the one that follows. While its producer lives, that is mended with the fold; else the stream
ends there, with the terminal entry for *damaged*. A folded stream with a wrong checksum is not read at all.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tickertape.clock import now
from tickertape.errors import LogUnavailable, StreamDamaged
from tickertape.sqlite_file import LOST_COMMITS, lost_commits, share, wal_commits, why
from tickertape.streams.sqlite import schema
from tickertape.streams.sqlite.checksums import UNKNOWN, header, stream_is_intact, tick_is_intact, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tickertape.streams.contract import Key

logger = logging.getLogger("tickertape")

TIMEOUT = 10
"""Seconds that one process waits for another one's transaction."""


def explain(error: sqlite3.Error, path: Path) -> LogUnavailable:
    """Return the one sentence that says what is wrong with the file and what to do."""
    reason = why(error)
    return LogUnavailable(
        f"The stream log {path} cannot be used: {reason}.", shown=f"The server's stream log cannot be used: {reason}."
    )


def gone(path: Path) -> LogUnavailable:
    """Return the sentence that says that the file is not there any more, though it can be written."""
    return LogUnavailable(
        f"The stream log {path} was deleted or replaced while the server runs: what is written now is on no disk. "
        "Restart the server.",
        shown="The server's stream log was deleted or replaced while it runs; nothing is kept until it is restarted.",
    )


def check(path: Path) -> None:
    """See that a log can be opened at ``path``, its folder made if need be. Raises LogUnavailable with the reason."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.with_name(f"{path.name}-check").touch()
        path.with_name(f"{path.name}-check").unlink(missing_ok=True)  # another process may be checking too
        if not path.exists():
            path.touch(mode=0o600)  # answers are for their owners only; SQLite's other files get the same mode
    except OSError as error:
        raise LogUnavailable(
            f"The folder {path.parent} cannot be used for the stream log: {error.strerror or error}. "
            "Choose another --data folder."
        ) from error
    connect(path).close()


def connect(path: Path, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
    """Open the file, in autocommit mode; make or migrate its tables. Raises LogUnavailable with the reason."""
    connection: sqlite3.Connection | None = None
    commits = wal_commits(path)
    try:
        connection = sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
        # Damage may have made of a text what is none: its checksum says so, not an error in the middle of a query.
        connection.text_factory = _text
        if not schema.identify(connection, path):  # before anything is changed
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # can be set as long as there are no tables
        share(connection, TIMEOUT)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is not left in the file
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB: a checkpoint's fsync is rare
        lost = lost_commits(connection, commits)
        connection.execute("BEGIN IMMEDIATE")
        schema.prepare(connection, path)
        connection.execute("COMMIT")
    except (sqlite3.Error, LogUnavailable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise explain(error, path) from error
        raise
    if lost:
        logger.warning(LOST_COMMITS, path, lost)
    return connection


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def join(connection: sqlite3.Connection, name: str, settings: str = "") -> int:
    """Register a process as a producer, with the settings that others must share; return its number."""
    values = (name, time.monotonic(), settings)
    cursor = connection.execute("INSERT INTO producer (name, beat, settings) VALUES (?, ?, ?)", values)
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
    return cursor.lastrowid


def group(no: int, first: int, entries: Sequence[bytes], *, ended: bool) -> bytes:
    """Return one stream's part of a tick. The lines are counted, so that an entry may look like anything."""
    return b"\n".join((b"#%d %d %d%b" % (no, first, len(entries), b" end" if ended else b""), *entries))


class Gathered:
    """What was read from ticks: the entries of some streams, named by their `mark`.

    ``first`` is the number that each stream's first entry here must have; None for that of the first group that is
    found. ``ended`` are the streams whose terminal entry was there, ``torn`` those of which something before was not.
    ``damaged`` counts the ticks that could not be read.
    """

    def __init__(self, first: Mapping[bytes, int | None]) -> None:
        self.first = dict(first)
        self.entries: dict[bytes, list[bytes]] = {stream: [] for stream in first}
        self.ended: set[bytes] = set()
        self.torn: set[bytes] = set()
        self.damaged = 0

    def add(self, ticks: Iterable[tuple[int, bytes, int]]) -> None:
        """Read ticks, given as producer, body and checksum in order of arrival.

        After a death this goes through a million of groups, most of them of one entry: it takes 0.5 µs each, and twice
        that when it is written as a generator of groups.
        """
        for producer, body, crc in ticks:
            if not tick_is_intact(producer, body, crc):
                self.damaged += 1
                continue
            try:
                self._read(body.split(b"\n"))
            except (ValueError, IndexError):  # only one without a checksum gets here
                self.damaged += 1

    def _read(self, lines: list[bytes]) -> None:
        found, firsts, at, size = self.entries, self.first, 0, len(lines)
        while at < size:
            head = lines[at].split(b" ")
            after = at + 2 if head[2] == b"1" else at + 1 + int(head[2])
            if after > size:
                raise ValueError
            entries = found.get(head[0])
            if entries is not None:
                number = int(head[1])
                if firsts[head[0]] is None:
                    firsts[head[0]] = number
                if number != (firsts[head[0]] or 0) + len(entries):
                    self.torn.add(head[0])
                elif after == at + 2:
                    entries.append(lines[at + 1])
                else:
                    entries += lines[at + 1 : after]
                if len(head) > 3 and head[0] not in self.torn:
                    self.ended.add(head[0])
            at = after


def mark(no: int) -> bytes:
    """Return how a stream's groups begin."""
    return b"#%d" % no


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Read as of one moment: between two statements, a neighbour could fold a stream and delete its ticks."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        roll_back(connection)


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction with nothing changed. A full disk may have ended it already: that error is the one to tell."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def keyed(connection: sqlite3.Connection, owner: str, key: Key) -> str | None:
    """Return the id of the stream that this owner's key made, if there is one. Raises KeyReused."""
    query = "SELECT digest, stream FROM idempotency WHERE owner = ? AND key = ?"
    row = connection.execute(query, (owner, key.value)).fetchone()
    if row is None:
        return None
    key.check(row[0])
    return str(row[1])


def reap(connection: sqlite3.Connection, producer: int, lost: bytes, damaged: bytes | None = None) -> int:
    """Fold all streams of a dead producer, the unfinished ones ended with ``lost``; return how many those were.

    Those of which a part cannot be read end where that begins, with ``damaged`` if it is given.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        query = "SELECT no, id, owner, model, created, crc FROM stream WHERE producer = ? AND ended IS NULL"
        rows = {mark(no): (no, *columns) for no, *columns in connection.execute(query, (producer,))}
        gathered = Gathered(dict.fromkeys(rows, 1))
        query = "SELECT producer, body, crc FROM journal WHERE producer = ? ORDER BY tick"
        gathered.add(connection.execute(query, (producer,)))
        unfinished = rows.keys() - gathered.ended
        # Nobody knows whose entries were in a tick that cannot be read: perhaps the last ones of any of them.
        torn = unfinished if gathered.damaged else gathered.torn
        for name in unfinished:
            gathered.entries[name].append((damaged or lost) if name in torn else lost)
        ended = now()
        connection.executemany(
            "UPDATE stream SET ended = ?, body = ?, crc = ? WHERE no = ?",
            (_folded(rows[name], ended, b"\n".join(entries)) for name, entries in gathered.entries.items()),
        )
        # With what a damaged number keeps from being anybody's: nobody else could delete it.
        connection.execute("DELETE FROM producer WHERE no = ?", (producer,))
        connection.execute("DELETE FROM journal WHERE producer NOT IN (SELECT no FROM producer)")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    if torn:
        names = ", ".join(str(rows[name][1]) for name in sorted(torn))
        logger.error("A part of the stream log is damaged; these answers were cut off where it begins: %s", names)
    return len(unfinished)


def _folded(row: tuple[Any, ...], ended: float, body: bytes) -> tuple[float, bytes, int, int]:
    """Return what is written to a stream's row at its end. A header that is damaged stays so."""
    no, stream_id, owner, model, created, crc = row
    seal = header(stream_id, owner, model, created)
    return ended, body, whole(seal, ended, body) if crc in (seal, UNKNOWN) else crc, no


def damages(connection: sqlite3.Connection, deadline: float = math.inf) -> Iterator[str | None]:
    """Compare all checksums until this moment of `time.monotonic`; yield a sentence for each that is wrong.

    None is yielded for every row that is as it was written, for those who show how far this is.
    """
    query = "SELECT id, owner, model, created, ended, body, crc FROM stream"
    for stream_id, owner, model, created, ended, body, crc in connection.execute(query):
        intact = stream_is_intact(header(stream_id, owner, model, created), ended, body, crc)
        yield None if intact else str(StreamDamaged(str(stream_id), str(owner)))
        if time.monotonic() > deadline:
            return
    for number, producer, body, crc in connection.execute("SELECT tick, producer, body, crc FROM journal"):
        intact = tick_is_intact(producer, body, crc)
        yield None if intact else f"Transaction {number} of the stream log is damaged: answers end where it begins."
        if time.monotonic() > deadline:
            return
