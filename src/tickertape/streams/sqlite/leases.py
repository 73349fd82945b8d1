"""Who else writes to the SQLite log on this host, and who of them is dead.

A process that exists holds the lock on its lock file, which the operating system takes from it when it dies. One that
is frozen keeps the lock but misses its beat; only one with running streams beats, for nobody waits for another.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from tickertape.errors import LogError, LogUnavailable
from tickertape.streams.sqlite import journal

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


def take(lock: FileLock) -> None:
    """Take the lock that proves this process alive. Raises LogUnavailable where files cannot be locked."""
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError) as error:  # most likely a network file system
        reason = error.strerror if isinstance(error, OSError) else None
        raise LogUnavailable(
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
                streams += journal.reap(connection, no, *ends)
            continue
        try:
            streams += journal.reap(connection, no, *ends)
            lock_path(log, other).unlink(missing_ok=True)
        finally:
            lock.release()
    return streams, living


async def attempt(work: Awaitable[T]) -> T | None:
    """Do work that is done again and again, and must be, whatever happened this time; return None if it failed."""
    try:
        return await work
    except (sqlite3.Error, OSError, LogError):
        logger.debug("The stream log could not look after its neighbours", exc_info=True)  # a busy or full disk
    except Exception:
        logger.exception("The stream log could not look after its neighbours")
    return None
