"""The blocking event source, and the transport under both blocking clients: urllib3 performs what a machine decides."""

from __future__ import annotations

import random
import threading
import time
from contextlib import nullcontext, suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Self

import urllib3

from tickertape.client.event_machine import CALL_TIMEOUT, Action, Call, EventMachine, Finished, ReadRefusal
from tickertape.client.pool import AWAITED, latin_1, strict_pool, what_was_lost
from tickertape.client.request import EXCERPT, EXCERPT_TIMEOUT, RequestTemplate, policy_with
from tickertape.errors import ConnectionFailed
from tickertape.sse.actions import Connect, Read, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tickertape.client.request import HttpRequest
    from tickertape.sse.actions import Policy, ReadyState
    from tickertape.sse.event import Event

READ_SIZE = 65_536
FAILURES = (urllib3.exceptions.HTTPError, OSError, ValueError)
"""What urllib3 and http.client raise for a connection that cannot be made, or is lost."""


class SyncTransport:
    """Performs the actions of one machine, one connection after another.

    One thread calls `perform`; any thread may call `close` and `call`. ``busy`` is held by the thread that is at the
    connection, because http.client does not bear being closed under a reading thread.
    """

    def __init__(
        self, machine: EventMachine, pool: urllib3.PoolManager | None, auth: str | Callable[[], str] | None
    ) -> None:
        self._machine = machine
        self._own_pool = pool is None
        self._pool = pool or strict_pool()
        self._auth = auth
        self._response: urllib3.BaseHTTPResponse | None = None
        self._awaited: socket.socket | None = None  # the socket from which the head of a response is to come
        self._closed = threading.Event()
        self._busy = threading.Lock()

    def perform(self) -> bool:
        """Perform the next action and report it; return False at the end. Raises the machine's error."""
        try:
            with self._busy:
                action = self._machine.next_action()
                if not isinstance(action, Finished):
                    self._perform(action)
                    return True
        except BaseException:
            self.close()
            raise
        self.close()
        if action.error is not None:
            raise action.error
        return False

    def call(self, request: HttpRequest) -> tuple[int, bytes]:
        """Return the status and the body of the response to a request of its own. Raises ConnectionFailed."""
        # Not from our own pool: it may have been closed, and a connection opened then would stay open.
        with strict_pool() if self._own_pool else nullcontext(self._pool) as pool:
            try:
                response = pool.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    redirect=False,
                    retries=False,
                    timeout=CALL_TIMEOUT,
                )
            except FAILURES as error:
                raise ConnectionFailed(f"{request.method} {request.url} failed: {error}.") from error
            return response.status, response.data

    def close(self) -> None:
        """Close the connection at once and wake the thread that waits at it."""
        self._machine.close()
        self._closed.set()
        if self._awaited is not None:
            _wake(self._awaited)
        response = self._response
        if response is not None:
            # It wakes a thread that is reading. It cannot once the connection went back to the pool, or is gone.
            with suppress(RuntimeError, ValueError, OSError):
                response.shutdown()
        # Otherwise the other thread, now awake, closes the rest.
        if self._busy.acquire(blocking=False):
            with suppress(OSError):
                self._drop()
            if self._own_pool:
                self._pool.clear()
            self._busy.release()

    def _perform(self, action: Action) -> None:
        match action:
            case Read():
                self._read()
            case Connect():
                self._connect(action)
            case ReadRefusal():
                self._machine.receive_refusal(self._excerpt())
            case Wait():
                self._closed.wait(action.seconds)
                self._machine.waited()
            case Call():
                try:
                    reply = self.call(action.request)
                except ConnectionFailed:
                    reply = None
                self._machine.receive_reply(reply)

    def _connect(self, connect: Connect) -> None:
        self._drop()
        machine, policy = self._machine, self._machine.policy
        request = machine.request(connect, self._authorization(connect))
        reset = AWAITED.set(self._await)
        try:
            self._response = self._pool.request(
                request.method,
                request.url,
                body=request.body,
                headers=latin_1(request.headers),
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=policy.connect_timeout, read=policy.read_timeout),
            )
        except FAILURES as error:
            machine.connection_lost(*what_was_lost(error), time.time())
            return
        finally:
            AWAITED.reset(reset)
            self._awaited = None
        machine.receive_head(self._response.status, self._response.headers, time.time())

    def _await(self, sock: socket.socket) -> None:
        self._awaited = sock
        if self._closed.is_set():
            _wake(sock)

    def _read(self) -> None:
        assert self._response is not None  # noqa: S101 - a Read comes after a response
        try:
            data = self._response.read1(READ_SIZE)
        except FAILURES as error:
            self._machine.connection_lost(*what_was_lost(error), time.time())
            return
        if data:
            self._machine.receive_data(data)
        else:
            self._machine.receive_eof(time.time())

    def _excerpt(self) -> bytes:
        assert self._response is not None  # noqa: S101 - a refusal is a response
        connection = self._response.connection
        if connection is not None and connection.sock is not None:  # type: ignore[attr-defined]
            connection.sock.settimeout(EXCERPT_TIMEOUT)  # type: ignore[attr-defined]
        try:
            return self._response.read(EXCERPT)
        except FAILURES:
            return b""

    def _authorization(self, connect: Connect) -> str | None:
        if not connect.same_origin:
            return None
        return self._auth() if callable(self._auth) else self._auth

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()


