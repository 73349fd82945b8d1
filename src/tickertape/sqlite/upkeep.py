"""What an SQLite file needs besides its transactions: checkpoints, and that what was deleted leaves no trace.

* What is committed stands in the write-ahead log until a checkpoint writes it into the file. SQLite does one when the
  log is large; `Upkeep` does one `CHECKPOINT` seconds after something was written, so that the file alone, as a plain
  copy takes it, is never far behind.
* What is deleted is overwritten in the file (``secure_delete``), but copies of it stand in the write-ahead log: after
  a deletion the log is cut to nothing.
* The pages that a deletion frees are given back to the file system, a few at a time.

A commit waits for none of this longer than for one such step. The disk is waited for in other threads: a checkpoint is
repeated until nobody has written meanwhile, so that the next commit begins the log anew. Else the log grows until
SQLite does a checkpoint within a commit, with its two fsyncs. Nothing is done where nothing was written.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

logger = logging.getLogger("tickertape")

CHECKPOINT = 10.0
"""Seconds from the first thing that is written to the next checkpoint."""

RETRY = 1.0
"""Seconds from the last deletion until the log is cut, and to the next attempt when somebody was reading or writing."""

ATTEMPTS = 5
"""Checkpoints in a row until one ends before the next commit; each writes only what was committed during the last."""

RELIEF = 2 * 1024 * 1024
"""Bytes of deletions between two checkpoints, an eighth of what makes SQLite do one within a commit."""

SLICE = 256 * 1024
"""Bytes that are deleted in one transaction: it zeroes as many, in one or two milliseconds."""

LAST = 1.0
"""Seconds that the last attempt waits for others, when the file is closed."""

PAUSE = 0.05
"""Seconds between two steps of giving pages back: commits come first."""

STEP = 64
"""Pages that are given back in one step, 256 KiB: about a millisecond."""

PAGE = 4096
"""Bytes of a page, SQLite's default."""

SPARE = 256
"""Free pages that stay in the file for what comes next, 1 MiB; and an eighth of a large file."""

SMALL = 64 * 1024 * 1024
"""Bytes of a file that is rewritten at the start, if it was made by a version whose files could not shrink."""


class Upkeep:
    """Looks after one file on the event loop; the work itself is done in other threads.

    ``shrink`` gives some pages back, by way of whoever writes to the file, and says whether there are more.
    """

    def __init__(self, path: Path, shrink: Callable[[], Awaitable[bool]]) -> None:
        self._path = path
        self._shrink = shrink
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._deleted = False
        self._grown = 0  # bytes of deletions since the last checkpoint for them
        self._closed = False

    def written(self) -> None:
        """Say that something was written."""
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(CHECKPOINT, self._begin)

    def deleted(self) -> None:
        """Say that something was deleted, which must leave the log too."""
        self._deleted = True
        self._again(RETRY)

    async def relieve(self, size: int) -> None:
        """Say that so many bytes were changed at once; do a checkpoint in another thread if that was due."""
        self._grown += size
        if self._grown >= RELIEF:
            self._grown = 0
            await self._checkpoint(empty=False)

    async def close(self) -> None:
        """End what is being done; of a deletion that is still in the log, try once more to take it out."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        if self._deleted:
            await self._checkpoint(empty=True, seconds=LAST)

    def _again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._keep_up())
        else:
            self._again(RETRY)

    async def _keep_up(self) -> None:
        empty, self._deleted = self._deleted, False
        try:
            if await self._checkpoint(empty=empty):
                while empty and await self._shrink():
                    await self.relieve(STEP * PAGE)
                    await asyncio.sleep(PAUSE)
            elif empty:
                self._deleted = True
                self._again(RETRY)
        except asyncio.CancelledError:
            self._deleted = self._deleted or empty
            raise
        except Exception:
            logger.debug("The upkeep of %s failed", self._path, exc_info=True)  # a full disk: who writes says so
            self._deleted = self._deleted or empty

    async def _checkpoint(self, *, empty: bool, seconds: float = 0) -> bool:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(None, lambda: checkpoint(self._path, empty=empty, seconds=seconds))
        except sqlite3.Error:
            logger.debug("No checkpoint of %s now", self._path, exc_info=True)
            return False


def checkpoint(path: Path, *, empty: bool = False, seconds: float = 0) -> bool:
    """Write what is in the write-ahead log into the file, and cut the log to nothing if ``empty``.

    Waits for others no longer than that: returns False if their reading or writing kept it from doing all of it.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=seconds)) as connection:
        before = -1
        for _ in range(ATTEMPTS):
            busy, frames, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if busy or frames in (before, 0):  # as many as before: nobody has written meanwhile
                break
            before = frames
        if empty:  # nobody else can write meanwhile: nothing is left to be written, there is no wait for the disk
            busy, frames, done = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy and frames == done


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system, within a transaction; return whether there are more to give."""
    if connection.execute("PRAGMA auto_vacuum").fetchone() != (2,):
        return False
    (free,), (pages,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count"))
    more = free - max(SPARE, pages // 8)
    for _ in range(min(STEP, more)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # of more at once, Python's driver lets it do but one
    return bool(more > STEP)


def make_shrinkable(connection: sqlite3.Connection, path: Path) -> None:
    """Rewrite a file that an older version made, so that it can give pages back, if that is quick; else leave it."""
    if connection.execute("PRAGMA auto_vacuum").fetchone() != (0,) or path.stat().st_size > SMALL:
        return
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.OperationalError:  # a full disk, or somebody else who writes
        logger.debug("%s is left as it is", path, exc_info=True)
