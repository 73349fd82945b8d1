"""Looking a data folder through: the structure of both files, every checksum, and what they say of each other.

Nothing is changed, and a server may use the files meanwhile: each is read as of one moment.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tickertape.conversations import checksums, sqlite
from tickertape.errors import ConversationsUnavailable, EngineUnavailable, SettingsError
from tickertape.storage.folder import CHATS_FILE, LOG_FILE
from tickertape.streams.sqlite import file_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[str, int, int], object]
    """Is called with a file's name, what is done of it, and how much there is to do."""

MESSAGE_CHECKSUMS = 2
"""The format of the conversations from which on messages have checksums."""

MOST = 100
"""Damages of the structure of one file that are listed."""

OLD = 60.0
"""Seconds after which the answer to a question has begun, unless the server died in between."""


class Finding(NamedTuple):
    """One inconsistency. One that is not ``serious`` is repaired at the next start."""

    sentence: str
    serious: bool = True


def check(data: Path, progress: Progress) -> Iterator[Finding]:
    """Yield what is wrong with the files in a data folder. Raises SettingsError if there are none."""
    log, chats = data / LOG_FILE, data / CHATS_FILE
    if not log.exists() and not chats.exists():
        raise SettingsError(
            f"There is nothing to check in {data}: neither {LOG_FILE} nor {CHATS_FILE} is there. "
            "Name the folder with --data."
        )
    for path, look in ((chats, _chats), (log, _log)):
        if path.exists():
            try:
                with snapshot(path) as connection:
                    yield from look(connection, path, progress)
            except (EngineUnavailable, ConversationsUnavailable) as error:
                yield Finding(str(error))
                return
    if log.exists() and chats.exists():
        yield from _across(log, chats)


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a file as of one moment. Raises EngineUnavailable or ConversationsUnavailable if it cannot be used."""
    try:
        # Not mode=ro: what a killed server left in the write-ahead log could not be read then.
        with closing(sqlite3.connect(path, timeout=file_format.TIMEOUT, isolation_level=None)) as connection:
            connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            connection.execute("PRAGMA query_only = ON")
            if path.name == CHATS_FILE:
                sqlite.identify(connection, path)
            else:
                file_format.identify(connection, path)
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error, path: Path) -> EngineUnavailable | ConversationsUnavailable:
    """Return the sentence that says what is wrong with one of the two files."""
    return sqlite.explain(error, path) if path.name == CHATS_FILE else file_format.explain(error, path)


def _structure(connection: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    for (found,) in connection.execute(f"PRAGMA integrity_check({MOST})"):
        if found != "ok":
            yield Finding(f"The structure of {path} is damaged: {' '.join(str(found).split())}.")


def _log(connection: sqlite3.Connection, path: Path, progress: Progress) -> Iterator[Finding]:
    yield from _structure(connection, path)
    if file_format.identify(connection, path) < 3:
        yield Finding(f"The stream log {path} is of an older format, without checksums.", serious=False)
        return
    counts = "SELECT (SELECT count(*) FROM stream) + (SELECT count(*) FROM journal)"
    (total,) = connection.execute(counts).fetchone()
    for number, damage in enumerate(file_format.damages(connection), 1):
        progress(path.name, number, total)
        if damage is not None:
            yield Finding(damage)
    for query, sentence in (
        (
            "SELECT count(*) FROM idempotency WHERE stream NOT IN (SELECT id FROM stream)",
            "{} Idempotency-Keys in the stream log belong to streams that are not there.",
        ),
        (
            "SELECT count(*) FROM stream WHERE ended IS NULL AND producer NOT IN (SELECT no FROM producer)",
            "{} answers in the stream log run without a process that could end them.",
        ),
    ):
        (count,) = connection.execute(query).fetchone()
        if count:
            yield Finding(sentence.format(count))


def _chats(connection: sqlite3.Connection, path: Path, progress: Progress) -> Iterator[Finding]:
    progress(path.name, 0, 1)
    yield from _structure(connection, path)
    progress(path.name, 1, 1)
    if sqlite.identify(connection, path) >= MESSAGE_CHECKSUMS:
        query = "SELECT id, parent, role, content, reasoning, tool_calls, crc FROM message"
        damaged = sum(not _message_is_intact(*row) for row in connection.execute(query))
        if damaged:
            yield Finding(f"{damaged} messages are damaged: their checksums do not match.")
    strays = len(connection.execute("PRAGMA foreign_key_check").fetchall())
    if strays:
        yield Finding(f"{strays} rows of the conversations belong to conversations or messages that are not there.")
    for query, sentence in (
        (
            "SELECT count(*) FROM chat WHERE current IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM message WHERE message.chat = chat.no AND message.id = current)",
            "{} conversations stand at messages that are not there.",
        ),
        (
            "SELECT count(*) FROM message WHERE parent IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM message AS above WHERE above.chat = message.chat AND above.id = message.parent)",
            "{} messages answer messages that are not there.",
        ),
        (
            "SELECT count(*) FROM message WHERE state = 'running' "
            "AND no NOT IN (SELECT message FROM segment WHERE link = 0)",
            "{} messages are said to be written, but no answer is on its way to them.",
        ),
    ):
        (count,) = connection.execute(query).fetchone()
        if count:
            yield Finding(sentence.format(count))


def _message_is_intact(*columns: Any) -> bool:
    *said, tool_calls, crc = columns
    message_id, parent, role, content, reasoning = said
    try:
        calls = None if tool_calls is None else msgspec.json.decode(tool_calls)
        found = checksums.seal(message_id, parent, role, content, reasoning, calls)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return False
    return crc in (found, checksums.UNKNOWN, checksums.seal(message_id, parent, role))


def _across(log: Path, chats: Path) -> Iterator[Finding]:
    """Compare the two. The conversations are read first: what they wait for then must be in the log after it."""
    with snapshot(chats) as connection:
        (newest,) = connection.execute("SELECT max(begun) FROM segment").fetchone()
        waiting = connection.execute(
            "SELECT stream FROM segment WHERE link = 0 AND begun < ?", ((newest or 0) - OLD,)
        ).fetchall()
    with snapshot(log) as connection:
        missing = [
            stream
            for (stream,) in waiting
            if connection.execute("SELECT 1 FROM stream WHERE id = ?", (stream,)).fetchone() is None
        ]
    if missing:
        yield Finding(
            f"{len(missing)} answers of conversations are not in the stream log: they will be shown as lost. "
            "Are the two files of one moment?"
        )
