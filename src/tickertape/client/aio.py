"""The asyncio event source, and the transport under both asyncio clients: aiohttp performs what a machine decides."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tickertape.client.connections import HEAD_LIMITS, hang_up, proxy_failure, through, words_of
from tickertape.client.event_machine import CALL_TIMEOUT, Action, Call, EventMachine, Finished, ReadRefusal
from tickertape.client.request import EXCERPT, EXCERPT_TIMEOUT, RequestTemplate, policy_with
from tickertape.errors import ConnectionFailed, SettingsError
from tickertape.sse.actions import Connect, Loss, Read, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.util.proxy import proxy_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from tickertape.client.request import HttpRequest
    from tickertape.sse.actions import Policy, ReadyState
    from tickertape.sse.event import Event
    from tickertape.util.proxy import Proxy

FAILURES = (aiohttp.ClientError, OSError, ValueError)
"""What aiohttp raises for a connection that cannot be made, or is lost; a timeout is an OSError."""


class AsyncTransport:
    """Performs the actions of one machine, one connection after another.

    One task calls `perform`; any task of the same loop may call `close` and `call`. A `perform` that is cancelled
    closes the connection.
    """

    def __init__(
        self,
        machine: EventMachine,
        session: aiohttp.ClientSession | None,
        auth: str | Callable[[], str | Awaitable[str]] | None,
    ) -> None:
        self._machine = machine
        self._own_session = session is None
        self._session = session
        self._auth = auth
        self._proxy: Proxy | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._opening: asyncio.Task[aiohttp.ClientResponse] | None = None
        self._closed = asyncio.Event()

    async def perform(self) -> bool:
        """Perform the next action and report it; return False at the end. Raises the machine's error."""
        try:
            action = self._machine.next_action()
            if not isinstance(action, Finished):
                await self._perform(action)
                return True
        except BaseException:  # a cancellation too
            await self.close()
            raise
        await self.close()
        if action.error is not None:
            raise action.error
        return False

    async def call(self, request: HttpRequest) -> tuple[int, bytes]:
        """Return the status and the body of the response to a request of its own. Raises ConnectionFailed."""
        # Not from our own session: it may have been closed.
        session = aiohttp.ClientSession() if self._own_session or self._session is None else self._session
        try:
            proxy = proxy_for(request.url) if self._own_session else None
            async with session.request(
                request.method,
                request.url,
                allow_redirects=False,
                raise_for_status=False,
                timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT),
                **through(proxy, request.url, request.headers),
            ) as response:
                return response.status, await response.read()
        except (*FAILURES, SettingsError) as error:
            raise ConnectionFailed(f"{request.method} {request.url} failed: {error}.") from error
        finally:
            if self._own_session:
                await session.close()

    async def close(self) -> None:
        """Close the connection at once and wake the task that waits at it."""
        self._machine.close()
        self._closed.set()
        if self._opening is not None:
            self._opening.cancel()
        self._drop()
        if self._own_session and self._session is not None:
            await self._session.close()

    async def _perform(self, action: Action) -> None:
        match action:
            case Read():
                await self._read()
            case Connect():
                await self._connect(action)
            case ReadRefusal():
                self._machine.receive_refusal(await self._excerpt())
            case Wait():
                with suppress(TimeoutError):
                    async with asyncio.timeout(action.seconds):
                        await self._closed.wait()
                self._machine.waited()
            case Call():
                try:
                    reply = await self.call(action.request)
                except ConnectionFailed:
                    reply = None
                self._machine.receive_reply(reply)

    async def _connect(self, connect: Connect) -> None:
        self._drop()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), middlewares=(_once,), **HEAD_LIMITS
            )
        request = self._machine.request(connect, await self._authorization(connect))
        if self._closed.is_set():
            return
        self._opening = asyncio.ensure_future(self._send(self._session, request))
        try:
            self._response = await self._opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed.is_set() or task is None or task.cancelling():
                raise
            return
        except (*FAILURES, SettingsError) as error:
            self._lose(error)
            return
        finally:
            self._opening = None
        self._machine.receive_head(self._response.status, self._response.headers, time.time())

    async def _send(self, session: aiohttp.ClientSession, request: HttpRequest) -> aiohttp.ClientResponse:
        if self._own_session:
            self._proxy = None  # until the environment was read, which may fail
            self._proxy = proxy_for(request.url)
        policy = self._machine.policy
        return await session.request(
            request.method,
            request.url,
            data=request.body,
            **through(self._proxy, request.url, request.headers),
            allow_redirects=False,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=policy.connect_timeout, sock_read=policy.read_timeout
            ),
        )

    async def _read(self) -> None:
        assert self._response is not None  # noqa: S101 - a Read comes after a response
        try:
            data = await self._response.content.readany()
        except FAILURES as error:
            self._lose(error)
            return
        if data:
            self._machine.receive_data(data)
        else:
            self._machine.receive_eof(time.time())

    async def _excerpt(self) -> bytes:
        assert self._response is not None  # noqa: S101 - a refusal is a response
        try:
            async with asyncio.timeout(EXCERPT_TIMEOUT):
                return await self._response.content.read(EXCERPT)
        except FAILURES:
            return b""

    async def _authorization(self, connect: Connect) -> str | None:
        if not connect.same_origin:
            return None
        value = self._auth() if callable(self._auth) else self._auth
        return await value if isawaitable(value) else value

    def _lose(self, error: Exception) -> None:
        loss, detail = _loss(error)
        if self._proxy is not None and loss in (Loss.UNREACHABLE, Loss.FUTILE):
            detail += f" (through {self._proxy})"
        self._machine.connection_lost(loss, detail, time.time())

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
    """Return how the connection was lost, by aiohttp's exception, and the reason in its words."""
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


class AsyncEventSource:
    """The events of a stream, over all its connections: ``async for`` it, in an ``async with`` that closes it.

    Use it to follow any event stream in an asyncio program; `aask` is for answers. Arguments, attributes, methods and
    errors are those of `tickertape.EventSource`, which explains them. ``auth`` may be a coroutine function too.
    ``session`` is an aiohttp session of yours and stays open; proxies are its matter then.

    Task safety: one task iterates, and callbacks run in it; any task of the same loop may call `close`. Cancelling the
    task that waits for the next event closes the connection at once, and the source with it. Nothing is sent before
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
        self._transport = AsyncTransport(self._machine, session, auth)

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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := self._machine.next_event()) is None:
            if not await self._transport.perform():
                raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection at once; from any task, and as often as you like.

        A task that waits for the next event sees the iteration end.
        """
        await self._transport.close()
