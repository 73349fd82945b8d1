"""`aask` and `AsyncAnswer`: the asyncio shell of the answer machine."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from tickertape.client.aio import AsyncTransport
from tickertape.client.answer_machine import HEAD_TIMEOUT, AnswerMachine
from tickertape.client.answer_request import prepare, stream_id
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State, Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType

    import aiohttp

    from tickertape.client.answer_request import AnswerRequest
    from tickertape.deltas import Delta
    from tickertape.sse.actions import Wait


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

    Use it in an asyncio program. Arguments, rules and errors are those of `tickertape.ask`, which explains them.
    ``session`` is an aiohttp session of yours and stays open; proxies are its matter then. Nothing is sent before the
    iteration starts.
    """
    asked = prepare(
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
    return AsyncAnswer(asked, session=session, on_reconnect=on_reconnect)


class AsyncAnswer(EventTranscript):
    """An answer on its way; `aask` makes it. ``async for`` it for text, or `deltas`; best in an ``async with``.

    A loop that is left early can be followed by another, which goes on where the first one stopped. Leaving the
    ``async with`` block closes the connection.

    Task safety: one task iterates; any task of the same loop may call `cancel` and `close`. Cancelling the task that
    waits for the answer closes the connection at once, keeps the partial text, and leaves ``state`` running.
    """

    def __init__(
        self,
        asked: AnswerRequest,
        *,
        session: aiohttp.ClientSession | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        super().__init__()
        self._opened = asyncio.Event()
        self._machine = AnswerMachine(
            asked, self, random=random.random, on_open=lambda _: self._opened.set(), on_reconnect=on_reconnect
        )
        self._transport = AsyncTransport(self._machine, session, asked.auth)

    @property
    def location(self) -> str | None:
        """Where a tickertape server keeps this answer; None on other servers."""
        return self._machine.location

    @property
    def stream_id(self) -> str | None:
        """The id of the stream on a tickertape server; None on others."""
        return stream_id(self.location)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for delta in self.deltas():
            if isinstance(delta, Text):
                yield delta.text

    async def deltas(self) -> AsyncIterator[Delta]:
        """Iterate everything that comes: Text, Reasoning, ToolCall, Usage and all else of `tickertape.deltas`."""
        next_delta = self._machine.next_delta
        while True:
            while (delta := next_delta()) is not None:
                yield delta
            if not await self._transport.perform():
                return

    async def read(self) -> str:
        """Return the whole text once it is there. Raises what the iteration raises."""
        async for _ in self.deltas():
            pass
        return self.text

    async def cancel(self) -> None:
        """Stop the answer; from any task. The iteration ends soon, with ``state`` cancelled and the partial text.

        A tickertape server is told; other servers learn it from the close of the connection. While an answer is just
        being opened, this waits up to 2 seconds for its name. Does nothing once the answer has ended. Raises
        ConnectionFailed if the server cannot be told; the answer then goes on.
        """
        if self.state is not State.RUNNING:
            return
        if self._machine.started:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEAD_TIMEOUT):
                    await self._opened.wait()
        request = self._machine.cancel()
        if request is None:
            await self.close()
        else:
            self._machine.receive_cancel_reply(*await self._transport.call(request))

    async def close(self) -> None:
        """Stop reading and close the connection; from any task, and as often as you like.

        What the server then does with the answer is its policy; `cancel` says stop. An iteration that goes on raises
        IncompleteStream, unless the answer was whole.
        """
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
