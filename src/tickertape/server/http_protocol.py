"""The limits of a connection before the app sees its request: time, size and number.

uvicorn has a timeout for kept connections and none else. Who sends a head or a body slowly, or without end, keeps a
connection, memory and CPU for as long as they like. `HttpProtocol` adds what is missing to uvicorn's protocol:

* a deadline for what the client has to do next. The phases and their deadlines are a table in `Phase`. One timer sweeps
  over all connections once a second, and rests while there are none: no timer, and no work, for a connection.
* counters. `data_received` counts the bytes of a head that is not complete yet, so that no parser ever gathers more
  than ``max_head`` and one read. A head that came in one piece is measured when it is complete.
* an answer in JSON to whoever breaks a limit, if no response has begun, and a close that lets them read it: the output
  is shut, and what still comes is thrown away for a while. A socket that is closed with input unread sends a reset,
  which can overtake the answer.

`Connections` is what all connections of a server share: the limits, how many are open, and the one timer.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from enum import Enum
from typing import TYPE_CHECKING, Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tickertape.errors import ApiError, InvalidRequest, error_object

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from uvicorn import Config
    from uvicorn._types import ASGI3Application

NEVER = float("inf")

SWEEP = 1.0
"""Seconds between two looks for what is overdue, or a quarter of the shortest timeout if that is less."""

LINGER = 2.0
"""Seconds in which somebody who was refused can read why, and in which what they still send is thrown away."""

MOST_DISCARDED = 4 << 20
"""Bytes that are thrown away behind a refusal, before the connection is reset."""

MOST_PIPELINED = 64
"""Requests that one connection may send ahead of their answers. One read can hold thousands."""

EVICTED = 16
"""At the limit, one in so many connections on which nothing happens is closed at once: finding them takes a look at
every connection, which is too dear for each new one."""


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """See the settings of the same names."""

    head_timeout: float
    body_timeout: float
    keep_alive: float
    send_timeout: float
    max_head: int
    max_headers: int
    connections: int


class Phase(Enum):
    """What a connection waits for, and until when."""

    IDLE = "the first byte of a request: head_timeout on a new connection, keep_alive on one that was answered"
    HEAD = "the rest of a head: head_timeout from its first byte"
    BODY = "the next byte of a body: body_timeout, unless it is the app that does not read"
    ANSWER = "the app: no deadline, but send_timeout while the client does not take what is written"
    DRAIN = "the rest of a body that was answered before it was read: body_timeout in all"
    CLOSING = "the client taking the last bytes: send_timeout, or `LINGER` after a refusal"


class _Refused(Exception):
    """Raised in a callback of the parser, which stops there."""


class Connections:
    """All connections of one server.

    ``on_close`` is called whenever one of them has been closed, ``on_refusal`` with the client's address and the status
    when it was refused before there was a request.
    """

    def __init__(self, config: Config, state: ServerState, app_state: dict[str, Any], limits: ConnectionLimits) -> None:
        self.config, self.state, self.app_state = config, state, app_state
        self.limits = limits
        self.open = 0
        self.on_close: Callable[[], object] = lambda: None
        self.on_refusal: Callable[[tuple[str, int] | None, int], object] = lambda _client, _status: None
        self._sweep = min(
            SWEEP, limits.head_timeout / 4, limits.body_timeout / 4, limits.keep_alive / 4, limits.send_timeout / 4
        )
        self._timer: asyncio.TimerHandle | None = None

    def protocol(self) -> HttpProtocol:
        """Return a protocol for a connection, new or given back."""
        return HttpProtocol(self)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that deadlines are looked at: there is a connection that has one."""
        if self._timer is None:
            self._timer = loop.call_later(self._sweep, self._look, loop)

    def closed(self) -> None:
        """Count a connection out."""
        self.open -= 1
        self.on_close()

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return self.open >= self.limits.connections

    def make_room(self) -> bool:
        """Close some of the connections on which nothing happens, those that have waited longest first.

        Slow uploads are closed only if there is nothing else; who is being answered never is. They are closed in the
        next turn of the event loop. Return whether there were any.
        """
        connections = [connection for connection in self.state.connections if isinstance(connection, HttpProtocol)]
        for phases in ((Phase.IDLE, Phase.HEAD, Phase.DRAIN), (Phase.BODY,)):
            waiting = sorted((one for one in connections if one.phase in phases), key=lambda one: one.deadline)
            for connection in waiting[: 1 + len(waiting) // EVICTED]:
                connection.phase = Phase.CLOSING
                connection.transport.abort()
            if waiting:
                return True
        return False

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        connections: Any = list(self.state.connections)
        for connection in connections:
            if connection.deadline <= now:
                connection.expire(now)
        if connections:
            self.watch(loop)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol within limits."""

    # Beside uvicorn's attributes: with more than 30 in the dictionary, a connection would take 1 kB more.
    __slots__ = ("_answering", "_beyond", "_content", "_received", "_refusal", "deadline", "phase", "shared")

    def __init__(self, shared: Connections) -> None:
        super().__init__(shared.config, shared.state, shared.app_state)
        self.shared = shared
        self.phase = Phase.IDLE
        self.deadline = NEVER
        self.url = b""
        self._answering: RequestResponseCycle | None = None  # `cycle` is the last request, which may wait behind it
        self._received = 0  # bytes of this head, or of this body with its framing
        self._content = 0  # bytes of this body
        self._beyond = shared.open > shared.limits.connections
        self._refusal: ApiError | None = None

    @property
    def connection(self) -> Connections:
        """What makes the next protocol of this connection, and counts it; see `uvicorn_transport.Connection`."""
        return self.shared

    # --- as asyncio's protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self.deadline = self.loop.time() + self.shared.limits.head_timeout
        self.shared.watch(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        handed_over = not self.transport.is_closing()  # to a stream's own protocol
        answering = self._answering
        if answering is not None and not answering.response_complete:  # uvicorn tells only the last request
            answering.disconnected = True
            answering.message_event.set()
        super().connection_lost(exc)
        if not handed_over:
            self.shared.closed()

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is Phase.CLOSING:
            self._received += len(data)
            if self._received > MOST_DISCARDED:
                self.transport.abort()
            return
        limits = self.shared.limits
        if phase is Phase.IDLE and not self._received:
            self.deadline = self.loop.time() + limits.head_timeout
        elif phase is Phase.BODY:
            self.deadline = self.loop.time() + limits.body_timeout
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidRequest("This is not an HTTP/1.1 request.", code="invalid_http"))
            return
        except httptools.HttpParserUpgrade:
            pass  # RFC 9110, section 7.8: a server may ignore it and answer
        phase = self.phase
        if phase is Phase.ANSWER:
            return
        if phase in (Phase.IDLE, Phase.HEAD) and self._received > limits.max_head:
            self._refuse(self._too_large())
        elif phase in (Phase.BODY, Phase.DRAIN) and self._received > limits.max_head + 8 * self._content:
            self._refuse(
                InvalidRequest("The body is mostly framing, or its trailers are too large.", code="invalid_http")
            )
        elif self.deadline == NEVER:
            timeout = limits.body_timeout if phase is Phase.BODY else limits.head_timeout
            self.deadline = self.loop.time() + timeout

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.phase is Phase.ANSWER:
            self.deadline = self.loop.time() + self.shared.limits.send_timeout

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.phase is Phase.ANSWER:
            self.deadline = NEVER

    # --- as the parser's protocol

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _Refused
        super().on_message_begin()
        self.phase = Phase.HEAD

    def on_headers_complete(self) -> None:
        limits = self.shared.limits
        if len(self.headers) > limits.max_headers:
            self._refusal = InvalidRequest(
                f"The request has {len(self.headers)} headers; at most {limits.max_headers} are allowed.",
                status=431,
                code="too_many_headers",
            )
        elif self._received > limits.max_head and self._size() > limits.max_head:
            self._refusal = self._too_large()
        elif self._beyond and self.shared.open > limits.connections:
            self._refusal = ApiError(
                f"This server has {limits.connections} connections, as many as it takes. Try again in a moment.",
                status=503,
                type="server_error",
                code="too_many_connections",
                retry_after=1,
            )
        if self._refusal is not None:
            raise _Refused
        self.phase, self.deadline = Phase.BODY, NEVER
        self._received = self._content = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._received = 0
        super().on_message_complete()
        self.phase, self.deadline = Phase.ANSWER, NEVER
        if self.cycle.response_complete:
            self._wait_for_next()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # --- as the response's

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.phase, self.deadline = Phase.CLOSING, self.loop.time() + self.shared.limits.send_timeout
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.phase is Phase.BODY:
            self.phase, self.deadline = Phase.DRAIN, self.loop.time() + self.shared.limits.body_timeout
        elif self.phase in (Phase.ANSWER, Phase.IDLE):
            self._wait_for_next()

    # --- limits

    def expire(self, now: float) -> None:
        """Do what is to be done after the deadline."""
        limits = self.shared.limits
        if self.phase is Phase.HEAD:
            self._refuse(
                InvalidRequest(
                    f"The head of the request did not come within {limits.head_timeout:g} s.",
                    status=408,
                    code="head_timeout",
                )
            )
        elif self.phase is Phase.IDLE:
            self.phase, self.deadline = Phase.CLOSING, now + limits.send_timeout
            self.transport.close()
        elif self.phase is Phase.BODY and self.flow.read_paused:
            self.deadline = now + limits.body_timeout
        elif self.phase is Phase.BODY:
            self._refuse(
                InvalidRequest(
                    f"Nothing of the request's body came for {limits.body_timeout:g} s.",
                    status=408,
                    code="body_timeout",
                )
            )
        else:
            self.transport.abort()

    def _wait_for_next(self) -> None:
        self._received = 0
        self.phase, self.deadline = Phase.IDLE, self.loop.time() + self.shared.limits.keep_alive

    def _refuse(self, error: ApiError) -> None:
        """Answer with the error and close; without an answer if that would land inside another response."""
        begun = self.cycle is not None and not self.cycle.response_complete
        inside = self.phase is not Phase.BODY or self.pipeline or (begun and self.cycle.response_started)
        if self.transport.is_closing() or (begun and inside):
            self.transport.abort()
            return
        if not begun:
            self.shared.on_refusal(self.client, error.status)
        body = msgspec.json.encode({"error": error_object(error)})
        head = [
            STATUS_LINE[error.status],
            b"content-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n",
            b"content-length: %d\r\n" % len(body),
            b"retry-after: 1\r\n" if error.retry_after else b"",
        ]
        head += [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join((*head, b"\r\n", body)))
        if begun:  # the app waits for the body: report a disconnect to it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.phase, self.deadline = Phase.CLOSING, self.loop.time() + LINGER
        self.flow.resume_reading()
        self.transport.write_eof()

    def _too_large(self) -> InvalidRequest:
        most = self.shared.limits.max_head
        if len(self.url) * 2 > self._received:
            return InvalidRequest(
                f"The request's address is longer than {most:,} bytes, the limit for a request's head.",
                status=414,
                code="address_too_long",
            )
        return InvalidRequest(
            f"The head of the request is larger than {most:,} bytes. Send fewer or smaller headers, or fewer cookies.",
            status=431,
            code="head_too_large",
        )

    def _size(self) -> int:
        """Return the bytes of a head that is complete, about."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)


class DatedState(ServerState):
    """uvicorn's state; the date is made when it is asked for, at most once a second, not by a timer."""

    def __init__(self) -> None:
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        now = int(time.time())
        if now != self._second:
            self._second, self._headers = now, [(b"date", formatdate(now, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        pass  # uvicorn's own, at the start
