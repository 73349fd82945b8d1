"""A server that does everything wrong on purpose, and each wrong thing has a name.

It speaks HTTP over raw sockets, as a library would refuse to lie. A *play* is what happens on one connection: a
function that gets the `Connection`. `FaultServer.serve` gives a list of plays a URL of its own: the first request
gets the first play, the next the next, and the last play is repeated for ever. What was asked is kept in
`Script.requests`.

No play sleeps. One that stalls waits until the client goes away or the server closes.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Play = Callable[["Connection"], None]

EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass
class Received:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, bytes]
    body: bytes
    at: float

    @property
    def last_event_id(self) -> bytes | None:
        return self.headers.get("last-event-id")


@dataclass
class Script:
    """The plays of one URL and what was asked of it."""

    url: str
    plays: list[Play]
    requests: list[Received] = field(default_factory=list)
    opened: int = 0
    closed_by_client: threading.Event = field(default_factory=threading.Event)


class Connection:
    """One connection, with a request read and an answer owed."""

    def __init__(self, sock: socket.socket, request: Received, script: Script) -> None:
        self.sock = sock
        self.request = request
        self.script = script
        self.chunked = False
        self.reusable = False
        """Whether the head promised that the connection stays open after the body."""

    def head(self, status: int = 200, *, content_type: str | None = EVENT_STREAM, chunked: bool = False, **more: str):
        """Send a status line and headers; ``Content_Length="9"`` becomes a header."""
        lines = [f"HTTP/1.1 {status} Status"]
        lines += [f"Content-Type: {content_type}"] if content_type is not None else []
        lines += ["Transfer-Encoding: chunked"] if chunked else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        self.reusable = chunked or "Content_Length" in more or status == 204
        lines += [] if self.reusable else ["Connection: close"]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.chunked = chunked

    def send(self, data: bytes) -> None:
        """Send a piece of the body, in a chunk of its own if the answer is chunked."""
        self.sock.sendall(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked and data else data)

    def end(self) -> None:
        """End a chunked body as it should be."""
        if self.chunked:
            self.sock.sendall(b"0\r\n\r\n")

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def stall(self) -> None:
        """Say nothing more until the client goes away."""
        try:
            while self.sock.recv(1024):
                pass
        except OSError:
            pass
        self.script.closed_by_client.set()


class FaultServer:
    """Serves plays on a free port of the loopback interface, a thread for each connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._scripts: dict[str, Script] = {}
        self._numbers = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._open = True
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="fault server")
        self._accepting.start()

    def serve(self, *plays: Play, path: str = "") -> Script:
        """Give these plays a URL."""
        where = f"/{next(self._numbers)}{path}"
        self._scripts[where] = script = Script(
            f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}{where}", list(plays)
        )
        return script

    def script_at(self, target: str) -> Script | None:
        """Find the script for a request: its path, or the longest beginning of it."""
        path = target.partition("?")[0]
        while path:
            if path in self._scripts:
                return self._scripts[path]
            path = path.rpartition("/")[0]
        return None

    def close(self) -> None:
        self._open = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while self._open:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(sock)
            thread = threading.Thread(target=self._converse, args=(sock,), name="fault connection")
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]
            thread.start()

    def _converse(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.add(sock)
            while self._one(sock):
                pass
        except OSError:
            pass  # the client went away; that is its right
        finally:
            self._sockets.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            sock.close()

    def _one(self, sock: socket.socket) -> bool:
        request = _read_request(sock)
        if request is None:
            return False
        script = self.script_at(request.target)
        if script is None:
            sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        number, script.opened = script.opened, script.opened + 1
        script.requests.append(request)
        connection = Connection(sock, request, script)
        script.plays[min(number, len(script.plays) - 1)](connection)
        return connection.reusable and sock.fileno() >= 0


def _read_request(sock: socket.socket) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers = {name.decode().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    while len(body) < int(headers.get("content-length", b"0")):
        body += sock.recv(65536)
    return Received(method, target, headers, body, time.monotonic())


# The plays. Each is a function of a connection, or makes one.


def events(*bodies: bytes, chunked: bool = True, content_type: str = EVENT_STREAM, **headers: str) -> Play:
    """Send these pieces, one write each, and end as one should."""

    def play(connection: Connection) -> None:
        connection.head(content_type=content_type, chunked=chunked, **headers)
        for body in bodies:
            connection.send(body)
        connection.end()

    return play


def one_by_one(body: bytes, *, chunked: bool = True) -> Play:
    """Trickle: every byte in a write, and a chunk, of its own. It splits UTF-8 and CRLF too."""
    return events(*(body[i : i + 1] for i in range(len(body))), chunked=chunked)


def silence(body: bytes = b"", *, chunked: bool = True) -> Play:
    """Send this, then stall with the connection open."""

    def play(connection: Connection) -> None:
        connection.head(chunked=chunked)
        connection.send(body)
        connection.stall()

    return play


def never_answering(connection: Connection) -> None:
    """Take the request and say nothing at all."""
    connection.stall()


def reset_after(body: bytes, *, chunked: bool = True) -> Play:
    """Send this, wait until the client has surely read it (it says so by `release`), then send a RST."""

    def play(connection: Connection) -> None:
        connection.head(chunked=chunked)
        connection.send(body)
        play.release.wait(10)
        connection.reset()

    play.release = threading.Event()
    return play


def truncated(body: bytes, kind: str) -> Play:
    """End in the middle: of a chunk, before the last chunk, or before Content-Length is reached."""

    def play(connection: Connection) -> None:
        match kind:
            case "inside a chunk":
                connection.head(chunked=True)
                connection.sock.sendall(b"%x\r\n%s" % (len(body) + 100, body))
            case "before the last chunk":
                connection.head(chunked=True)
                connection.send(body)
            case "before Content-Length":
                connection.head(Content_Length=str(len(body) + 100))
                connection.sock.sendall(body)
        connection.reusable = False

    return play


def no_head(connection: Connection) -> None:
    """Close before the response head."""


def half_a_head(connection: Connection) -> None:
    """Close in the middle of the response head, right after a whole header line."""
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")


def status(code: int, body: bytes = b"", *, content_type: str | None = "application/json", **headers: str) -> Play:
    """Answer with this status."""

    def play(connection: Connection) -> None:
        connection.head(
            code, content_type=content_type, **headers, **({} if code == 204 else {"Content_Length": str(len(body))})
        )
        connection.sock.sendall(body)

    return play


def redirect(code: int, location: str | None) -> Play:
    """Redirect there; ``{url}`` in it is the script's own URL."""

    def play(connection: Connection) -> None:
        target = {} if location is None else {"Location": location.replace("{url}", connection.script.url)}
        connection.head(code, content_type=None, Content_Length="0", **target)

    return play


def gzipped(*bodies: bytes) -> Play:
    """Send each piece compressed and flushed, in one gzip stream."""
    import zlib

    def play(connection: Connection) -> None:
        connection.head(chunked=True, Content_Encoding="gzip")
        squeeze = zlib.compressobj(wbits=31)
        for body in bodies:
            connection.send(squeeze.compress(body) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        connection.send(squeeze.flush())
        connection.end()

    return play


def gzip_cut(body: bytes) -> Play:
    """Send a gzip stream that lacks its second half."""
    packed = gzip.compress(body)

    def play(connection: Connection) -> None:
        connection.head(chunked=True, Content_Encoding="gzip")
        connection.send(packed[: len(packed) // 2])
        connection.end()

    return play


def endless(piece: bytes, *, limit: int = 1 << 34) -> Play:
    """Send this again and again until the client has had enough, or the limit in bytes is reached."""

    def play(connection: Connection) -> None:
        connection.head(chunked=False)
        block = piece * max(1, 65536 // len(piece))
        sent = 0
        while sent < limit:
            connection.sock.sendall(block)
            sent += len(block)

    return play


def resumable(log: list[bytes], *, after_end: int = 204) -> Play:
    """Serve a log whose entries are whole frames with the ids 1, 2, …: what `Last-Event-ID` says is left out.

    A reader that has had everything is answered with 204, as a finished stream should be.
    """

    def play(connection: Connection) -> None:
        have = int(connection.request.last_event_id or b"0")
        if have >= len(log):
            connection.head(after_end, content_type=None)
            return
        connection.head(chunked=True)
        for frame in log[have:]:
            connection.send(frame)
        connection.end()

    return play
