"""Conversations in SQLite: one file, `chats.db`. All that concerns SQLite alone is here.

The file is in WAL mode, so that several processes may use it. A transaction that writes begins as one (``BEGIN
IMMEDIATE``): it waits for its turn instead of failing half way. The file's ``user_version`` is its tables' format.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickertape.errors import ConversationsUnavailable
from tickertape.sqlite import upkeep
from tickertape.sqlite.file import LOST_COMMITS, FileIdentity, header, lost_commits, share, verify, wal_commits, why
from tickertape.sqlite.upkeep import Upkeep, make_shrinkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection, Engine

    from tickertape.conversations.models import ConversationLimits
    from tickertape.conversations.sql_store import SqlStore
    from tickertape.conversations.store import Clock

logger = logging.getLogger("tickertape")

APPLICATION_ID = 0x74696368  # "tich", so that file(1) and tickertape recognize it
VERSION = 2

MIGRATIONS = {
    1: (
        "ALTER TABLE message ADD COLUMN crc BIGINT NOT NULL DEFAULT -1",
        "ALTER TABLE message ADD COLUMN details JSON",
    )
}
"""From each older format to the one after it. A step only adds: a process of the version before may still write."""

TIMEOUT = 10
"""Seconds that one process waits for another one's transaction."""


class SqliteDatabase:
    """The file of the conversations: `tickertape.conversations.store.Database`. ``synchronous`` is SQLite's."""

    def __init__(self, path: Path | str, synchronous: str = "NORMAL") -> None:
        self._path = Path(path)
        self._synchronous = synchronous

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self._path.exists()

    def open(self, limits: ConversationLimits, clock: Clock = time.time) -> SqlStore:
        """Check the file and open it, created if need be. Raises ConversationsUnavailable with the reason."""
        from tickertape.conversations.sql_store import SqlStore

        check(self._path)
        return SqlStore(_OpenFile(self._path, self._synchronous), limits, clock)

    def maintenance(self, reclaim_space: Callable[[], Awaitable[bool]]) -> Upkeep:
        """Return what does the checkpoints and gives space back; ``reclaim_space`` calls the store's in its thread."""
        return Upkeep(self._path, reclaim_space)


class _OpenFile:
    """What `SqlStore` needs to know of SQLite: `tickertape.conversations.sql_store.SqlDatabase`."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = path
        self.engine = open_engine(path, synchronous)
        self._identity = FileIdentity(path)
        self._reported = False

    def check_present(self) -> None:
        """Raise ConversationsUnavailable if the file was deleted or replaced; log that once.

        What is written to a deleted file is committed, and is on no disk.
        """
        if self._identity.lost:
            error = ConversationsUnavailable(
                f"The conversations {self._path} were deleted or replaced while the server runs: what is written now "
                "is on no disk. Restart the server.",
                shown="The server's conversations were deleted or replaced while it runs; nothing is kept until it is "
                "restarted.",
            )
            if not self._reported:
                self._reported = True
                logger.error("%s", error)
            raise error

    def explain(self, error: BaseException | None) -> ConversationsUnavailable:
        """Return the driver's error as one sentence."""
        return explain(error, self._path)

    def reclaim_space(self, connection: Connection) -> bool:
        """Give some free pages back to the file system; return whether there are more."""
        return upkeep.shrink(_raw(connection))

    def probe(self, connection: Connection) -> None:
        """Write something that changes nothing."""
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def check(path: Path) -> None:
    """Check that a file that exists is one of ours, and is whole, as far as can be seen in a moment.

    Raises ConversationsUnavailable with the reason; needs no SQLAlchemy.
    """
    if not path.exists():
        return
    commits = wal_commits(path)
    try:
        with closing(sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)) as connection:
            identify(connection, path)
            if lost := lost_commits(connection, commits):
                logger.warning(LOST_COMMITS, path, lost)
            if not verify(connection):
                logger.info("The conversations %s are too large to be checked at the start", path)
            make_shrinkable(connection, path)
    except sqlite3.Error as error:
        raise explain(error, path) from error


def open_engine(path: Path, synchronous: str = "NORMAL") -> Engine:
    """Open the file, made if need be, its tables too. Raises ConversationsUnavailable with the reason."""
    from sqlalchemy import URL, create_engine, event
    from sqlalchemy.exc import DBAPIError

    from tickertape.conversations.schema import metadata

    try:
        if not path.exists():
            path.touch(mode=0o600)  # conversations are for their owners only; SQLite's other files get the same mode
    except OSError as error:
        raise ConversationsUnavailable(
            f"The conversations {path} cannot be kept: {error.strerror or error}. Choose another --data folder.",
            shown=f"The server cannot keep conversations: {error.strerror or error}.",
        ) from error
    place = URL.create("sqlite", database=str(path))  # as text, a question mark in it would be the end of the path
    made = create_engine(place, connect_args={"timeout": TIMEOUT, "check_same_thread": False}, json_deserializer=_json)
    event.listen(made, "connect", partial(_connected, synchronous))
    event.listen(made, "begin", _begin)
    try:
        with made.begin() as connection:
            version = identify(_raw(connection), path)
            if not version:
                metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            for older in range(version or VERSION, VERSION):
                logger.info("The conversations %s are brought from format %d to format %d", path, older, older + 1)
                for statement in MIGRATIONS[older]:
                    connection.exec_driver_sql(statement)
            if version != VERSION:
                connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
    except BaseException as error:
        made.dispose()
        if isinstance(error, DBAPIError):
            raise explain(error.orig, path) from error
        raise
    return made


def _raw(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def explain(error: BaseException | None, path: Path) -> ConversationsUnavailable:
    """Return the one sentence that says what is wrong with the file and what to do."""
    reason = why(error) if isinstance(error, sqlite3.Error) else str(error)
    return ConversationsUnavailable(
        f"The conversations {path} cannot be used: {reason}.",
        shown=f"The server's conversations cannot be used: {reason}.",
    )


def _json(text: str) -> Any:
    """Read a column of JSON; one that damage made unreadable is empty."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")  # damaged text is detected by its checksum


def _connected(synchronous: str, connection: sqlite3.Connection, _record: object) -> None:
    connection.text_factory = _text
    connection.isolation_level = None  # the driver begins nothing by itself
    _application, _version, tables = header(connection)
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # can be set as long as there are no tables
    share(connection, TIMEOUT)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA secure_delete = ON")  # no deleted text is left in the file
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def identify(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file, 0 if it is empty.

    Raises ConversationsUnavailable for another program's file and for a newer version's.
    """
    application, version, tables = header(connection)
    if tables and application != APPLICATION_ID:
        raise ConversationsUnavailable(
            f"The file {path} is a database of another program; choose another --data folder."
        )
    if tables and version != VERSION and version not in MIGRATIONS:
        raise ConversationsUnavailable(
            f"The conversations {path} have format {version}, this tickertape reads formats 1 to {VERSION}. "
            "Upgrade tickertape, or move the file away."
        )
    return version if tables else 0
