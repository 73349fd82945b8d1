"""Connections to the server's own HTTP: uvicorn's protocol within our limits, and what takes a connection over.

`HttpExchange` is the client, and the two directions between it and the server; `Transport` is what asyncio has at the
server's end of it, `ListeningSocket` what its `Listener` accepts from. A direction carries bytes: they come later, in
order, in other pieces, and those of the server no further than the client has room. A connection may be lost at any
byte of either direction: closed, reset, or with no word to the other side.
"""

from __future__ import annotations

import asyncio
from asyncio.transports import _FlowControlMixin
from collections import deque
from typing import TYPE_CHECKING, Any

from tickertape.asgi.uvicorn_transport import ConnectionSubscriber

from .network import AsgiExchange, Exchange, Request
from .responses import BadResponse, Head, ResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from .network import Caller
    from .server import Server
    from .world import World

BEHIND_ANOTHER = 0.25
"""The share of requests that come through another server than uvicorn."""

READ = 262_144
"""Bytes that are read from a socket at once, as asyncio does."""

ADDRESS = ("127.0.0.1", 40_000)
HEALTH = Request("GET", "/healthz", {"host": "127.0.0.1:8000"})


def open_exchange(
    world: World, server: Server, request: Request, caller: Caller, *, cut_at: int | None = None
) -> Exchange:
    """Send a request on a connection of its own."""
    draw = world.randomness(f"way {len(server.exchanges)} of {server.name}").random()
    kind = AsgiExchange if draw < BEHIND_ANOTHER else HttpExchange
    return kind(world, server, request, caller, cut_at=cut_at)


