"""The model that answers with your own words: deterministic, so that everything around it can be tried and measured."""

from __future__ import annotations

import asyncio
import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from tickertape.deltas import Delta, Finish, Text, Usage
from tickertape.errors import InvalidRequest, SettingsError
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.util.timer_wheel import timer_wheel

if TYPE_CHECKING:
    from tickertape.providers.base import Sink

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

    async def models(self) -> list[Model]:
        """Return the one model, ``echo``."""
        return [Model(id="echo", owned_by="tickertape", note="Repeats your message word by word; no model is asked.")]

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push the last user message in pieces; raises InvalidRequest when there is none."""
        text = last_user_text(request.messages).removeprefix(_begun(request.messages))
        if not text:
            sink.push([Finish("stop"), _usage(request, 0)])
        elif self.rate:
            await _PacedAnswer(request, text, self.rate, sink).done
        else:
            pieces = _Pieces(request, text)
            while not pieces.over:
                sink.push(pieces.take(BATCH))
                await (sink.drained() if sink.behind else asyncio.sleep(0))


class _Pieces:
    """The pieces of a text, in order; ``taken`` counts them, ``over`` says that there are no more."""

    __slots__ = ("_position", "_request", "_text", "over", "taken")

    def __init__(self, request: ChatRequest, text: str) -> None:
        self._request, self._text = request, text
        self._position = self.taken = 0
        self.over = False

    def take(self, count: int) -> list[Delta]:
        """Return the next pieces, up to so many; the end of the answer comes with the last one."""
        deltas: list[Delta] = []
        position = self._position
        # Looked for anew each time: an iterator keeps a kilobyte of the engine's stack for every answer.
        while count and (match := _PIECE.match(self._text, position)) is not None:
            deltas.append(Text(match[0]))
            position = match.end()
            count -= 1
        self._position = position
        self.taken += len(deltas)
        if position == len(self._text):
            self.over = True
            deltas += [Finish("stop"), _usage(self._request, self.taken)]
        return deltas


class _PacedAnswer:
    """An answer on an absolute schedule, so that nothing drifts: the timer wheel calls it when a piece is due."""

    __slots__ = ("_pieces", "_rate", "_sink", "_start", "_wheel", "done")

    def __init__(self, request: ChatRequest, text: str, rate: float, sink: Sink) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()  # cancelled with the task that waits for it
        self._pieces, self._rate, self._sink = _Pieces(request, text), rate, sink
        self._wheel, self._start = timer_wheel(loop), loop.time()
        self(1)

    def __call__(self, due: int = 0) -> None:
        """Push what is due. While the sink is behind nothing is; what is overdue then comes together."""
        if self.done.done():
            return
        pieces = self._pieces
        if not self._sink.behind:
            due = due or int((self._wheel.loop.time() - self._start) * self._rate) + 1 - pieces.taken
            self._sink.push(pieces.take(max(1, min(due, BATCH))))
            if pieces.over:
                self.done.set_result(None)
                return
        self._wheel.call(self._start + pieces.taken / self._rate, self)


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, its text parts joined."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message)
    raise InvalidRequest(
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
