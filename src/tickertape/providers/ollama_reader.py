"""Ollama's lines of JSON to deltas. No socket, no clock.

Success is the line with ``done: true``, unless its reason says that nothing was generated. An error is a line
``{"error": "…"}``; the status stays 200. Models that Ollama does not know to think write ``<think>`` into their answer,
and are sorted out as with OpenAI's dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import DeltaFields, Image, Reasoning, ScoredText, Text
from tickertape.parsing.images import image_of
from tickertape.parsing.reported_errors import find_error
from tickertape.providers.answer_reader import AnswerReader
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from tickertape.deltas import Delta

_LINE = (
    *("message", "response", "thinking", "done", "done_reason", "model", "created_at", "error", "logprobs"),
    *("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"),
    *("remote_model", "remote_host", "context"),
)
"""Fields of a line that are read, or say nothing of the answer: names, times, speed."""

_MESSAGE = ("role", "content", "thinking", "tool_calls", "images")


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str
    role: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    message: _Message
    done: bool = False
    model: msgspec.Raw = msgspec.Raw()
    created_at: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Line).decode


class LineReader(AnswerReader):
    """Turns Ollama's lines into deltas."""

    dialect = "ollama"
    _images = 0

    def _message(self, data: str, out: list[Delta]) -> None:
        try:
            line = _decode(data)
        except UNREADABLE:
            self._unusual(data, out)
            return
        if line.message.content:
            self._content_came()
            out.append(Text(line.message.content))
        if line.done:
            self.end.marker()

    def _unusual(self, data: str, out: list[Delta]) -> None:
        line = self._read(data)
        if not isinstance(line, dict):
            self._complain(data, line)
            return
        done = line.get("done") is True
        if find_error(line) is not None or not ({"message", "response", "done"} & line.keys()):
            self._complain(data, line)
            return
        begun = len(out)
        message = line.get("message")
        given = message if isinstance(message, dict) else {"content": line.get("response"), **_thinking(line)}
        self._deltas(given, out)
        if isinstance(logprobs := line.get("logprobs"), list) and logprobs:
            text = out.pop().text if len(out) > begun and type(out[-1]) is Text else ""  # type: ignore[union-attr]
            out.append(ScoredText(text, {"content": logprobs}))
        if len(out) > begun:
            self._content_came()
        self._once({name: value for name, value in line.items() if name not in _LINE}, out)
        if isinstance(line.get("eval_count"), int):
            self._usage = _usage(line)
        if line.get("done_reason") is not None:
            self.end.reason(line["done_reason"])
        if done:
            self.end.marker()

    def _deltas(self, message: dict[str, Any], out: list[Delta]) -> None:
        if isinstance(text := message.get("thinking"), str) and text:
            out.append(Reasoning(text))
        if isinstance(text := message.get("content"), str) and text:
            out.append(Text(text))
        elif text:
            self._unknown("content", text)
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict):
                self._call({**call, "function": _whole(call.get("function"))}, out)
            else:
                self._unknown("a tool call", call)
        images = message.get("images")
        for image in images if isinstance(images, list) else ():
            if made := image_of(image):
                out.append(Image({"index": self._images, **made}))
                self._images += 1
            else:
                self._unknown("an image", image)
        rest = {name: value for name, value in message.items() if name not in _MESSAGE and value}
        if rest:
            out.append(DeltaFields(rest))

    def _reason(self, reason: str) -> str:
        return "tool_calls" if len(self._calls) and reason == "stop" else reason


def _whole(function: Any) -> dict[str, Any]:
    """Return a call's function, which comes whole: no arguments are an empty object."""
    given = function if isinstance(function, dict) else {}
    rest = {name: value for name, value in given.items() if name != "index"}
    return {**rest, "arguments": given.get("arguments") or {}}


def _thinking(line: dict[str, Any]) -> dict[str, Any]:
    return {"thinking": line["thinking"]} if "thinking" in line else {}


def _usage(line: dict[str, Any]) -> dict[str, Any]:
    """Return the counts. That of the prompt is missing when all of it was cached: then only the answer's is known."""
    read, answer = line.get("prompt_eval_count"), line["eval_count"]
    prompt = read if isinstance(read, int) else 0
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
