"""An event source for asyncio on aiohttp: performs what `tickertape.sse.reconnect` decides, nothing more."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tickertape.client.connections import HEAD_LIMITS, proxy_failure, through, words_of
from tickertape.client.hangup import hang_up
from tickertape.client.request import EXCERPT, EXCERPT_TIMEOUT, Request, chosen, failed, tell
from tickertape.errors import SettingsError
from tickertape.proxy import proxy_for
from tickertape.sse.actions import Connect, Loss, Read, State, Stop, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.sse.reconnect import Reconnector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from tickertape.proxy import Proxy
    from tickertape.sse.actions import Policy
    from tickertape.sse.event import Event


class AsyncEventSource:
    """The events of a stream, over all its connections: ``async for`` it, in an ``async with`` that closes it.

    The asyncio twin of `tickertape.EventSource`, which see: the same arguments, names and promises. ``auth`` may
    be a coroutine function. ``session`` is an aiohttp session of yours and stays open; proxies are its matter then.
    Cancelling a task that waits for the next event closes the connection at once, and the source with it.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str | None = None,
        json: Any = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: str | Callable[[], str | Awaitable[str]] | None = None,
        last_event_id: str = "",
        reconnection_time: float | None = None,
        read_timeout: float | None = None,
        max_retries: int | None = None,
        recover: bool | None = None,
        repost: bool | None = None,
        policy: Policy | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
        session: aiohttp.ClientSession | None = None,
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
        self._own_session = session is None
        self._session = session
        self._proxy: Proxy | None = None
        self._on_open = on_open
        self._on_reconnect = on_reconnect
        self._action: Connect | Read | Wait | Stop = self._machine.connect()
        self._events: deque[Event] = deque()
        self._response: aiohttp.ClientResponse | None = None
        self._opening: asyncio.Task[aiohttp.ClientResponse] | None = None
        self._closed = asyncio.Event()

    @property
    def state(self) -> State:
        """Where the source stands now."""
        return self._machine.state

    @property
    def location(self) -> str | None:
        """The URL that the server gave the stream in answer to a POST; None if it gave none."""
        return self._machine.location

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._events:
            try:
                await self._advance()
            except BaseException:  # a cancellation too
                await self.close()
                raise
        event = self._events.popleft()
        self.last_event_id = event.id
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection at once. A task that waits for the next event sees the iteration end."""
        self._closed.set()
        self._machine.close()
        if self._opening is not None:
            self._opening.cancel()
        self._drop()
        if self._own_session and self._session is not None:
            await self._session.close()

    async def _advance(self) -> None:
        """Perform actions until there is an event; raise StopAsyncIteration when there will be none."""
        while not self._events:
            if self._closed.is_set():
                raise StopAsyncIteration
            match self._action:
                case Read():
                    self._action = await self._read(self._action)
                case Connect():
                    self._action = await self._connect(self._action)
                case Wait():
                    tell(self._action, self._on_reconnect)
                    await self._pause(self._action.seconds)
                    self._action = self._machine.connect()
                case Stop():
                    if self._action.error is not None:
                        raise failed(self._action, await self._excerpt())
                    raise StopAsyncIteration

    async def _connect(self, connect: Connect) -> Connect | Read | Wait | Stop:
        self._drop()
        self.last_event_id = self._machine.last_event_id  # an ID without an event counts, once all before is out
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), middlewares=(_once,), **HEAD_LIMITS
            )
        headers = self._request.headers_for(connect, await self._authorization(connect))
        if connect.last_event_id:
            headers["last-event-id"] = connect.last_event_id.decode()  # aiohttp writes headers in UTF-8
        if self._closed.is_set():
            return Stop()
        self._opening = asyncio.ensure_future(self._send(self._session, connect, headers))
        try:
            self._response = await self._opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed.is_set() or task is None or task.cancelling():
                raise
            return Stop()
        except (aiohttp.ClientError, OSError, ValueError, SettingsError) as error:
            return self._lost(error)
        finally:
            self._opening = None
        found = {name.lower(): value for name, value in self._response.headers.items()}
        action = self._machine.answered(self._response.status, found, time.time())
        if isinstance(action, Read) and self._on_open is not None:
            self._on_open(found)
        return action

    async def _send(
        self, session: aiohttp.ClientSession, connect: Connect, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        if self._own_session:
            self._proxy = None  # until the environment was read, which may fail
            self._proxy = proxy_for(connect.url)
        return await session.request(
            connect.method,
            connect.url,
            data=self._request.body_for(connect),
            **through(self._proxy, connect.url, headers),
            allow_redirects=False,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._policy.connect_timeout, sock_read=self._policy.read_timeout
            ),
        )

    async def _read(self, read: Read) -> Read | Wait | Stop:
        assert self._response is not None  # noqa: S101 - a Read comes after an answer
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self._lost(error)
        if not chunk:
            return self._machine.lost(Loss.ENDED, "", time.time())
        self._events.extend(self._machine.feed(chunk))
        return read

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    def _lost(self, error: Exception) -> Wait | Stop:
        loss, detail = _loss(error)
        if self._proxy is not None and loss in (Loss.UNREACHABLE, Loss.FUTILE):
            detail += f" (through {self._proxy})"
        return self._machine.lost(loss, detail, time.time())

    async def _authorization(self, connect: Connect) -> str | None:
        if not connect.same_origin or self._auth is None:
            return None
        value = self._auth if isinstance(self._auth, str) else self._auth()
        return await value if isawaitable(value) else value

    async def _excerpt(self) -> bytes:
        """Read a little of a refusal's body, for the sake of the message in it."""
        if self._response is None:
            return b""
        try:
            async with asyncio.timeout(EXCERPT_TIMEOUT):
                return await self._response.content.read(EXCERPT)
        except (aiohttp.ClientError, OSError, ValueError):
            return b""

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            hang_up(response)


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: when to do that is the machine's to decide."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientPayloadError(str(error)) from error


def _loss(error: Exception) -> tuple[Loss, str]:
    """Return how the connection was lost, as told by aiohttp, and in its words."""
    match error:
        case aiohttp.ClientSSLError():
            return Loss.FUTILE, str(error)
        case aiohttp.ClientHttpProxyError(status=407):
            return Loss.FUTILE, proxy_failure(error)
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            return Loss.UNREACHABLE, proxy_failure(error)
        case aiohttp.ClientConnectorError():
            return Loss.UNREACHABLE, words_of(error.os_error)
        case aiohttp.ConnectionTimeoutError():
            return Loss.UNREACHABLE, str(error)
        case aiohttp.SocketTimeoutError():
            return Loss.SILENT, ""
        case aiohttp.InvalidURL():
            return Loss.FUTILE, str(error)
        case SettingsError():
            return Loss.FUTILE, str(error)
        case _ if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            return Loss.FUTILE, str(error)
        case _:
            return Loss.BROKEN, str(error)
