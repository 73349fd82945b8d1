"""One short question to one model, and how it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from tickertape.deltas import Finish, Reasoning, Text, Usage
from tickertape.errors import ApiError
from tickertape.providers.base import ChatRequest, Provider

if TYPE_CHECKING:
    from tickertape.deltas import Delta

QUESTION = "Count from one to thirty in words."
"""Some hundred tokens: long enough for a rate, and a fraction of a cent."""


class ProbeResult(msgspec.Struct):
    """How an answer went. Times are in seconds; ``rate`` is in tokens a second after the first one."""

    first: float | None = None
    rate: float | None = None
    estimated: bool = False
    finish: str | None = None
    error: str = ""
    retried: int = 0

    @property
    def whole(self) -> bool:
        """Whether the upstream said that the answer is whole."""
        return self.finish is not None and not self.error


class _Recorder:
    """Takes an answer and notes when it began, how it ended and what it cost."""

    behind = False

    def __init__(self, result: ProbeResult) -> None:
        self.begun, self.tokens = time.monotonic(), 0
        self._result = result

    def push(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if isinstance(delta, Text | Reasoning) and self._result.first is None:
                self._result.first = time.monotonic() - self.begun
            elif isinstance(delta, Finish):
                self._result.finish = delta.reason
            elif isinstance(delta, Usage):
                count = delta.usage.get("completion_tokens")
                self.tokens = count if isinstance(count, int) else 0  # it is the upstream's, and may be anything
                self._result.estimated = bool(delta.usage.get("estimated"))

    async def drained(self) -> None:
        """Return: it is never behind."""


async def probe(provider: Provider, model: str) -> ProbeResult:
    """Ask, read the answer to its end, and return how it went. Raises nothing that an upstream may do."""
    result = ProbeResult()
    before, recorder = provider.retried or 0, _Recorder(result)
    try:
        await provider.answer(ChatRequest(model=model, messages=[{"role": "user", "content": QUESTION}]), recorder)
    except ApiError as error:
        result.error = error.message
    result.retried = (provider.retried or 0) - before
    span = time.monotonic() - recorder.begun - (result.first or 0)
    tokens = recorder.tokens
    result.rate = tokens / span if result.first is not None and tokens > 1 and span > 0 else None
    return result
