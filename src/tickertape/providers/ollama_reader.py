"""Ollama's lines of JSON to deltas. No socket, no clock.

Success is the line with ``done: true``. An error is a line ``{"error": "…"}``; the status stays 200. Models that Ollama
does not know to think write ``<think>`` into their answer, and are sorted out as with OpenAI's dialect.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Raw, Reasoning, Text
from tickertape.foreign_json import UNREADABLE, loads
from tickertape.providers.answer_reader import AnswerReader

if TYPE_CHECKING:
    from tickertape.deltas import Delta


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


class LineReader(AnswerReader):
    """Turns Ollama's lines into deltas."""

    _calls = 0

    def _message(self, data: str | bytes, out: list[Delta]) -> None:
        try:
            line = _decode(data)
        except UNREADABLE:
            self._complain(data)
            return
        if line.error is not None or line.done_reason == "error":
            self._complain(data)
            return
        if line.message is None and not line.done:
            if "message" not in loads(data):
                self._complain(data)
            return
        if line.message is not None:
            self._deltas(line.message, out)
        if line.done:
            self._usage = _usage(line)
            reason = line.done_reason or "stop"
            self.done = True
            self._finish("tool_calls" if self._calls and reason == "stop" else reason, out)
            out += self._owed()

    def _deltas(self, message: _Message, out: list[Delta]) -> None:
        if message.thinking:
            out.append(Reasoning(message.thinking))
        if message.content:
            out.append(Text(message.content))
        out += [Raw({"tool_calls": [self._call(call)]}) for call in message.tool_calls or ()]

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return a call, which comes whole and with its arguments as an object, as OpenAI's piece."""
        given = call.get("function")
        function = given if isinstance(given, dict) else {}
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        id_ = call.get("id") or f"call_{secrets.token_hex(12)}"
        made = {"index": self._calls, "id": id_, "type": "function"}
        self._calls += 1
        return {**made, "function": {"name": str(function.get("name")), "arguments": text}}


def _usage(line: _Line) -> dict[str, Any] | None:
    """Return the counts. That of the prompt is missing when all of it was cached: then only the answer's is known."""
    if line.eval_count is None:
        return None
    prompt, answer = line.prompt_eval_count or 0, line.eval_count
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
