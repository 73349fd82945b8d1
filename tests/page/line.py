"""A line to a server that a test can cut and mend, as a train in a tunnel does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Line:
    """Forwards a port of its own to another one of the loopback interface."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._whole = True
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="line")]
        self._threads[0].start()

    def cut(self) -> None:
        """End all connections; new ones are ended too."""
        self._whole = False
        for end in list(self._sockets):
            _end(end)

    def mend(self) -> None:
        self._whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._reach() if self._whole else None
                if far is None:
                    near.close()
                    continue
                self._sockets |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._carry, args=(source, sink), name="line")
                    self._threads.append(thread)
                    thread.start()

    def _reach(self) -> socket.socket | None:
        """Connect to the server; None while it is not there."""
        try:
            return socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            return None

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        _end(sink)
        source.close()
        self._sockets.discard(source)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
