"""A proxy that cuts: the first connections end after so many bytes of the answer, later ones pass."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Self


class CuttingProxy:
    """Forward to a port of the loopback interface, and cut the n-th connection after ``cuts[n]`` bytes downstream.

    ``reset=True`` cuts with a RST in place of a FIN. Set `cuts` anew to begin again.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts: list[int] = []
        self.reset = False
        self.connections = 0
        self.delivered = 0
        self._open = True
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="cutting proxy")
        self._accepting.start()

    def cut_at(self, *cuts: int) -> None:
        """Cut the next connections after so many bytes each."""
        self.cuts = list(cuts)
        self.connections = self.delivered = 0

    def close(self) -> None:
        self._open = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for sock in list(self._sockets):
            _shut(sock)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            limit = self.cuts[self.connections] if self.connections < len(self.cuts) else None
            self.connections += 1
            thread = threading.Thread(target=self._forward, args=(client, limit), name="cut connection")
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]
            thread.start()

    def _forward(self, client: socket.socket, limit: int | None) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets |= {client, server}
        upward = threading.Thread(target=self._upward, args=(client, server), name="cut connection, upward")
        upward.start()
        with contextlib.suppress(OSError):
            self._downward(client, server, limit)
        if limit is not None and self.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _shut(server)
        if limit is None or not self.reset:
            _shut(client)
        else:
            client.close()
        upward.join()
        for sock in (client, server):
            self._sockets.discard(sock)
            sock.close()

    def _downward(self, client: socket.socket, server: socket.socket, limit: int | None) -> None:
        while limit is None or limit > 0:
            data = server.recv(65536 if limit is None else limit)
            if not data:
                return
            client.sendall(data)
            self.delivered += len(data)
            limit = None if limit is None else limit - len(data)

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        _shut(server)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
