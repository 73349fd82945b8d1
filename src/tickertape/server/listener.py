"""Accepts connections: a few per turn of the event loop, up to a limit, and without spinning at EMFILE.

asyncio's own server asks the kernel on for as many connections as its backlog when descriptors run out, logs each
failure, and starts a timer for each: megabytes of log a second, and a loop that is busy with nothing else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from tickertape.server.http_protocol import Connections

logger = logging.getLogger("tickertape")

TURN = 64
"""Connections that are accepted in one turn of the event loop: of thousands that come at once, the first ones stream
before the last ones take memory for their requests. An open stream costs 11 kB with 32, 13 with 64, 17 with 128, 21
without; but a saturated loop turns seldom, and with 32 the 500 connections that came every second had to wait."""

SPARE = 64
"""Connections beyond the limit that are accepted only to be answered with 503."""

PARKED = 1.0
"""Seconds until the next try after an accept that failed, unless a connection is closed before."""

SAID = 60.0
"""Seconds between two lines in the log about the same."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts from one listening socket, in its event loop; `close` when no more is to be accepted.

    The shape of `asyncio.Server` as far as uvicorn needs it.
    """

    def __init__(self, sock: socket.socket, connections: Connections) -> None:
        self._socket = sock
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._said = float("-inf")
        sock.setblocking(False)
        connections.on_close = self._go_on
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more. Those that were accepted are served."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket)
            if self._retry is not None:
                self._retry.cancel()

    async def wait_closed(self) -> None:
        """Return at once: uvicorn waits for the connections by itself."""

    def _accept(self) -> None:
        connections = self._connections
        for _ in range(TURN):
            if connections.full:
                self._say(f"{connections.open} connections are open, the limit is {connections.limits.connections}")
                if connections.make_room():
                    return  # it is there in the next turn
                if connections.open >= connections.limits.connections + SPARE:
                    self._park()
                    return
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._say(f"No connection can be accepted: {error.strerror or error}")
                if error.errno in _EXHAUSTED:
                    connections.make_room()
                    self._park()
                return
            connection.setblocking(False)
            connections.open += 1
            task = self._loop.create_task(self._connect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._connections.protocol, connection)

    def _park(self) -> None:
        """Leave new connections to the kernel's queue, until one is closed or a second is over."""
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(PARKED, self._go_on)

    def _go_on(self) -> None:
        if self._retry is not None and not self._closed:
            self._retry.cancel()
            self._retry = None
            self._loop.add_reader(self._socket, self._accept)

    def _say(self, sentence: str) -> None:
        now = self._loop.time()
        if now >= self._said + SAID:
            self._said = now
            logger.warning("%s. Connections on which nothing happens are closed to make room", sentence)
