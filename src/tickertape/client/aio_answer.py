"""`aask`: an answer as text for asyncio, over `AsyncEventSource`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tickertape.client.aio import AsyncEventSource
from tickertape.client.connections import through
from tickertape.client.question import cancellation, is_tickertape, prepare, probe, repeatable, stream_id
from tickertape.client.request import failed
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State, Text
from tickertape.errors import ConnectionFailed, EventTooLarge
from tickertape.proxy import proxy_for
from tickertape.sse.actions import Stop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType

    from tickertape.client.question import Question
    from tickertape.deltas import Delta
    from tickertape.sse.actions import Wait

HEAD_TIMEOUT = 2.0
"""Seconds that `cancel` waits to learn the name of a stream that is just being opened."""
TIMEOUT = 10.0
"""Seconds that the server may take to say that it has stopped."""


def aask(
    url: str,
    messages: str | Sequence[Mapping[str, Any]] | None = None,
    *,
    model: str | None = None,
    api_key: str | None = None,
    attach: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    read_timeout: float | None = None,
    reconnection_time: float = 0.5,
    max_retries: int = 8,
    session: aiohttp.ClientSession | None = None,
    on_reconnect: Callable[[Wait], object] | None = None,
    **parameters: Any,
) -> AsyncAnswer:
    """Return the answer of any OpenAI-compatible server: ``async for`` it for its text as it comes.

    The asyncio twin of `tickertape.ask`, which see: the same arguments, rules and errors. ``session`` is an aiohttp
    session of yours and stays open.
    """
    question = prepare(
        url,
        messages,
        model=model,
        api_key=api_key,
        attach=attach,
        headers=headers,
        idempotency_key=idempotency_key,
        read_timeout=read_timeout,
        reconnection_time=reconnection_time,
        max_retries=max_retries,
        parameters=parameters,
    )
    return AsyncAnswer(question, session=session, on_reconnect=on_reconnect)


class AsyncAnswer(EventTranscript):
    """An answer on its way; `aask` makes it. ``async for`` it for text, or `deltas`; best in an ``async with``."""

    def __init__(
        self,
        question: Question,
        *,
        session: aiohttp.ClientSession | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        super().__init__()
        self._question = question
        self._session = session
        self._opened = asyncio.Event()
        self._started = False
        self._on_reconnect = on_reconnect
        self._source = self._open(question)
        self._running = self._run()

    @property
    def location(self) -> str | None:
        """Where a tickertape server keeps this answer; None on other servers."""
        return self._question.url if self._question.json is None else self._source.location

    @property
    def stream_id(self) -> str | None:
        """The id of the stream on a tickertape server; None on others."""
        return stream_id(self.location)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for delta in self._running:
            if isinstance(delta, Text):
                yield delta.text

    def deltas(self) -> AsyncIterator[Delta]:
        """Iterate everything that comes: Text, Reasoning, ToolCall, Usage and all else of `tickertape.deltas`."""
        return self._running

    async def read(self) -> str:
        """Return the whole text once it is there. Raises what the iteration raises."""
        async for _ in self._running:
            pass
        return self.text

    async def cancel(self) -> None:
        """Stop the answer; from any task. The iteration ends soon, with ``state`` cancelled and the partial text.

        A tickertape server is told; from others the connection is closed, which is how they are told. Raises
        ConnectionFailed if the server cannot be told.
        """
        if self.state is not State.RUNNING:
            return
        if self._started:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEAD_TIMEOUT):
                    await self._opened.wait()
        self.stopped()
        if self.location is None:
            await self._source.close()
            return
        try:
            status, body = await self._call("POST", *cancellation(self._question, self.location))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionFailed(f"The answer could not be cancelled: {error}.") from error
        if status >= 300:
            raise failed(Stop(f"Cancelling was answered with {status}", status), body)

    async def close(self) -> None:
        """Stop reading and close the connection. What the server then does is its policy; `cancel` says stop."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()
        await self.close()

    async def _run(self) -> AsyncGenerator[Delta, None]:
        self._started = True
        try:
            try:
                async for delta in self._read():
                    yield delta
            except ConnectionFailed as error:
                if not await self._may_ask_again(error):
                    raise
                self._source = self._open(repeatable(self._question))
                async for delta in self._read():
                    yield delta
            self.end()
        except (ConnectionFailed, EventTooLarge) as error:
            if self._opened.is_set() and isinstance(error, ConnectionFailed):
                self.end(error)
            else:
                self.state = State.FAILED
                raise
        finally:
            await self.close()

    async def _read(self) -> AsyncIterator[Delta]:
        async for event in self._source:
            for delta in self.take(event):
                yield delta
            if self.done:
                break

    async def _may_ask_again(self, error: ConnectionFailed) -> bool:
        """Tell whether a question that was cut before its answer began went to a server that answers it once."""
        aside = None if self._opened.is_set() else probe(self._question, error)
        try:
            return aside is not None and is_tickertape(*await self._call("GET", *aside))
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _open(self, question: Question) -> AsyncEventSource:
        return AsyncEventSource(
            question.url,
            json=question.json,
            headers=question.headers,
            auth=question.auth,
            policy=question.policy,
            session=self._session,
            on_open=self._on_open,
            on_reconnect=self._on_reconnect,
        )

    async def _call(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        session = self._session or aiohttp.ClientSession()
        options = through(proxy_for(url) if session is not self._session else None, url, headers)
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            async with session.request(method, url, allow_redirects=False, timeout=timeout, **options) as answer:
                return answer.status, await answer.read()
        finally:
            if session is not self._session:
                await session.close()

    def _on_open(self, headers: Mapping[str, str]) -> None:
        if self._opened.is_set():
            self.reconnected(self._source.last_event_id)
        self._opened.set()