def _wake(sock: socket.socket) -> None:
    with suppress(OSError):  # it was closed in the same moment
        sock.shutdown(SHUT_RDWR)


class EventSource:
    """The events of a stream, over all its connections: iterate it, in a ``with`` block that closes it.

    Use it to follow any event stream in a program without asyncio; `AsyncEventSource` is the same for asyncio, `ask`
    is for answers. It is the standard's EventSource, with a method, headers and a body. After a cut it connects again
    and names the last event; iteration ends when the server answers 204 or `close` is called, and raises
    ConnectionFailed for any other final response, EventTooLarge for an event beyond ``max_event_size`` bytes. Times
    are in seconds.

    A request whose method is not idempotent, a POST, is sent once: the reconnect reads the ``Location`` that the
    server named in its response. Without one the stream ends with its connection, a clean end quietly, a broken
    one with ConnectionFailed. ``repost=True`` sends it again all the same.

    ``auth`` is the value of ``Authorization``, or a callable that returns it and is called for every connection; it
    never follows a redirect to another origin. ``read_timeout`` is the silence after which a connection counts as
    lost. ``max_retries`` is how many connections in a row may bring no event, 0: connect once. ``recover=True`` also
    comes back after a 5xx or 429 on a reconnect, where the standard gives up. ``policy`` has the rest.

    ``on_open`` gets the headers of each response, ``on_comment`` each comment, ``on_reconnect`` each `Wait`; they may
    raise, which closes the source. ``pool`` is a urllib3 pool manager of yours and stays open; without one, a proxy
    that the environment names is used (`tickertape.util.proxy`).

    Thread safety: one thread iterates, and callbacks run in it; any thread may call `close`. Nothing is sent before
    the iteration starts.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str | None = None,
        json: Any = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: str | Callable[[], str] | None = None,
        last_event_id: str = "",
        reconnection_time: float | None = None,
        read_timeout: float | None = None,
        max_retries: int | None = None,
        recover: bool | None = None,
        repost: bool | None = None,
        policy: Policy | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
        pool: urllib3.PoolManager | None = None,
        on_open: Callable[[Mapping[str, str]], object] | None = None,
        on_comment: Callable[[str], object] | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        self._machine = EventMachine(
            url,
            RequestTemplate(method, json, body, headers),
            policy_with(
                policy,
                reconnection_time=reconnection_time,
                read_timeout=read_timeout,
                max_retries=max_retries,
                recover=recover,
                repost=repost,
            ),
            random=random.random,
            last_event_id=last_event_id,
            max_event_size=max_event_size,
            on_open=on_open,
            on_comment=on_comment,
            on_reconnect=on_reconnect,
        )
        self._transport = SyncTransport(self._machine, pool, auth)

    @property
    def last_event_id(self) -> str:
        """The ID of the last event handed out: give it to another source to go on from there, another day."""
        return self._machine.last_event_id

    @property
    def state(self) -> ReadyState:
        """Where the source stands now."""
        return self._machine.state

    @property
    def location(self) -> str | None:
        """The URL that the server gave the stream in its response to a POST; None if it gave none."""
        return self._machine.location

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while (event := self._machine.next_event()) is None:
            if not self._transport.perform():
                raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection at once; from any thread, and as often as you like.

        A thread that waits for the next event sees the iteration end. With a pool of yours, one that waits for the
        head of a response sees it only once that has come.
        """
        self._transport.close()
