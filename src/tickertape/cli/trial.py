"""One short question to one model, and how it went."""

from __future__ import annotations

import time

import msgspec

from tickertape.deltas import Finish, Reasoning, Text, Usage
from tickertape.errors import ProviderError
from tickertape.providers.base import ChatRequest, Provider

QUESTION = "Count from one to thirty in words."
"""Some hundred tokens: long enough for a rate, and a fraction of a cent."""


class Trial(msgspec.Struct):
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


async def attempt(provider: Provider, model: str) -> Trial:
    """Ask, read the answer to its end, and return how it went. Raises nothing that an upstream may do."""
    trial = Trial()
    before, begun = provider.retried or 0, time.monotonic()
    tokens = 0
    try:
        async for batch in provider.stream(ChatRequest(model=model, messages=[{"role": "user", "content": QUESTION}])):
            for delta in batch:
                if isinstance(delta, Text | Reasoning) and trial.first is None:
                    trial.first = time.monotonic() - begun
                elif isinstance(delta, Finish):
                    trial.finish = delta.reason
                elif isinstance(delta, Usage):
                    count = delta.usage.get("completion_tokens")
                    tokens = count if isinstance(count, int) else 0  # it is the upstream's, and may be anything
                    trial.estimated = bool(delta.usage.get("estimated"))
    except ProviderError as error:
        trial.error = error.message
    trial.retried = (provider.retried or 0) - before
    span = time.monotonic() - begun - (trial.first or 0)
    trial.rate = tokens / span if trial.first is not None and tokens > 1 and span > 0 else None
    return trial
