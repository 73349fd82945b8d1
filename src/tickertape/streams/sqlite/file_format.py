"""The file: its tables in every format there was, what a batch looks like, and how damage is noticed.

Tables::

    stream       one row a stream. `body` is NULL while the answer runs; at the end it holds all entries, a line each
    journal      one row a *batch* (its column is called `tick`), that is a transaction of one producer, in order of
                 arrival:
                     #17 204 2        the next two lines are entries of stream 17, from number 204 on
                     t"Hel"
                     t"lo"
                     #18 9 1 end      the last line of this group is the terminal entry of stream 18
                     .{"state":"completed"}
    producer     one row a process that writes: its number is the process's epoch. A lock on its lock file proves that
                 the process exists, its `beat` that it runs
    idempotency  which stream an owner's Idempotency-Key made

Appending is one INSERT at the end of one table, whatever the number of streams. A table keyed by (stream, number)
would touch one page a token and costs ten times the CPU and sixty times the bytes. When a stream ends it is
*compacted*: its entries become `stream.body`, and every batch of which all streams are compacted is deleted.

**Formats.** A file of an older format is brought up to date by whoever opens it, in one transaction: it is of the old
format or of the new one, never between. A step of `MIGRATIONS` only adds, so that a process of the version before can
go on writing while the next one takes over from it. A file of a newer format, or of another program, is refused and
left as it is.

**Checksums.** SQLite notices a damaged page only where its structure breaks; a byte of text that changed is read as it
stands. So every batch and every stream carries a CRC-32, which is compared whenever it is read: a batch's is over its
producer and its body; a running stream's over its header; once it has ended, over the header, the time of its end and
the body. `UNKNOWN` stands where a version without checksums wrote: such rows cannot be compared. A stream whose body
that version wrote, but not its row, has the checksum of the header alone.

Damage is told, never read as text: a batch with a wrong checksum is passed over, and a stream ends where the number of
its next entry is not the one that follows. While its producer lives, that is mended when the stream is compacted; else
the stream ends there, with the terminal entry for *damaged*. An ended stream with a wrong checksum is not read at all.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol
from zlib import crc32

from tickertape.errors import EngineUnavailable, StreamDamaged
from tickertape.sqlite.file import LOST_COMMITS, header, lost_commits, share, wal_commits, why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tickertape.streams.contract import Key

logger = logging.getLogger("tickertape")

APPLICATION_ID = 0x7469636B  # "tick", so that file(1) and we can tell

VERSION = 3
"""The format that this version writes: `PRAGMA user_version`."""

_SCHEMA = """
CREATE TABLE producer (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    beat REAL NOT NULL,
    settings TEXT NOT NULL DEFAULT ''  -- those that all who use the file must share, as JSON
);
CREATE TABLE stream (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    created INTEGER NOT NULL,
    producer INTEGER NOT NULL,
    stop INTEGER NOT NULL DEFAULT 0,  -- a process other than the producer was asked to stop it
    seen REAL NOT NULL DEFAULT 0,     -- monotonic time at which a process other than the producer had readers
    ended REAL,
    body BLOB,
    place INTEGER NOT NULL DEFAULT 0, -- in the line before its provider, as its producer told others last
    crc INTEGER NOT NULL DEFAULT -1   -- see checksums.py
);
CREATE INDEX running ON stream (producer) WHERE ended IS NULL;
CREATE INDEX ended ON stream (ended) WHERE ended IS NOT NULL;
CREATE TABLE journal (
    tick INTEGER PRIMARY KEY AUTOINCREMENT,
    producer INTEGER NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL DEFAULT -1
);
CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE INDEX keyed ON idempotency (stream);
"""

MIGRATIONS = {
    1: (
        # The place in the line is for readers in other processes. Without the index, deleting old streams reads all
        # of them, in the thread that commits the tokens: 50 ms for 50 000 answers in memory, more from a disk.
        "ALTER TABLE stream ADD COLUMN place INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX ended ON stream (ended) WHERE ended IS NOT NULL",
    ),
    2: (
        # What was written before has no checksum, and what a process of the version before still writes gets none.
        "ALTER TABLE stream ADD COLUMN crc INTEGER NOT NULL DEFAULT -1",
        "ALTER TABLE journal ADD COLUMN crc INTEGER NOT NULL DEFAULT -1",
        "ALTER TABLE producer ADD COLUMN settings TEXT NOT NULL DEFAULT ''",
    ),
}
"""From each older format to the one after it."""


def identify(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file, 0 if it is empty. Changes nothing.

    Raises EngineUnavailable for another program's file and for a format that this version does not know.
    """
    application, version, tables = header(connection)
    if not tables:
        return 0
    if application != APPLICATION_ID:
        raise EngineUnavailable(f"The file {path} is a database of another program; choose another --data folder.")
    if version != VERSION and version not in MIGRATIONS:
        raise EngineUnavailable(
            f"The stream log {path} has format {version}, this tickertape reads formats 1 to {VERSION}. "
            "Upgrade tickertape, or move the file away."
        )
    return version


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring those of an older format up to date; within a transaction. Raises as `identify`."""
    found = identify(connection, path)
    if found == VERSION:
        return
    if not found:
        statements = [*_SCHEMA.split(";"), f"PRAGMA application_id = {APPLICATION_ID}"]
    else:
        statements = [statement for version in range(found, VERSION) for statement in MIGRATIONS[version]]
        logger.info("The stream log %s is brought from format %d to format %d", path, found, VERSION)
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


# --- checksums

UNKNOWN = -1
"""No CRC-32: of a row that was written without one."""


def batch_checksum(producer: int, body: bytes) -> int:
    """Return the checksum of a batch."""
    return crc32(body, producer & 0xFFFFFFFF)


def header_checksum(stream_id: str, owner: str, model: str, created: int) -> int:
    """Return the checksum of a stream that runs."""
    return crc32(f"{stream_id}\0{owner}\0{model}\0{created}".encode(errors="surrogateescape"))


def stream_checksum(header: int, ended: float, body: bytes) -> int:
    """Return the checksum of a stream that has ended, given that of its header."""
    return crc32(body, crc32(repr(ended).encode(), header))


def batch_is_intact(producer: object, body: object, crc: object) -> bool:
    """Say whether a batch is as it was written. What is read from a damaged row may be of any type."""
    if not isinstance(producer, int) or not isinstance(body, bytes):
        return False
    return crc in (batch_checksum(producer, body), UNKNOWN)


def stream_is_intact(header: int, ended: object, body: object, crc: object) -> bool:
    """Say whether a stream is as it was written, given the checksum of its header as it is now."""
    if body is None:
        return crc in (header, UNKNOWN)
    if not isinstance(body, bytes) or not isinstance(ended, float):
        return False
    return crc in (stream_checksum(header, ended, body), header, UNKNOWN)


# --- opening

TIMEOUT = 10
"""Seconds that one process waits for another one's transaction."""


