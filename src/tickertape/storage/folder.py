"""What a data folder holds, and who uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from pathlib import Path

LOG_FILE = "tape.db"
"""The stream log's file in the data folder."""

CHATS_FILE = "chats.db"
"""The conversations' file there."""


def in_use(data: Path) -> bool:
    """Say whether a process has the stream log open: it holds the lock on its lock file as long as it lives."""
    for path in data.glob(f"{LOG_FILE}-producer-*.lock"):
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
    return False
