"""The file of the SQLite log: what its tables hold, and what a crash leaves. `schema` makes and migrates them.

Tables::

    stream       one row a stream. `body` is NULL while the answer runs; at the end it holds all entries, a line each
    journal      one row a *tick*, that is a transaction of one producer, in order of arrival:
                     #17 204 2        the next two lines are entries of stream 17, from number 204 on
                     t"Hel"
                     t"lo"
                     #18 9 1 end      the last line of this group is the terminal entry of stream 18
                     .{"state":"completed"}
    producer     one row a process that writes; a lock on its lock file proves that it exists, its beat that it runs
    idempotency  which stream an owner's Idempotency-Key made

Appending is one INSERT at the end of one table, whatever the number of streams. A table keyed by (stream, number)
would touch one page a token and costs ten times the CPU and sixty times the bytes. When a stream ends it is *folded*:
its entries become `stream.body`, and every tick of which all streams are folded is deleted.

A crash leaves ticks of unfolded streams. All ticks are whole, for a tick is a transaction. Whoever opens the file
next, or a neighbour that notices, takes the dead producer's streams: what was committed is kept, a stream without
its terminal entry gets the one for *lost*, and all are folded (`reap`). With ``synchronous=NORMAL`` a killed process
loses nothing that was committed; a power cut may lose the last ticks, never their order.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tickertape.errors import LogUnavailable
from tickertape.log import schema
from tickertape.log.base import now
from tickertape.sqlite_file import share, why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tickertape.log.base import Key

TIMEOUT = 10
"""Seconds that one process waits for another one's transaction."""


def explain(error: sqlite3.Error, path: Path) -> LogUnavailable:
    """Return the one sentence that says what is wrong with the file and what to do."""
    reason = why(error)
    return LogUnavailable(
        f"The stream log {path} cannot be used: {reason}.", shown=f"The server's stream log cannot be used: {reason}."
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
    try:
        connection = sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
        schema.identify(connection, path)  # before anything is changed
        share(connection, TIMEOUT)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MB: a checkpoint's fsync is rare
        connection.execute("BEGIN IMMEDIATE")
        schema.prepare(connection, path)
        connection.execute("COMMIT")
    except (sqlite3.Error, LogUnavailable) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise explain(error, path) from error
        raise
    return connection


def join(connection: sqlite3.Connection, name: str) -> int:
    """Register a process as a producer; return its number."""
    cursor = connection.execute("INSERT INTO producer (name, beat) VALUES (?, ?)", (name, time.monotonic()))
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
    return cursor.lastrowid


def group(no: int, first: int, entries: Sequence[bytes], *, ended: bool) -> bytes:
    """Return one stream's part of a tick. The lines are counted, so that an entry may look like anything."""
    return b"\n".join((b"#%d %d %d%b" % (no, first, len(entries), b" end" if ended else b""), *entries))


def gather(ticks: Iterable[tuple[bytes]], found: dict[bytes, list[bytes]]) -> set[bytes]:
    """Add the entries in these ticks to those streams, named by their `mark`, that are in ``found``.

    Returns the marks of the streams that end. After a death this goes through a million of groups, most of them of one
    entry: it takes 0.4 µs each, and 1 µs when it is written as a generator of groups.
    """
    ended: set[bytes] = set()
    for (body,) in ticks:
        lines = body.split(b"\n")
        at, size = 0, len(lines)
        while at < size:
            head = lines[at].split(b" ")
            entries = found.get(head[0])
            if head[2] == b"1":
                after = at + 2
                if entries is not None:
                    entries.append(lines[at + 1])
            else:
                after = at + 1 + int(head[2])
                if entries is not None:
                    entries += lines[at + 1 : after]
            if len(head) > 3 and entries is not None:
                ended.add(head[0])
            at = after
    return ended


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


class Found(NamedTuple):
    """What the file holds of a stream: its committed entries, whether it has ended, its place in the line."""

    entries: list[bytes]
    ended: bool
    place: int


def read(connection: sqlite3.Connection, no: int) -> Found | None:
    """Return what there is of a stream, None if it is gone; within a `snapshot`."""
    row = connection.execute("SELECT body, place FROM stream WHERE no = ?", (no,)).fetchone()
    if row is None:
        return None
    body, place = row
    if body is not None:
        return Found(body.split(b"\n"), ended=True, place=0)
    entries, ended = entries_of(connection, no)
    return Found(entries, ended, 0 if ended else place)


def entries_of(connection: sqlite3.Connection, no: int) -> tuple[list[bytes], bool]:
    """Return an unfolded stream's committed entries and whether it has ended."""
    found: dict[bytes, list[bytes]] = {mark(no): []}
    query = "SELECT body FROM journal WHERE instr(body, ?) ORDER BY tick"
    ended = gather(connection.execute(query, (mark(no) + b" ",)), found)
    return found[mark(no)], bool(ended)


def keyed(connection: sqlite3.Connection, owner: str, key: Key) -> str | None:
    """Return the id of the stream that this owner's key made, if there is one. Raises KeyReused."""
    query = "SELECT digest, stream FROM idempotency WHERE owner = ? AND key = ?"
    row = connection.execute(query, (owner, key.value)).fetchone()
    if row is None:
        return None
    key.check(row[0])
    return str(row[1])


def reap(connection: sqlite3.Connection, producer: int, lost: bytes) -> int:
    """Fold all streams of a dead producer, the unfinished ones ended with ``lost``; return how many those were."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        query = "SELECT no FROM stream WHERE producer = ? AND ended IS NULL"
        running: dict[bytes, list[bytes]] = {mark(no): [] for (no,) in connection.execute(query, (producer,))}
        query = "SELECT body FROM journal WHERE producer = ? ORDER BY tick"
        unfinished = running.keys() - gather(connection.execute(query, (producer,)), running)
        for name in unfinished:
            running[name].append(lost)
        ended = now()
        connection.executemany(
            "UPDATE stream SET ended = ?, body = ? WHERE no = ?",
            ((ended, b"\n".join(entries), int(name[1:])) for name, entries in running.items()),
        )
        connection.execute("DELETE FROM journal WHERE producer = ?", (producer,))
        connection.execute("DELETE FROM producer WHERE no = ?", (producer,))
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return len(unfinished)
