"""What is wrong with an SQLite file, in words that say what to do."""

from __future__ import annotations

import sqlite3

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, the server goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk reports an I/O error; check its health and free space",
    sqlite3.SQLITE_READONLY: "the file or its folder cannot be written; check the permissions",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that the folder exists and can be written",
    sqlite3.SQLITE_PERM: "the file cannot be opened; check the permissions",
    sqlite3.SQLITE_BUSY: "another program keeps the file locked; close it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away (a new one is made) or restore a copy",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; move it away or choose another --data folder",
}


def why(error: sqlite3.Error) -> str:
    """Return the reason for an error of SQLite, as the second half of a sentence."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    return _REASONS.get(code, str(error))
