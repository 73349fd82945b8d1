"""The model that answers with your own words: deterministic, so that everything around it can be tried and measured."""

from __future__ import annotations

import asyncio
import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from tickertape.deltas import Delta, Finish, Text, Usage
from tickertape.errors import BadRequest, SettingsError
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BATCH = 64
"""Pieces. What one batch holds at most, so that one unpaced answer does not keep the others waiting."""

# A word takes the white space before it along, as most models' tokens do; what ends the text stands alone.
_PIECE = re.compile(r"\s*\S+|\s+")


class Echo(Provider):
    """Answers with exactly the last user message, ``rate`` pieces a second; 0 means as fast as it is read.

    A piece is a word with the white space before it; the pieces joined are the message. The first comes at once
    and piece n comes n / rate seconds later, whatever happened in between: pieces that are overdue come together.
    Options such as ``max_tokens`` have no effect.
    """

    name = "echo"
    prefills = True

    def __init__(self, rate: float = 0) -> None:
        if not (isfinite(rate) and rate >= 0):
            raise SettingsError(f"The echo rate is in tokens a second, 0 for unpaced; it was {rate!r}.")
        self.rate = rate
        self._wheel: TimerWheel | None = None

    async def models(self) -> list[Model]:
        """Return the one model, ``echo``."""
        return [Model(id="echo", owned_by="tickertape", note="Repeats your message word by word; no model is asked.")]

    async def stream(self, request: ChatRequest) -> AsyncGenerator[list[Delta], None]:
        """Yield the last user message in pieces; a `BadRequest` when there is none."""
        text = last_user_text(request.messages).removeprefix(_begun(request.messages))
        if not text:
            yield [Finish("stop"), _usage(request, 0)]
            return
        size, position = len(text), 0
        loop = asyncio.get_running_loop()
        wheel, rate, start, sent = self._wheel_of(loop), self.rate, loop.time(), 0
        while True:
            # The schedule is absolute, so that nothing drifts. Whoever is woken has at least one piece due.
            due = int((loop.time() - start) * rate) + 1 - sent if rate else BATCH
            batch: list[Delta] = []
            for _piece in range(max(1, min(due, BATCH))):
                # Looked for anew each time: an iterator keeps a kilobyte of the engine's stack for every answer.
                match = _PIECE.match(text, position)
                if match is None:
                    break
                batch.append(Text(match[0]))
                position = match.end()
            sent += len(batch)
            if position == size:
                yield [*batch, Finish("stop"), _usage(request, sent)]
                return
            yield batch
            await (wheel.wait(start + sent / rate) if rate else asyncio.sleep(0))

    def _wheel_of(self, loop: asyncio.AbstractEventLoop) -> TimerWheel:
        if self._wheel is None or self._wheel.loop is not loop:
            self._wheel = TimerWheel(loop)
        return self._wheel


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, its text parts joined."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message)
    raise BadRequest(
        "The echo model answers with the last user message, and messages holds none. "
        'Add {"role": "user", "content": "…"}.',
        param="messages",
    )


def _begun(messages: list[dict[str, Any]]) -> str:
    """Return the partial answer that is to be gone on from, if there is one."""
    return text_of(messages[-1]) if messages[-1].get("role") == "assistant" else ""


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message whose content is a string, a list of parts, or absent."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def _usage(request: ChatRequest, completion: int) -> Usage:
    prompt = sum(1 for message in request.messages for _ in _PIECE.finditer(text_of(message)))
    return Usage({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
