"""The tables of the SQLite log's file, in every format there was, and the way from one to the next.

A file of an older format is brought up to date by whoever opens it, in one transaction: it is of the old format or of
the new one, never between. A step of `MIGRATIONS` only adds, so that a process of the version before can go on writing
while the next one takes over from it. A file of a newer format, or of another program, is refused and left as it is.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING

from tickertape.errors import LogUnavailable
from tickertape.sqlite_file import header

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("tickertape")

APPLICATION_ID = 0x7469636B  # "tick", so that file(1) and we can tell

VERSION = 2
"""The format that this version writes: `PRAGMA user_version`."""

VERIFY = 2.0
"""Seconds that looking for damage may take: some gigabytes when the file is in memory, less from a disk."""

_SCHEMA = """
CREATE TABLE producer (no INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, beat REAL NOT NULL);
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
    place INTEGER NOT NULL DEFAULT 0  -- in the line before its provider, as its producer told others last
);
CREATE INDEX running ON stream (producer) WHERE ended IS NULL;
CREATE INDEX ended ON stream (ended) WHERE ended IS NOT NULL;
CREATE TABLE journal (tick INTEGER PRIMARY KEY AUTOINCREMENT, producer INTEGER NOT NULL, body BLOB NOT NULL);
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
        # The place in the line is for readers in other processes. Without the index, forgetting old streams reads all
        # of them, in the thread that commits the tokens: 50 ms for 50 000 answers in memory, more from a disk.
        "ALTER TABLE stream ADD COLUMN place INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX ended ON stream (ended) WHERE ended IS NOT NULL",
    ),
}
"""From each older format to the one after it."""


def identify(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file, 0 if it is empty. Changes nothing.

    Raises LogUnavailable for another program's file and for a format that this version does not know.
    """
    application, version, tables = header(connection)
    if not tables:
        return 0
    if application != APPLICATION_ID:
        raise LogUnavailable(f"The file {path} is a database of another program; choose another --data folder.")
    if version != VERSION and version not in MIGRATIONS:
        raise LogUnavailable(
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
