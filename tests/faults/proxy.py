"""A proxy that cuts: the first connections end after so many bytes of the answer, later ones pass."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
from typing import Self


class CuttingProxy:
    """Forward to a port of the loopback interface, and cut the n-th connection after ``cuts[n]`` bytes downstream.

    ``reset=True`` cuts with a RST in place of a FIN. Many clients at once say for themselves where to cut their first
    connection, with a header ``X-Cut: N`` that differs for each.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts: list[int] = []
        self.reset = False
        self.connections = 0
        self.delivered = 0
        self._asked: set[int] = set()
        self._open = True
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="cutting proxy")
        self._accepting.start()

    def cut_at(self, *cuts: int) -> None:
        """Cut the next connections after so many bytes each."""
        self.cuts = list(cuts)
        self.connections = self.delivered = 0

    def settle(self) -> int:
        """Wait until every connection is over; return the bytes delivered."""
        for thread in self._threads:
            thread.join()
        return self.delivered

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
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets |= {client, server}
            with contextlib.suppress(OSError):
                self._pump(client, server, limit)
            self._sockets -= {client, server}
            if limit is not None and self.reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                _shut(client)

    def _pump(self, client: socket.socket, server: socket.socket, limit: int | None) -> None:
        """Carry bytes both ways until one side ends or the limit is reached. One thread, so that a close is one."""
        while limit is None or limit > 0:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return
                if limit is None and (asked := self._asked_for(data)) is not None:
                    limit = asked
                server.sendall(data)
            if server in ready:
                data = server.recv(65536 if limit is None else limit)
                if not data:
                    return
                client.sendall(data)
                self.delivered += len(data)
                limit = None if limit is None else limit - len(data)

    def _asked_for(self, request: bytes) -> int | None:
        """Return where this client wants its connection cut, the first time it says so."""
        match = re.search(rb"(?i)\r\nx-cut: ([0-9]+)\r\n", request)
        if match is None or (cut := int(match[1])) in self._asked:
            return None
        self._asked.add(cut)
        return cut


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