def explain(error: sqlite3.Error, path: Path) -> EngineUnavailable:
    """Return the one sentence that says what is wrong with the file and what to do."""
    reason = why(error)
    return EngineUnavailable(
        f"The stream log {path} cannot be used: {reason}.", shown=f"The server's stream log cannot be used: {reason}."
    )


def file_gone(path: Path) -> EngineUnavailable:
    """Return the sentence that says that the file is not there any more, though it can be written."""
    return EngineUnavailable(
        f"The stream log {path} was deleted or replaced while the server runs: what is written now is on no disk. "
        "Restart the server.",
        shown="The server's stream log was deleted or replaced while it runs; nothing is kept until it is restarted.",
    )


def check(path: Path) -> None:
    """Check that a log can be opened at ``path``; make its folder. Raises EngineUnavailable with the reason."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.with_name(f"{path.name}-check").touch()
        path.with_name(f"{path.name}-check").unlink(missing_ok=True)  # another process may be checking too
        if not path.exists():
            path.touch(mode=0o600)  # answers are for their owners only; SQLite's other files get the same mode
    except OSError as error:
        raise EngineUnavailable(
            f"The folder {path.parent} cannot be used for the stream log: {error.strerror or error}. "
            "Choose another --data folder."
        ) from error
    connect(path).close()


Role = Literal["writer", "reader", "follower"]
"""What a connection is for: to commit, to read rows and look for the dead, or to look at what others have written."""


class Connect(Protocol):
    """Opens a connection to the file, as `connect` does. Tests put faults between an engine and SQLite with another."""

    def __call__(self, path: Path, role: Role, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
        """Return the connection for this role of an engine."""


def connect(
    path: Path,
    role: Role = "reader",
    *,
    synchronous: str = "NORMAL",
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """Open the file, in autocommit mode; make or migrate its tables. Raises EngineUnavailable with the reason."""
    connection: sqlite3.Connection | None = None
    commits = wal_commits(path)
    try:
        connection = sqlite3.connect(
            path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False, factory=factory
        )
        # Damage may have made of a text what is none: its checksum says so, not an error in the middle of a query.
        connection.text_factory = _text
        if not identify(connection, path):  # before anything is changed
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # can be set as long as there are no tables
        share(connection, TIMEOUT)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is not left in the file
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB: a checkpoint's fsync is rare
        lost = lost_commits(connection, commits)
        connection.execute("BEGIN IMMEDIATE")
        prepare(connection, path)
        connection.execute("COMMIT")
    except (sqlite3.Error, EngineUnavailable) as error:
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


def encode_group(no: int, first: int, entries: Sequence[bytes], *, ended: bool) -> bytes:
    """Return one stream's part of a batch. The lines are counted, so that an entry may look like anything."""
    return b"\n".join((b"#%d %d %d%b" % (no, first, len(entries), b" end" if ended else b""), *entries))


