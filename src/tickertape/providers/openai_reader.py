"""OpenAI's stream of chat completion chunks, and what servers make of it, to deltas. No socket, no clock.

Success is a ``finish_reason`` or ``[DONE]``: some servers leave out the first, many the second. Neither means that the
answer is incomplete. An error may come as

* ``data: {"error": {…}}``, with or without a ``[DONE]`` after it,
* ``data: {"object": "error", "message": …}`` (older vLLM),
* a usual chunk with ``error`` beside ``choices``, or just ``finish_reason: "error"``,
* in one of the shapes that every dialect's reader knows (`answer_reader`).

The usual chunk is decoded straight into a Struct of what we need; whatever does not fit is looked at again as a dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Raw, Reasoning, Text
from tickertape.foreign_json import UNREADABLE, loads
from tickertape.providers.answer_reader import AnswerReader

if TYPE_CHECKING:
    from tickertape.deltas import Delta

_REASONS = {"eos_token": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
"""Finish reasons outside OpenAI's five, from text-generation-inference and translating proxies."""

_RAW_REASONING = ("reasoning", "reasoning_details")

_PASSED_THROUGH = ("tool_calls", "function_call", "refusal")


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None  # DeepSeek, llama.cpp, older vLLM
    reasoning: str | None = None  # OpenRouter, Ollama, newer vLLM; some send both
    reasoning_details: Any = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None  # Azure opens with an empty list; some send null
    usage: dict[str, Any] | None = None
    error: Any = None
    object: str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChunkReader(AnswerReader):
    """Turns OpenAI's chunks into deltas. With ``raw`` the upstream's own reasoning fields come along."""

    raw = False

    def _message(self, data: str | bytes, out: list[Delta]) -> None:
        if data == "[DONE]":
            self.done = True
            if not self.finished and not self._complained():
                self._finish("stop", out)
            out += self._owed()
            return
        try:
            chunk = _decode(data)
        except UNREADABLE:
            self._unusual(data, out)
            return
        if chunk.choices is None or chunk.error is not None or chunk.object == "error":
            self._unusual(data, out)
            return
        if chunk.usage:
            self._usage = chunk.usage  # kept to the end: some send it with every chunk, growing
        for choice in chunk.choices or ():
            if choice.index:
                continue
            if choice.delta is not None:
                self._deltas(choice.delta, out)
            if choice.finish_reason:
                self._ended(choice.finish_reason, out)

    def _unframed(self, data: str, out: list[Delta]) -> None:
        self._unusual(data, out)

    def _ended(self, reason: str, out: list[Delta]) -> None:
        if reason == "error":
            self.error = self._upstream.reported(None)
        else:
            self._finish(_REASONS.get(reason, reason), out)

    def _unusual(self, data: str | bytes, out: list[Delta]) -> None:
        """Take a chunk that is an error, or of types that no specification has."""
        chunk = loads(data)
        if not isinstance(chunk, dict):
            if str(chunk).strip() == "[DONE]":  # among spaces, or as a JSON string
                self._message("[DONE]", out)
            else:
                self._complain(data)
            return
        usage = chunk.get("usage")
        self._usage = usage if isinstance(usage, dict) and usage else self._usage
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                delta = choice.get("delta") or choice.get("message")  # a whole message where nothing was streamed
                self._deltas(_loose(delta if isinstance(delta, dict) else {}), out)
                reason = choice.get("finish_reason")
                if reason and isinstance(reason, str) and reason != "error":
                    self._ended(reason, out)
        bare = not chunk.keys() & {"choices", "usage"} and chunk.keys() & {"message", "detail"}
        if chunk.get("error") or chunk.get("object") == "error" or bare:
            self.error = self._upstream.reported(chunk)

    def _deltas(self, delta: _Delta, out: list[Delta]) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if not thought and delta.reasoning_details:
            thought = _details(delta.reasoning_details)
        if thought:
            out.append(Reasoning(thought))
        if self.raw and (delta.reasoning or delta.reasoning_details):
            out.append(Raw({name: value for name in _RAW_REASONING if (value := getattr(delta, name))}))
        if delta.content:
            out.append(Text(delta.content))
        if delta.tool_calls or delta.function_call or delta.refusal:
            out.append(Raw({name: value for name in _PASSED_THROUGH if (value := getattr(delta, name))}))


def _details(details: Any) -> str:
    """Return the readable part of OpenRouter's ``reasoning_details``."""
    parts = [part for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    return "".join(text for part in parts if isinstance(text := part.get("text") or part.get("summary"), str))


def _loose(delta: dict[str, Any]) -> _Delta:
    """Return what can be understood of a delta whose fields have other types than OpenAI's."""
    content = delta.get("content")
    if isinstance(content, list):  # Mistral sends parts when a model thinks
        content = "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )

    def of_type(name: str, kind: type) -> Any:
        value = delta.get(name)
        return value if isinstance(value, kind) else None

    return _Delta(
        content=content if isinstance(content, str) else None,
        reasoning_content=of_type("reasoning_content", str),
        reasoning=of_type("reasoning", str),
        reasoning_details=delta.get("reasoning_details"),
        tool_calls=of_type("tool_calls", list),
        function_call=of_type("function_call", dict),
        refusal=of_type("refusal", str),
    )
