"""An upstream of our own and a provider that asks it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tickertape.providers.openai import OpenAI

from .upstream import Upstream

KEY = "sk-secret-0123456789"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


@pytest.fixture
async def make(upstream: Upstream) -> AsyncIterator[Callable[..., OpenAI]]:
    """Make providers that are closed in the end, of the test's upstream unless another URL is given."""
    made: list[OpenAI] = []

    def make(url: str = "", key: str | None = KEY, **settings: Any) -> OpenAI:
        made.append(OpenAI(url or upstream.url("openai"), key, **{"retries": 0, **settings}))
        return made[-1]

    yield make
    for provider in made:
        await provider.close()


@pytest.fixture
async def openai(make: Callable[..., OpenAI]) -> OpenAI:
    return make(connect_timeout=5, first_token_timeout=5, idle_timeout=5)
