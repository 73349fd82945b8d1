"""An SQLite file: whose it is, and what is wrong with it in words that say what to do."""

from __future__ import annotations

import sqlite3
import time

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
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away (a new one is made) or restore a copy",
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
