"""A rolling restart: the next process takes the listening socket over from the one that runs.

Whoever serves a data folder waits at a Unix socket in it. The next one connects there and gets the listening socket
itself, so both have one queue of new connections and none is refused or reset in between. Once the next one
answers, it says so, and the old one ends in order: it cuts its readers, who reconnect and land at the next, and
lets its answers finish, which the next shows from the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("tickertape")

SOCKET = "serve.sock"
STARTED = b"started"

TIMEOUT = 60.0
"""Seconds. What the next process may take to start, the loading of a model included."""


RETRY = 5.0
"""Seconds until the next process is waited for again, where that failed."""


class Handover(threading.Thread):
    """Waits for the next process and hands the listening socket to it, then signals this process to end.

    If another server of this folder waits there already, it stays the one to take over from, unless this one was
    started to ``replace`` it.
    """

    def __init__(self, data: Path, listener: socket.socket, *, replace: bool = False) -> None:
        super().__init__(name="tickertape-handover", daemon=True)
        self._path = data / SOCKET
        self._listener = listener
        self._gate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if not replace and _answers(self._path):
            self._gate.close()
            logger.warning("Another server uses %s too: --takeover takes over from that one, not from this one", data)
            return
        previous = os.umask(0o077)  # only this user may take over
        try:
            self._path.unlink(missing_ok=True)  # left by a process that was killed, or of the one we took over from
            self._gate.bind(str(self._path))
            self._gate.listen(1)
        except OSError as error:  # the path of a Unix socket has some 100 bytes; or the file system has none
            self._gate.close()
            logger.warning("No process can take over from this one: %s: %s", self._path, error)
        finally:
            os.umask(previous)

    def run(self) -> None:
        """Serve one process after another, until one has taken over."""
        while self._gate.fileno() >= 0:
            try:
                visitor, _address = self._gate.accept()
            except OSError as error:  # no free descriptors, say; the next process tries for longer than that
                logger.warning("No process can take over from this one just now: %s", error.strerror or error)
                time.sleep(RETRY)
                continue
            with visitor, contextlib.suppress(OSError):
                visitor.settimeout(TIMEOUT)
                socket.send_fds(visitor, [b"socket"], [self._listener.fileno()])
                if visitor.recv(len(STARTED)) == STARTED:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return


def _answers(path: Path) -> bool:
    """Say whether a server waits at a socket; one that was killed has left it behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        try:
            visitor.connect(str(path))
        except OSError:
            return False
    return True


class Takeover:
    """The other side: gets the socket now, tells the old process once this one answers."""

    def __init__(self, data: Path) -> None:
        self._old = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._old.settimeout(TIMEOUT)
        try:
            self._old.connect(str(data / SOCKET))
            _message, fds, _flags, _address = socket.recv_fds(self._old, 16, 1)
        except OSError as error:
            raise SettingsError(
                f"There is no running server to take over from in {data}: {error.strerror or error}. "
                "Start without --takeover."
            ) from error
        if not fds:
            raise SettingsError(
                f"The server in {data} is about to exit and hands nothing over. Start without --takeover."
            )
        self.listener = socket.socket(fileno=fds[0])

    def started(self) -> None:
        """Let the old process end."""
        with contextlib.suppress(OSError):  # it is gone already
            self._old.sendall(STARTED)
        self._old.close()
