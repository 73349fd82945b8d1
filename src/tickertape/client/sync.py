"""A blocking event source on urllib3: performs what `tickertape.sse.reconnect` decides, nothing more."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import urllib3

from tickertape.client.pool import AWAITED, strict_pool, what_was_lost
from tickertape.client.request import EXCERPT, EXCERPT_TIMEOUT, Request, chosen, failed, tell
from tickertape.sse.actions import Connect, Loss, Read, State, Stop, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.sse.reconnect import Reconnector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from tickertape.sse.actions import Policy
    from tickertape.sse.event import Event

READ_SIZE = 65_536


class EventSource:
    """The events of a stream, over all its connections: iterate it, in a ``with`` block that closes it.

    It is the standard's EventSource, with a method, headers and a body. After a cut it connects again and names the
    last event; iteration ends when the server answers 204 or `close` is called, and raises ConnectionFailed for
    any other final answer, EventTooLarge for an event beyond ``max_event_size`` bytes. Times are in seconds.

    A request whose method is not idempotent, a POST, is sent once: the reconnect reads the ``Location`` that the
    server named in its answer. Without one the stream ends with its connection, a clean end quietly, a broken
    one with ConnectionFailed. ``repost=True`` sends it again all the same.

    ``auth`` is the value of ``Authorization``, or a callable that returns it and is asked for every connection; it
    never follows a redirect to another origin. ``read_timeout`` is the silence after which a connection counts as
    lost. ``max_retries`` is how many connections in a row may bring no event, 0: connect once. ``recover=True`` also
    comes back after a 5xx or 429 on a reconnect, where the standard gives up. ``policy`` has the rest.

    ``on_open`` gets the headers of each answer, ``on_comment`` each comment, ``on_reconnect`` each `Wait`; they may
    raise. ``pool`` is a urllib3 pool manager of yours and stays open; without one, a proxy that the environment names
    is used (`tickertape.proxy`). One thread iterates; any thread may `close`.
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
        self._request = Request(method, json, body, headers)
        self._policy = chosen(
            policy,
            reconnection_time=reconnection_time,
            read_timeout=read_timeout,
            max_retries=max_retries,
            recover=recover,
            repost=repost,
        )
        self._machine = Reconnector(
            url,
            method=self._request.method,
            policy=self._policy,
            last_event_id=last_event_id,
            on_comment=on_comment,
            max_event_size=max_event_size,
            random=random.random,
        )
        self.last_event_id = last_event_id
        """The ID of the last event handed out: where to go on in another program, another day."""
        self._auth = auth
        self._own_pool = pool is None
        self._pool = pool or strict_pool()
        self._on_open = on_open
        self._on_reconnect = on_reconnect
        self._action: Connect | Read | Wait | Stop = self._machine.connect()
        self._events: deque[Event] = deque()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._awaited: socket.socket | None = None  # where the head of an answer is to come from
        self._closed = threading.Event()
        self._busy = threading.Lock()  # held by the thread that is at the connection

    @property
    def state(self) -> State:
        """Where the source stands now."""
        return self._machine.state

    @property
    def location(self) -> str | None:
        """The URL that the server gave the stream in answer to a POST; None if it gave none."""
        return self._machine.location

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if not self._events:
            try:
                with self._busy:
                    self._advance()
            except BaseException:
                self.close()
                raise
        if self._closed.is_set():
            self.close()  # what the other thread could not, as this one was busy with the connection
            raise StopIteration
        event = self._events.popleft()
        self.last_event_id = event.id
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection at once. A thread that waits for the next event sees the iteration end.

        With a pool of yours, one that waits for the head of an answer sees it only once that has come.
        """
        self._closed.set()
        self._machine.close()
        if self._awaited is not None:
            self._wake(self._awaited)
        response = self._response
        if response is not None:
            # It wakes a thread that is reading. It cannot once the connection went back to the pool, or is gone.
            with suppress(RuntimeError, ValueError, OSError):
                response.shutdown()
        # http.client does not bear being closed under a reading thread: that thread, now awake, does it instead.
        if self._busy.acquire(blocking=False):
            with suppress(OSError):
                self._drop()
            if self._own_pool:
                self._pool.clear()
            self._busy.release()

    def _advance(self) -> None:
        """Perform actions until there is an event; raise StopIteration when there will be none."""
        while not self._events:
            if self._closed.is_set():
                raise StopIteration
            match self._action:
                case Read():
                    self._action = self._read(self._action)
                case Connect():
                    self._action = self._connect(self._action)
                case Wait():
                    tell(self._action, self._on_reconnect)
                    self._closed.wait(self._action.seconds)
                    self._action = self._machine.connect()
                case Stop():
                    if self._action.error is not None:
                        raise failed(self._action, self._excerpt())
                    raise StopIteration

    def _connect(self, connect: Connect) -> Connect | Read | Wait | Stop:
        self._drop()
        self.last_event_id = self._machine.last_event_id  # an ID without an event counts, once all before is out
        headers = self._request.headers_for(connect, self._authorization(connect))
        if connect.last_event_id:
            headers["last-event-id"] = connect.last_event_id.decode("latin-1")  # what http.client makes bytes of
        told = AWAITED.set(self._await)
        try:
            self._response = self._pool.request(
                connect.method,
                connect.url,
                body=self._request.body_for(connect),
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=self._policy.connect_timeout, read=self._policy.read_timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return self._lost(error)
        finally:
            AWAITED.reset(told)
            self._awaited = None
        found = {name.lower(): value for name, value in self._response.headers.items()}
        action = self._machine.answered(self._response.status, found, time.time())
        if isinstance(action, Read) and self._on_open is not None:
            self._on_open(found)
        return action

    def _await(self, sock: socket.socket) -> None:
        self._awaited = sock
        if self._closed.is_set():
            self._wake(sock)

    def _wake(self, sock: socket.socket) -> None:
        with suppress(OSError):  # it was closed in the same moment
            sock.shutdown(socket.SHUT_RDWR)

    def _read(self, read: Read) -> Read | Wait | Stop:
        assert self._response is not None  # noqa: S101 - a Read comes after an answer
        try:
            chunk = self._response.read1(READ_SIZE)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return self._lost(error)
        if not chunk:
            return self._machine.lost(Loss.ENDED, "", time.time())
        self._events.extend(self._machine.feed(chunk))
        return read

    def _lost(self, error: Exception) -> Wait | Stop:
        loss, detail = what_was_lost(error)
        return self._machine.lost(loss, detail, time.time())

    def _authorization(self, connect: Connect) -> str | None:
        if not connect.same_origin or self._auth is None:
            return None
        return self._auth if isinstance(self._auth, str) else self._auth()

    def _excerpt(self) -> bytes:
        """Read a little of a refusal's body, for the sake of the message in it."""
        if self._response is None:
            return b""
        connection = self._response.connection
        if connection is not None and connection.sock is not None:  # type: ignore[attr-defined]
            connection.sock.settimeout(EXCERPT_TIMEOUT)  # type: ignore[attr-defined]
        try:
            return self._response.read(EXCERPT)
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return b""

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()
