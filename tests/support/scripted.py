"""A provider that does what a test tells it to, step by step, and says what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.deltas import Delta, Finish, Text
from tickertape.providers.base import ChatRequest, Model, Provider

if TYPE_CHECKING:
    from tickertape.providers.base import Sink


class Scripted(Provider):
    """Pushes what `say` was told, raises what `fail` was told, returns on `end`; until then it waits.

    ``asked`` counts the questions and ``pushed`` what was said; ``closed`` is set once the call was left, however it
    was.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.asked = self.pushed = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.requests: list[ChatRequest] = []
        self._steps: asyncio.Queue[list[Delta] | BaseException | None] = asyncio.Queue()

    async def models(self) -> list[Model]:
        return [Model(id="scripted", owned_by="test")]

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        self.asked += 1
        self.requests.append(request)
        self.opened.set()
        try:
            while (step := await self._steps.get()) is not None:
                if isinstance(step, BaseException):
                    raise step
                self.pushed += 1
                sink.push(step)
                if sink.behind:
                    await sink.drained()
        finally:
            self.closed.set()

    def say(self, *deltas: Delta | str) -> None:
        """Push these together."""
        self._steps.put_nowait([Text(delta) if isinstance(delta, str) else delta for delta in deltas])

    def fail(self, error: BaseException) -> None:
        self._steps.put_nowait(error)

    def end(self) -> None:
        """Return without saying that the answer is whole."""
        self._steps.put_nowait(None)

    def finish(self, reason: str = "stop") -> None:
        """Say that the answer is whole, and return."""
        self.say(Finish(reason))
        self.end()


ASKED = ChatRequest(model="scripted", messages=[{"role": "user", "content": "hi"}])
