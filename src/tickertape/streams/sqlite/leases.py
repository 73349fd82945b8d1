"""Producers: the processes that write to the file on this host, which of them live, and what a dead one leaves.

A process that opens the engine inserts a row into ``producer``; the row's number is its *epoch*, which goes with
everything that it writes. It holds the lock on a lock file of its own, which the operating system takes from it when it
dies, however it dies: that is how the others, and the next start, know at once. One that is frozen keeps the lock but
misses its heartbeat; after the lease the others take it for dead. Heartbeats are in monotonic time, which processes of
one host share and no clock change moves. Only a process with running streams has to send them, for nobody waits for
another one.

`reap_dead` deletes the row of a dead producer and ends its streams, in one transaction: what was committed is kept, a
stream without its terminal entry gets the one for *lost*, and all are compacted. If the producer lives after all, it
finds at its next statement that its row is gone.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from tickertape.errors import EngineError, EngineUnavailable
from tickertape.streams.sqlite.file_format import (
    UNKNOWN,
    BatchReader,
    group_prefix,
    header_checksum,
    roll_back,
    stream_checksum,
)
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

logger = logging.getLogger("tickertape")


_OTHERS = """
SELECT no, name, beat, EXISTS(SELECT 1 FROM stream WHERE stream.producer = producer.no AND ended IS NULL)
FROM producer WHERE name != ?
"""


def lock_path(log: Path, name: str) -> Path:
    """Return the lock file of the producer of this name."""
    return log.with_name(f"{log.name}-producer-{name}.lock")


def living(connection: sqlite3.Connection, log: Path) -> list[str]:
    """Return the settings of every producer that lives, as it registered them."""
    rows = connection.execute("SELECT name, settings FROM producer").fetchall()
    return [settings for name, settings in rows if _held(lock_path(log, name))]


def in_use(log: Path) -> bool:
    """Say whether a producer lives, without opening the log."""
    return any(map(_held, log.parent.glob(lock_path(log, "*").name)))


def _held(path: Path) -> bool:
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def acquire(lock: FileLock) -> None:
    """Take the lock that proves this process alive. Raises EngineUnavailable where files cannot be locked."""
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError) as error:  # most likely a network file system
        reason = error.strerror if isinstance(error, OSError) else None
        raise EngineUnavailable(
            f"The folder {Path(lock.lock_file).parent} takes no locks: {reason or error}. "
            "Choose another --data folder, on a local disk."
        ) from error


def reap_dead(
    connection: sqlite3.Connection, log: Path, name: str, ends: tuple[bytes, bytes], lease: float
) -> tuple[int, int]:
    """End what dead producers left; return how many streams that were, and how many producers live.

    ``ends`` are the terminal entries for lost and for damaged ones.

    Those who are not called ``name`` are looked at. ``lease`` is in seconds.
    """
    streams = living = 0
    for no, other, beat, runs in connection.execute(_OTHERS, (name,)).fetchall():
        lock = FileLock(lock_path(log, other), thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not runs or time.monotonic() - beat <= lease:
                living += 1
            else:
                streams += reap(connection, no, *ends)
            continue
        try:
            streams += reap(connection, no, *ends)
            lock_path(log, other).unlink(missing_ok=True)
        finally:
            lock.release()
    return streams, living


async def attempt(work: Awaitable[T]) -> T | None:
    """Do work that is done again and again, and must be, whatever happened this time; return None if it failed."""
    try:
        return await work
    except (sqlite3.Error, OSError, EngineError):
        logger.debug("The stream log could not look after other processes", exc_info=True)  # a busy or full disk
    except Exception:
        logger.exception("The stream log could not look after other processes")
    return None


def join(connection: sqlite3.Connection, name: str, settings: str = "") -> int:
    """Register a process as a producer, with the settings that others must share; return its epoch."""
    values = (name, time.monotonic(), settings)
    cursor = connection.execute("INSERT INTO producer (name, beat, settings) VALUES (?, ?, ?)", values)
    assert cursor.lastrowid is not None  # noqa: S101 - an INSERT has one
    return cursor.lastrowid


def reap(connection: sqlite3.Connection, epoch: int, lost: bytes, damaged: bytes | None = None) -> int:
    """End what the producer of this epoch has left with ``lost``, and compact it; return how many had not ended.

    Those of which a part cannot be read end where that begins, with ``damaged`` if it is given.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        query = "SELECT no, id, owner, model, created, crc FROM stream WHERE producer = ? AND ended IS NULL"
        rows = {group_prefix(no): (no, *columns) for no, *columns in connection.execute(query, (epoch,))}
        gathered = BatchReader(dict.fromkeys(rows, 1))
        query = "SELECT producer, body, crc FROM journal WHERE producer = ? ORDER BY tick"
        gathered.add(connection.execute(query, (epoch,)))
        unfinished = rows.keys() - gathered.ended
        # Nobody knows whose entries were in a batch that cannot be read: perhaps the last ones of any of them.
        torn = unfinished if gathered.damaged else gathered.torn
        for name in unfinished:
            gathered.entries[name].append((damaged or lost) if name in torn else lost)
        ended = now()
        connection.executemany(
            "UPDATE stream SET ended = ?, body = ?, crc = ? WHERE no = ?",
            (_compacted(rows[name], ended, b"\n".join(entries)) for name, entries in gathered.entries.items()),
        )
        # With what a damaged number keeps from being anybody's: nobody else could delete it.
        connection.execute("DELETE FROM producer WHERE no = ?", (epoch,))
        connection.execute("DELETE FROM journal WHERE producer NOT IN (SELECT no FROM producer)")
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    if torn:
        names = ", ".join(str(rows[name][1]) for name in sorted(torn))
        logger.error("A part of the stream log is damaged; these answers were cut off where it begins: %s", names)
    return len(unfinished)


def _compacted(row: tuple[Any, ...], ended: float, body: bytes) -> tuple[float, bytes, int, int]:
    """Return what is written to a stream's row at its end. A header that is damaged stays so."""
    no, stream_id, owner, model, created, crc = row
    checksum = header_checksum(stream_id, owner, model, created)
    return ended, body, stream_checksum(checksum, ended, body) if crc in (checksum, UNKNOWN) else crc, no
