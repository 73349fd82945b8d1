"""What a provider pushes: all of it, or one batch at a time, with a provider that waits for the test to go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tickertape.deltas import Delta
    from tickertape.providers.base import ChatRequest, Provider


class Everything:
    """A sink that is never behind, and what was pushed into it."""

    behind = False

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def push(self, deltas: list[Delta]) -> None:
        self.deltas += deltas

    async def drained(self) -> None:
        """Return: it is never behind."""


class OneAtATime:
    """A sink that is behind as long as a batch is unread."""

    def __init__(self) -> None:
        self.batches: list[list[Delta]] = []
        self.pushed = asyncio.Event()
        self._read = asyncio.Event()

    @property
    def behind(self) -> bool:
        return bool(self.batches)

    def push(self, deltas: list[Delta]) -> None:
        self.batches.append(deltas)
        self.pushed.set()

    def take_off(self) -> None:
        """Say that the first batch was read."""
        del self.batches[0]
        if not self.batches:
            self.pushed.clear()
            self._read.set()

    async def drained(self) -> None:
        while self.batches:
            self._read.clear()
            await self._read.wait()


async def batches(provider: Provider, request: ChatRequest) -> AsyncGenerator[list[Delta], None]:
    """Yield what a provider pushes. Closing the generator cancels the answer and waits until it has ended."""
    sink = OneAtATime()
    task = asyncio.create_task(provider.answer(request, sink))
    task.add_done_callback(lambda _task: sink.pushed.set())
    try:
        while await sink.pushed.wait():
            if not sink.batches:
                break
            yield sink.batches[0]
            sink.take_off()
            if task.done():
                sink.pushed.set()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
