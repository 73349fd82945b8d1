"""The tables of the SQLite log's file, in every format there was, and the way from one to the next.

A file of an older format is brought up to date by whoever opens it, in one transaction: it is of the old format or of
the new one, never between. A step of `MIGRATIONS` only adds, so that a process of the version before can go on writing
while the next one takes over from it. A file of a newer format, or of another program, is refused and left as it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tickertape.errors import LogUnavailable
from tickertape.sqlite_file import header

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

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
        # The place in the line is for readers in other processes. Without the index, forgetting old streams reads all
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