class BatchReader:
    """What was read from batches: the entries of some streams, named by their `group_prefix`.

    ``first`` is the number that each stream's first entry here must have; None for that of the first group that is
    found. ``ended`` are the streams whose terminal entry was there, ``torn`` those of which something before was not.
    ``damaged`` counts the batches that could not be read.
    """

    def __init__(self, first: Mapping[bytes, int | None]) -> None:
        self.first = dict(first)
        self.entries: dict[bytes, list[bytes]] = {stream: [] for stream in first}
        self.ended: set[bytes] = set()
        self.torn: set[bytes] = set()
        self.damaged = 0

    def add(self, batches: Iterable[tuple[int, bytes, int]]) -> None:
        """Read batches, given as producer, body and checksum in order of arrival.

        After a death this goes through a million of groups, most of them of one entry: it takes 0.5 µs each, and twice
        that when it is written as a generator of groups.
        """
        for producer, body, crc in batches:
            if not batch_is_intact(producer, body, crc):
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


def group_prefix(no: int) -> bytes:
    """Return how a stream's groups begin."""
    return b"#%d" % no


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Read as of one moment: between two statements, another process could compact a stream and delete its batches."""
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


def damages(connection: sqlite3.Connection, deadline: float = math.inf) -> Iterator[str | None]:
    """Compare all checksums until this moment of `time.monotonic`; yield a sentence for each that is wrong.

    None is yielded for every row that is as it was written, for those who show how far this is.
    """
    query = "SELECT id, owner, model, created, ended, body, crc FROM stream"
    for stream_id, owner, model, created, ended, body, crc in connection.execute(query):
        intact = stream_is_intact(header_checksum(stream_id, owner, model, created), ended, body, crc)
        yield None if intact else str(StreamDamaged(str(stream_id), str(owner)))
        if time.monotonic() > deadline:
            return
    for number, producer, body, crc in connection.execute("SELECT tick, producer, body, crc FROM journal"):
        intact = batch_is_intact(producer, body, crc)
        yield None if intact else f"Transaction {number} of the stream log is damaged: answers end where it begins."
        if time.monotonic() > deadline:
            return
