"""Login sessions: one small file each, so that every worker sees them and a restart keeps them.

The cookie holds a random token; the file is named by the token's digest and says whose session it is. Who reads the
folder can sign nobody in with it, and who deletes a file, or the folder, signs out. A session ends with its key: it
counts as long as its owner is one of the server's.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import ApiError
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("tickertape")

FOLDER = "sessions"

MOST = 1000
"""Sessions that are kept; the next one ends the oldest."""


class Session(msgspec.Struct, frozen=True):
    """What a file holds."""

    owner: str
    begun: float
    """Seconds since 1970."""


class Sessions:
    """The sessions in a data folder. They end ``lifetime`` seconds after they were begun."""

    def __init__(self, data: Path, lifetime: float) -> None:
        self._folder = data / FOLDER
        self._lifetime = lifetime

    def begin(self, owner: str) -> str:
        """Begin a session; return its token. Raises ApiError (503) when it cannot be kept."""
        token = secrets.token_urlsafe(32)
        path = self._path(token)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            # Written whole before it has its name: another worker may look at any moment.
            part = path.with_suffix(".part")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(Session(owner, time.time())))
            part.replace(path)
        except OSError as error:
            logger.error("A session cannot be kept in %s: %s", self._folder, error.strerror or error)
            raise ApiError(
                "The server cannot keep a session now; its own log says why. Send the key with each request instead.",
                status=503,
                type="server_error",
                code="sessions_unavailable",
            ) from error
        return token

    def owner(self, token: str) -> str | None:
        """Return whose session this is; None for one that never was, is over, or was ended."""
        try:
            session = msgspec.json.decode(self._path(token).read_bytes(), type=Session)
        except (OSError, *UNREADABLE):
            return None
        return session.owner if time.time() < session.begun + self._lifetime else None

    def end(self, token: str) -> None:
        """End a session, if there is one."""
        try:
            self._path(token).unlink(missing_ok=True)
        except OSError as error:
            logger.error("A session cannot be ended in %s: %s", self._folder, error.strerror or error)
            raise ApiError(
                "The server cannot end the session now; its own log says why.",
                status=503,
                type="server_error",
                code="sessions_unavailable",
            ) from error

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(b"tickertape session " + token.encode()).hexdigest()

    def _tidy(self) -> None:
        """Delete what is over, and the oldest ones beyond `MOST`."""
        ages = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(self._folder))
        over = time.time() - self._lifetime
        for number, (written, path) in enumerate(ages):
            if written < over or number <= len(ages) - MOST:
                os.unlink(path)
