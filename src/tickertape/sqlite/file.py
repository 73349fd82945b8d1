"""An SQLite file: whose it is, and what is wrong with it in words that say what to do."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

VERIFY = 2.0
"""Seconds that looking for damage may take: some gigabytes when the file is in memory, less from a disk."""

LOST_COMMITS = (
    "The write-ahead log of %s ends in transactions that cannot be read and are lost, %d of them. After a killed "
    "process that is the one it was writing, which nobody has seen; after a power cut or on a bad disk, answers may "
    "lack their ends or be missing."
)
"""What the operator is told of `lost_commits`."""

_WAL_HEADER = struct.Struct(">8I")
_WAL_FRAME = struct.Struct(">6I")

_HEADER = """
SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
FROM pragma_application_id, pragma_user_version
"""

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, the server goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk reports an I/O error; check its health and free space",
    sqlite3.SQLITE_READONLY: "the file or its folder cannot be written; check the permissions",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that the folder exists and can be written",
    sqlite3.SQLITE_PERM: "the file cannot be opened; check the permissions",
    sqlite3.SQLITE_BUSY: "another program keeps the file locked; close it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away (a new one is made) or restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; move it away or choose another --data folder",
}


def header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return the file's ``application_id``, its ``user_version`` and how many tables and indexes it has.

    It is one statement, so that all three are of one moment: another process may be making the tables.
    """
    application, version, tables = connection.execute(_HEADER).fetchone()
    return application, version, tables


def share(connection: sqlite3.Connection, seconds: float) -> None:
    """Put the file in WAL mode, so that several processes may use it; wait that long for others who do the same.

    Two that read the file and want to switch it would wait for each other: SQLite sends one of them away at once,
    whatever its connection's timeout.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def why(error: sqlite3.Error) -> str:
    """Return the reason for an error of SQLite, as the second half of a sentence."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    return _REASONS.get(code, str(error))


def verify(connection: sqlite3.Connection, seconds: float = VERIFY) -> bool:
    """Look for damage; return False if the time was too short to look everywhere.

    Raises sqlite3.DatabaseError if there is some. What is not looked at here is told when it is read.
    """
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    if finding != "ok":
        damage = sqlite3.DatabaseError(finding)
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    return True


class WalCommits(NamedTuple):
    """Which frames of a write-ahead log end a transaction, and the header that the log had then."""

    wal: Path
    header: bytes
    frames: list[int]


def wal_commits(path: Path) -> WalCommits:
    """Return which frames of the file's write-ahead log end a transaction, by what each frame says of itself.

    SQLite believes a frame only if it and all before it are whole, and drops the others without a word: with this,
    `lost_commits` can tell. To be called before the file is opened.
    """
    wal = path.with_name(f"{path.name}-wal")
    commits = WalCommits(wal, _head_of(wal), [])
    if len(commits.header) < _WAL_HEADER.size:
        return commits
    size, salts = _wal_header(commits.header)
    step = _WAL_FRAME.size + size
    try:
        with wal.open("rb") as file:
            file.seek(0, os.SEEK_END)
            count = (file.tell() - _WAL_HEADER.size) // step
            for number in range(count):
                file.seek(_WAL_HEADER.size + number * step)
                frame = file.read(_WAL_FRAME.size)
                if len(frame) < _WAL_FRAME.size:
                    break  # another process has made the log shorter
                _page, commit, *found = _WAL_FRAME.unpack(frame)
                salts = salts or found[:2]
                if commit and found[:2] == salts:  # other salts: left over from before the log was begun anew
                    commits.frames.append(number + 1)
    except OSError:
        return WalCommits(wal, b"", [])
    return commits


def _head_of(wal: Path) -> bytes:
    try:
        with wal.open("rb") as file:
            return file.read(_WAL_HEADER.size)
    except OSError:
        return b""


def _wal_header(head: bytes) -> tuple[int, list[int] | None]:
    """Return a write-ahead log's page size and salts; of one whose header is damaged, the usual size and None."""
    magic, _version, size, _number, *salts = _WAL_HEADER.unpack(head)
    words = struct.unpack(">8I" if magic & 1 else "<8I", head)
    one = two = 0
    for at in range(0, 6, 2):
        one = (one + words[at] + two) & 0xFFFFFFFF
        two = (two + words[at + 1] + one) & 0xFFFFFFFF
    if [one, two] != salts[2:]:
        return 4096, None
    return size, salts[:2]


def lost_commits(connection: sqlite3.Connection, commits: WalCommits) -> int:
    """Return how many of the transactions that `wal_commits` found SQLite could not read. Does a checkpoint.

    Another process may write meanwhile. What it has not committed yet is waited for; and once it has begun the log
    anew, it has read all that there was, and nothing is known of it here.
    """
    if not commits.frames:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    _busy, frames, _done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if _head_of(commits.wal) != commits.header:
        return 0
    return sum(number > frames for number in commits.frames)


class FileIdentity:
    """Tells whether the file at a path, and its write-ahead log, are still those that were opened there.

    What is written to a file that was deleted, or replaced by another, succeeds and is on no disk.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (path, path.with_name(f"{path.name}-wal"))
        self._known = [_number(path) for path in self._paths]

    @property
    def lost(self) -> bool:
        """Whether one of them is gone or another one. Takes two microseconds."""
        return any(
            known is not None and _number(path) != known for path, known in zip(self._paths, self._known, strict=True)
        )


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