class HttpExchange(Exchange):
    """One request, and for some clients another one behind it: at once, or when the first has been answered.

    ``cut_at`` counts the bytes of the response with its head. ``vanished`` says that the client is gone and the server
    cannot know; ``asked_again`` since when the second request is to be answered, if it is.
    """

    def __init__(
        self, world: World, server: Server, request: Request, caller: Caller, *, cut_at: int | None = None
    ) -> None:
        super().__init__(world, server, request, caller, cut_at=cut_at)
        random = self.random
        self.window = random.choice((self.window, self.window, 2000))
        self.full = random.choice((65_536, 65_536, 500, 0))  # bytes that asyncio gathers before it says so
        self.incoming = bytearray()  # what has come to the server and was not read
        self.closed = False  # and nothing comes after it
        self.reset = False  # and whoever reads or writes is told so
        self.vanished = False
        self.transport: Transport | None = None
        self.asked_again: float | None = None
        self._callers = deque([caller])
        self._responses = ResponseParser()
        self._uploaded = 0.0  # when the last byte that was sent reaches the server
        self._kept = random.random() < 0.6
        self._again = self._kept and random.random() < (0.5 if len(request.body) > READ // 4 else 0.2)
        self._next_at = random.choice((None, 0.0, 1.0)) if self._again else None
        self._stops_at = random.randrange(400) if random.random() < 0.03 else None  # the request is cut there

    # --- the client's end

    def _connected(self) -> None:
        """Send the request: it is on its way before the connection is accepted."""
        data = self.request.encode(keep=self._kept)
        if self._stops_at is not None and self._stops_at < len(data):
            self._upload(data[: self._stops_at])
            self._lose()
            return
        self._responses.due = 1
        at = data.index(b"\r\n\r\n") + 4
        if len(data) - at > READ // 4 and self.random.random() < 0.5:
            self._upload(data[:at])
            self._upload(data[at:])
        else:
            for piece in self._pieces(data):
                self._upload(piece)
        if self._next_at is not None:
            self.world.later(self._next_at, self.world.outside, self._ask_again)

    def _upload(self, data: bytes) -> None:
        self._to_server(lambda: self.incoming.extend(data))

    def _to_server(self, change: Callable[[], object]) -> None:
        """Have something reach the server's socket, in order."""
        self._uploaded = max(self._uploaded, self.world.now + self._delay())

        def reach() -> None:
            if not self.vanished:
                change()
                if self.transport is not None:
                    self.transport.wake()

        self.world.at(self._uploaded, self.server, reach)

    def _ask_again(self) -> None:
        """Send another request on this connection: ahead of the answer to the first, or after it."""
        if not self.lost:
            self._callers.append(_Health(self))
            self._responses.due += 1
            self._upload(HEALTH.encode(keep=True))
            if len(self._callers) == 1:
                self.asked_again = self.world.now

    def stall(self, seconds: float, window: int) -> None:
        super().stall(seconds, window)
        self.world.later(seconds + self._delay(), self.server, self._reopen)

    def _reopen(self) -> None:
        """Let the server know that there is room again."""
        if self.transport is not None:
            self.transport.wake()

    def cut(self) -> None:
        if self.lost:
            return
        self.lost = True
        self.asked_again = None
        draw = self.random.random()
        if draw < 0.15:
            self.vanished = True
            self.window = self.random.choice((0, 500, 5000))
        elif draw < 0.6:
            self._to_server(self._close)
        else:
            self._to_server(self._reset)

    def _close(self) -> None:
        self.closed = True

    def _reset(self) -> None:
        self.reset = True
        self.incoming.clear()

    def _lose(self) -> None:
        self.cut()
        for caller in self._callers:
            caller.ended(False)
        self._callers.clear()

    def _end(self, whole: bool) -> None:
        """Take the close of the connection: nothing is whole because of it."""
        self.lost = True
        self.asked_again = None
        for caller in self._callers:
            caller.ended(False)
        self._callers.clear()

    def _take(self, data: bytes) -> None:
        left = len(data) if self.cut_at is None else max(self.cut_at - self.taken, 0)
        self.taken += len(data)
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.world.later(self._delay(), self.server, self.transport.wake)
        try:
            for event in self._responses.feed(data[:left]):
                self._hand_on(event)
                if self.lost:
                    return
        except BadResponse as error:
            self.world.blame("HTTP", f"{self.request.path} at {self.server.name}: {error}")
            self._lose()
        else:
            if self.cut_at is not None and self.taken >= self.cut_at:
                self._lose()

    def _hand_on(self, event: Any) -> None:
        caller = self._callers[0]
        if isinstance(event, Head):
            self.status = event.status
            self._kept = self._kept and not event.closes
            caller.answered(event.status, event.headers)
        elif isinstance(event, bytes):
            caller.received(event)
        else:
            self._callers.popleft()
            caller.ended(True)
            self._answered()

    def _answered(self) -> None:
        """Go on after a response: wait for the next, send another request, close, or leave that to the server."""
        self.asked_again = None
        if self.lost:
            return
        if not self._kept:
            if self.random.random() < 0.5:
                self.cut()
        elif self._callers:
            self.asked_again = self.world.now
        elif self._again and self._next_at is None:
            self._again = False
            self.world.later(self.random.choice((0.0, 0.5, 2.0)), self.world.outside, self._ask_again)
        elif self.random.random() < 0.5:
            self.cut()

    # --- the server's end

    def _accept(self) -> None:
        self.server.socket.arrive(self)

    def setblocking(self, _flag: bool) -> None:
        """Be a socket for the `Listener`."""

    def accepted(self, protocol: asyncio.Protocol) -> None:
        """Have a protocol of the server serve it."""
        self.transport = Transport(self.server, self, protocol, self.full)
        self.server.call_soon(protocol.connection_made, self.transport)
        self.server.call_soon(self.transport.wake)

    def carry(self, data: bytes) -> int:
        """Take as much as there is room for; return how many bytes that is."""
        stalled = self.vanished or self.stalled_until > self.world.now
        window = self.window if stalled else max(self.window, 2000)
        size = max(min(window - (self.sent - self.taken), len(data)), 0)
        if size:
            self.sent += size
            if not self.lost:
                for piece in self._pieces(data[:size]):
                    self._later(lambda piece=piece: self._arrive(piece))
            elif not self.vanished:
                self._to_server(self._reset)  # as a host does that knows of no such connection
        return size

    def gone(self) -> None:
        """Close the socket: what was carried still comes, unless the server has not read all that was sent to it."""
        if not self.over:
            self.over = True
            self._later(self._drop if self.incoming else lambda: self._arrive(False))

    def _drop(self) -> None:
        if not self.lost:
            self._inbox.clear()
            self._end(False)

    def died(self) -> None:
        self.gone()

    @property
    def blocked_since(self) -> float | None:
        """Since when the server waits for a client that takes nothing, None if it does not."""
        return None if self.over or self.transport is None else self.transport.blocked_since


class _Health:
    """Who sends the second request: it is always answered."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange

    def answered(self, status: int, _headers: dict[bytes, bytes]) -> None:
        if status != 200:
            self._exchange.world.blame("HTTP", f"a second request on a connection was answered with {status}")

    def received(self, data: bytes) -> None:
        pass

    def ended(self, whole: bool) -> None:
        pass


class Transport(_FlowControlMixin, asyncio.Transport):
    """The server's end of a connection, as asyncio's selector loop has it; the flow control is asyncio's own."""

    def __init__(self, server: Server, exchange: HttpExchange, protocol: asyncio.Protocol, full: int) -> None:
        super().__init__({"peername": ADDRESS, "sockname": ("127.0.0.1", 8000)}, server)
        self._moved = server.time()  # when something of the buffer was last taken, or the server's part in it changed
        self._server, self._exchange, self._protocol = server, exchange, protocol
        self._buffer = bytearray()
        self._paused = self._closing = self._ended = self._lost = self._awake = False
        self.set_write_buffer_limits(full)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._moved = self._server.time()

    @property
    def blocked_since(self) -> float | None:
        """Since when it waits for its client, full or to be closed; None if it does not."""
        waits = self._buffer and (self._closing or self._protocol_paused)
        return self._moved if waits else None

    # --- reading

    def wake(self) -> None:
        """See in the next turn of the loop what can be read or written."""
        if not self._awake:
            self._awake = True
            self._server.call_soon(self._look)

    def _look(self) -> None:
        self._awake = False
        exchange = self._exchange
        if self._buffer:
            self._flush()
        if self._closing or self._paused:
            return
        if exchange.reset:
            self._force_close(ConnectionResetError("Connection reset by peer"))
        elif exchange.incoming:
            data = bytes(exchange.incoming[:READ])
            del exchange.incoming[:READ]
            self._protocol.data_received(data)
            self.wake()
        elif exchange.closed and not self._protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self.wake()

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    # --- writing

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes) -> None:
        if self._ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or not data:
            return
        if self._protocol_paused and isinstance(self._protocol, ConnectionSubscriber):
            self._server.world.blame("TT-8", f"{len(data)} bytes were written to a connection that takes nothing")
        if not self._buffer:
            if self._exchange.reset:
                self._force_close(BrokenPipeError("Broken pipe"))
                return
            data = data[self._exchange.carry(data) :]
            self._moved = self._server.time()
        self._buffer += data
        if not self._protocol_paused:
            self._maybe_pause_protocol()
            if self._protocol_paused:
                self._moved = self._server.time()

    def _flush(self) -> None:
        if self._exchange.reset:
            self._force_close(ConnectionResetError("Connection reset by peer"))
            return
        taken = self._exchange.carry(bytes(self._buffer))
        if not taken:
            return
        self._moved = self._server.time()
        del self._buffer[:taken]
        self._maybe_resume_protocol()
        if not self._buffer:
            if self._closing:
                self._lost = True
                self._lose(None)
            elif self._ended:
                self._shut()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and not self._ended:
            self._ended = True
            if not self._buffer:
                self._shut()

    def _shut(self) -> None:
        self._exchange._later(lambda: self._exchange._arrive(False))

    # --- the end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._moved = self._server.time()
            if not self._buffer:
                self._lost = True
                self._server.call_soon(self._lose, None)

    def abort(self) -> None:
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._buffer.clear()
            self._server.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._exchange.gone()


class ListeningSocket:
    """What a `Listener` accepts from."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._waiting: deque[HttpExchange] = deque()
        self._ready: Callable[[], object] | None = None

    def setblocking(self, _flag: bool) -> None:
        """It never blocks."""

    def arrive(self, exchange: HttpExchange) -> None:
        """Take a connection into the queue."""
        self._waiting.append(exchange)
        if self._ready is not None:
            self._server.call_soon(self._look)

    def accept(self) -> tuple[HttpExchange, tuple[str, int]]:
        """Give out the first of them."""
        if not self._waiting:
            raise BlockingIOError
        return self._waiting.popleft(), ADDRESS

    def watch(self, ready: Callable[[], object] | None) -> None:
        """Call this in every turn of the loop in which somebody waits."""
        self._ready = ready
        if ready is not None and self._waiting:
            self._server.call_soon(self._look)

    def close(self) -> None:
        """Reset all who wait."""
        while self._waiting:
            self._waiting.popleft().gone()

    def _look(self) -> None:
        if self._ready is not None and self._waiting:
            self._ready()
            if self._waiting:
                self._server.call_soon(self._look)
