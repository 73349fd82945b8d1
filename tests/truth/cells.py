"""Every fault in every dialect, through provider, generation and log: what comes out of it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tickertape.deltas import End, decode_delta
from tickertape.generation import Generations, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.providers.dialects import DIALECTS, dialect
from tickertape.streams.contract import follow
from tickertape.streams.memory import MemoryEngine
from tickertape.testing.faults import FAULTS
from tickertape.testing.upstream import Upstream
from tickertape.transcript import Transcript

KEY = "sk-secret-0123456789"
QUICK = {"stall": "idle_timeout", "stall-comments": "idle_timeout", "stall-opening": "first_token_timeout"}
QUICK["no-answer"] = "first_token_timeout"
"""The faults that only a timeout ends, and which."""


class Cell(msgspec.Struct):
    """What a reader of the log has in the end."""

    end: End
    text: str = ""
    reasoning: str = ""
    calls: list[Any] = []
    message: dict[str, Any] = {}
    logprobs: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    retried: int = 0


async def cell(upstream: Upstream, name: str, fault: str) -> Cell:
    """Ask for the fault in a dialect and return what is in the log."""
    timeouts: dict[str, Any] = dict.fromkeys(("connect_timeout", "first_token_timeout", "idle_timeout"), 60.0)
    if fault in QUICK:
        timeouts[QUICK[fault]] = 0.4
    url = upstream.url(name)
    provider = dialect(name)(url, KEY, max_event_size=2 * 1024 * 1024, **timeouts)
    generations = Generations(MemoryEngine())
    try:
        request = ChatRequest(model=fault, messages=[{"role": "user", "content": "hi"}])
        stream = await generations.begin(GenerationSpec(provider, request, show_usage=True), owner="ann")
        entries = [entry async for batch in follow(stream) for entry in batch]
    finally:
        await generations.close()
        await provider.close()
    return _read(entries, provider.retried)


def _read(entries: list[bytes], retried: int) -> Cell:
    *deltas, end = (decode_delta(entry) for entry in entries)
    assert isinstance(end, End)
    answer = Transcript()
    for delta in deltas:
        answer.add(delta)
    message, logprobs = answer.message(), answer.logprobs
    return Cell(end, answer.text, answer.reasoning, answer.tool_calls, message, logprobs, answer.usage, retried)


async def all_cells() -> dict[tuple[str, str], Cell]:
    """Return every cell of the table."""
    async with Upstream() as upstream:
        keys = [(name, fault) for name in DIALECTS for fault in FAULTS]
        keys.sort(key=lambda key: key[1] in QUICK)  # alone at the end: their timeouts are short
        busy = [key for key in keys if key[1] not in QUICK]
        made = await asyncio.gather(*(cell(upstream, *key) for key in busy))
        made += await asyncio.gather(*(cell(upstream, *key) for key in keys[len(busy) :]))
    return dict(zip(keys, made, strict=True))
