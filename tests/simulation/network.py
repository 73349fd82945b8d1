"""The network between clients and processes: requests go in, bytes come out, later, in pieces, or not at all.

The client's end of a connection is a `Caller`. Here a connection carries one request straight to the ASGI app, as
other servers than uvicorn do; in `sockets` it ends at the server's own HTTP.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from tickertape.asgi.subscriber import Cut

if TYPE_CHECKING:
    from .server import Server
    from .world import World

WINDOW = 65_536
"""Bytes that are under way or unread before ``send`` waits, as a socket's buffer has it."""


class Caller(Protocol):
    """Who is told what comes of a request."""

    def answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Take the head of the response."""

    def received(self, data: bytes) -> None:
        """Take some of the body."""

    def ended(self, whole: bool) -> None:
        """Take the end; not ``whole`` when the connection was lost, before or after the head."""


class Request:
    """What is asked for."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body

    def encode(self, *, keep: bool) -> bytes:
        """Return it as HTTP/1.1 has it; without ``keep`` the connection is to be closed after the answer."""
        headers = dict(self.headers)
        if self.body or self.method == "POST":
            headers["content-length"] = str(len(self.body))
        if not keep:
            headers["connection"] = "close"
        head = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join((*head, "", "")).encode() + self.body

    def scope(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return it as ASGI has it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
            "client": ("127.0.0.1", 40_000),
            "server": ("127.0.0.1", 8000),
            "state": state.copy(),
            "extensions": {},
        }


class Exchange(ABC):
    """One request to one process, on a connection of its own.

    ``cut_at`` is the byte of the response after which the client is gone; ``window`` is how much it takes before it has
    to be read.
    """

    def __init__(
        self, world: World, server: Server, request: Request, caller: Caller, *, cut_at: int | None = None
    ) -> None:
        self.world, self.server, self.request, self.caller = world, server, request, caller
        self.random = world.randomness(f"connection {len(server.exchanges)} of {server.name}")
        self.window = WINDOW
        self.cut_at = cut_at
        self.sent = 0  # bytes that the server has handed over
        self.taken = 0  # of these, those that have arrived
        self.stalled_until = 0.0
        self.lost = False  # by the client, or with the server
        self.over = False  # the server has done with it
        self.vanished = False  # the client is gone, and the server cannot know
        self.status = 0
        self._arrival = 0.0
        self._inbox: deque[bytes | bool] = deque()
        server.exchanges.append(self)
        world.later(self._delay(), world.outside, self._connect)

    def _delay(self) -> float:
        """Draw how long something is under way."""
        draw = self.random.random()
        return 0.0002 if draw < 0.8 else 0.01 if draw < 0.95 else 0.25

    def _later(self, step: Any) -> None:
        """Have something happen at the client's end, in order."""
        self._arrival = max(self._arrival, self.world.now + self._delay())
        self.world.at(self._arrival, self.world.outside, step)

    def _pieces(self, data: bytes) -> list[bytes]:
        """Cut what was sent together anywhere, now and then."""
        if len(data) < 2 or self.random.random() < 0.8:
            return [data] if data else []
        at = self.random.randrange(1, len(data))
        return [data[:at], data[at:]]

    @abstractmethod
    def cut(self) -> None:
        """Hang up: nothing comes any more."""

    def stall(self, seconds: float, window: int) -> None:
        """Read nothing for so long; the server may send ``window`` bytes before it notices."""
        self.window = window
        self.stalled_until = self.world.now + seconds
        self.world.later(seconds, self.world.outside, self._read)

    def _arrive(self, event: bytes | bool) -> None:
        """Put what has come into the client's buffer: bytes, or the end and whether it is a proper one."""
        self._inbox.append(event)
        self._read()

    def _read(self) -> None:
        while self._inbox and not self.lost and self.stalled_until <= self.world.now:
            event = self._inbox.popleft()
            if isinstance(event, bool):
                self._end(event)
            else:
                self._take(event)

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Take what has arrived, and say so to the server."""

    @abstractmethod
    def _end(self, whole: bool) -> None:
        """Take the end."""

    def _connect(self) -> None:
        if self.server.dead or not self.server.listening:
            self._arrive(False)
        else:
            self.world.later(self._delay(), self.server, lambda: self.server.act(self._accept))
            self._connected()

    def _connected(self) -> None:  # noqa: B027 - to be overridden by those who have something to do
        """Go on at the client's end: there is somebody who listens."""

    @abstractmethod
    def _accept(self) -> None:
        """Begin to serve it, in its process."""

    @abstractmethod
    def died(self) -> None:
        """Close it from the server's side, whatever has been sent."""


class AsgiExchange(Exchange):
    """A request that another ASGI server hands to the app."""

    def __init__(
        self, world: World, server: Server, request: Request, caller: Caller, *, cut_at: int | None = None
    ) -> None:
        super().__init__(world, server, request, caller, cut_at=cut_at)
        self._headers: dict[bytes, bytes] = {}
        self._room: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._given = False

    # --- the client's end

    def cut(self) -> None:
        if not self.lost:
            self.lost = True
            self.world.later(self._delay(), self.server, lambda: self.server.act(self._hung_up))

    def _take(self, data: bytes) -> None:
        left = len(data) if self.cut_at is None else max(self.cut_at - self.taken, 0)
        self.taken += len(data)
        self.world.later(self._delay(), self.server, lambda: self.server.act(self._drained))
        if left:
            self.caller.received(data[:left])
        if self.cut_at is not None and self.taken >= self.cut_at and not self.lost:
            self.cut()
            self.caller.ended(False)

    def _end(self, whole: bool) -> None:
        self.lost = True
        self.caller.ended(whole)

    # --- the server's end

    def _accept(self) -> None:
        self.server.create_task(self._serve())

    async def _serve(self) -> None:
        self._gone = self.server.create_future()
        if self.lost:
            self._gone.set_result(None)
        try:
            await self.server.app(self.request.scope(self.server.state), self._receive, self._send)
        except (asyncio.CancelledError, Cut):
            pass  # what is done on purpose with a response that must not look whole
        except Exception as error:
            self.world.crashes.append(f"{self.server.name}: {self.request.path} raised {error!r}")
        if not self.over:
            self.died()  # as every server does with a response that was left unfinished

    async def _receive(self) -> dict[str, Any]:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        assert self._gone is not None
        await asyncio.shield(self._gone)
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if self.lost or self.over:
            return  # as uvicorn does
        if message["type"] == "http.response.start":
            self.status, self._headers = message["status"], dict(message.get("headers", ()))
            self._later(lambda: self.lost or self.caller.answered(self.status, self._headers))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if message["type"] != "http.response.body" or not isinstance(body, bytes):
            raise TypeError(f"This is no part of a response: {message!r:.80}")  # as every server does in its way
        self.sent += len(body)
        for piece in self._pieces(body):
            self._later(lambda data=piece: self._arrive(data))
        if not more:
            self.over = True
            self._later(lambda: self._arrive(True))
            assert self._gone is not None
            if not self._gone.done():
                self._gone.set_result(None)
        elif self.sent - self.taken > self.window:
            self._room = self.server.create_future()
            await self._room

    def _drained(self) -> None:
        if self._room is not None and not self._room.done() and (self.lost or self.sent - self.taken <= self.window):
            self._room.set_result(None)

    def _hung_up(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._drained()

    def died(self) -> None:
        self.over = True
        self._later(lambda: self._arrive(False))
