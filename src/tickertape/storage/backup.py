"""Copies of a data folder, made while a server uses it, and the way back.

Conversations point at streams, never the other way, so the conversations are copied first: every stream that they
wait for at that moment is in the log at the later one. Each file is copied as of one moment, by SQLite: a plain copy
of a file that is being written is none, and lacks what stands in the write-ahead log.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from tickertape.errors import SettingsError
from tickertape.storage.check import snapshot
from tickertape.storage.folder import CHATS_FILE, LOG_FILE, in_use

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.storage.check import Progress

PAGES = 1000
"""Pages between two words of progress, 4 MB."""

PARTIAL = ".partial"
"""The end of a copy's name until it is whole."""


def backup(data: Path, target: Path, progress: Progress) -> None:
    """Copy the files in a data folder into a new or empty folder, which can be used as a data folder then.

    Raises SettingsError, EngineUnavailable or ConversationsUnavailable, with nothing left of the copy.
    """
    names = _present(data, "back up", "Name the folder with --data.")
    made = not target.exists()
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(target.iterdir())
    except OSError as error:
        raise SettingsError(
            f"The folder {target} cannot be used for the backup: {error.strerror or error}. Choose another."
        ) from error
    if not empty:
        raise SettingsError(f"The folder {target} is not empty. Choose a new one for the backup.")
    try:
        _copy(names, data, target, progress)
    except BaseException:
        if made:
            with suppress(OSError):
                target.rmdir()
        raise


def restore(source: Path, data: Path, progress: Progress, *, replace: bool = False) -> Path | None:
    """Copy a backup into a data folder that no server uses.

    With ``replace``, files that are there are moved into a folder beside them, which is returned. Raises as `backup`,
    with nothing changed.
    """
    names = _present(source, "restore", "Name the folder that `tickertape backup` made.")
    if in_use(data):
        raise SettingsError(f"A server uses {data}; stop it before something is restored there.")
    there = [path for name in (LOG_FILE, CHATS_FILE) for path in data.glob(f"{name}*") if path.suffix != ".lock"]
    there = [path for path in there if not path.name.endswith(PARTIAL)]
    if there and not replace:
        raise SettingsError(
            f"The folder {data} holds answers already. Choose another, or say --replace to move them out of the way."
        )
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {data} cannot be made: {error.strerror or error}. Choose another.") from error
    aside = data / time.strftime("replaced-%Y%m%d-%H%M%S") if there else None

    def make_way() -> None:
        if aside is not None:
            aside.mkdir(mode=0o700)
            for path in there:
                shutil.move(path, aside / path.name)

    _copy(names, source, data, progress, make_way)
    return aside


def _present(folder: Path, what: str, instead: str) -> list[str]:
    """Return the files that are there, in the order in which they are copied."""
    names = [name for name in (CHATS_FILE, LOG_FILE) if (folder / name).exists()]
    if not names:
        raise SettingsError(
            f"There is nothing to {what} in {folder}: neither {LOG_FILE} nor {CHATS_FILE} is there. {instead}"
        )
    return names


def _copy(
    names: list[str], source: Path, target: Path, progress: Progress, ready: Callable[[], object] | None = None
) -> None:
    """Copy files, all of them or none; ``ready`` is called before they get their names."""
    partial = {name: target / f"{name}{PARTIAL}" for name in names}
    try:
        for name, path in partial.items():
            _copy_file(source / name, path, progress)
        if ready is not None:
            ready()
        for name, path in partial.items():
            path.replace(target / name)
    except OSError as error:
        raise SettingsError(f"The folder {target} cannot be written: {error.strerror or error}.") from error
    finally:
        for path in partial.values():
            for rest in (path, path.with_name(f"{path.name}-journal")):
                rest.unlink(missing_ok=True)


def _copy_file(source: Path, target: Path, progress: Progress) -> None:
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with snapshot(source) as reading:
        # The snapshot begins with the first thing read; without it, every commit would begin the copy anew.
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with closing(sqlite3.connect(target, isolation_level=None)) as writing:
            try:
                reading.backup(
                    writing,
                    pages=PAGES,
                    progress=lambda _status, left, total: progress(source.name, total - left, total),
                )
                writing.execute("PRAGMA journal_mode = DELETE")  # one plain file, also for a medium that is read-only
            except sqlite3.OperationalError as error:
                full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
                reason = "the disk is full" if full else str(error)
                raise SettingsError(
                    f"{source} cannot be copied to {target.parent}: {reason}. Nothing was left there."
                ) from error
