"""Anthropic's stream of message events to deltas. No socket, no clock.

Success is ``message_stop``, nothing else: a ``stop_reason`` says why it will end, not that it has. Errors come as
``{"type": "error", "error": {…}}`` in the middle of a 200. Unknown events and blocks are ignored, as Anthropic asks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Raw, Reasoning, Text
from tickertape.foreign_json import UNREADABLE, loads
from tickertape.providers.answer_reader import AnswerReader
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.upstream import Upstream

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_BLOCK = ("content_block_start", "content_block_delta", "content_block_stop")
_KNOWN = (*_BLOCK, "message_start", "message_delta", "message_stop", "error", "")


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class _Call(msgspec.Struct):
    """A tool call that is being written: its place among the calls, and the input that came with its beginning."""

    number: int
    given: dict[str, Any]
    written: bool = False


_decode = msgspec.json.Decoder(_Event).decode


class MessageReader(AnswerReader):
    """Turns Anthropic's events into deltas."""

    def __init__(self, upstream: Upstream, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(upstream, max_event_size)
        self._reason = "stop"
        self._counts: dict[str, int] = {}
        self._open_calls: dict[int, _Call] = {}
        self._count = 0
        self._thoughts: dict[int, str] = {}

    def _message(self, data: str | bytes, out: list[Delta]) -> None:
        try:
            event = _decode(data)
        except UNREADABLE:  # an unknown event may have fields of any type
            if not _unknown(loads(data)):
                self._complain(data)
            return
        if event.error is not None or event.type in ("error", ""):
            self._complain(data)
        elif event.type == "content_block_delta" and event.delta is not None:
            self._piece(event.index, event.delta, out)
        elif event.type == "content_block_start" and event.content_block is not None:
            self._begin(event.index, event.content_block, out)
        elif event.type == "content_block_stop":
            self._end(event.index, out)
        elif event.type == "message_start" and event.message is not None:
            self._count_in(event.message.get("usage"))
        elif event.type == "message_delta":
            self._count_in(event.usage)
            if event.delta is not None and event.delta.stop_reason:
                self._reason = event.delta.stop_reason
        elif event.type == "message_stop":
            self.done = True
            self._finish(_REASONS.get(self._reason, self._reason), out)
            out += self._owed()

    def _unframed(self, data: str, out: list[Delta]) -> None:
        value = loads(data)
        blocks = value.get("content") if isinstance(value, dict) and value.get("type") == "message" else None
        if not isinstance(blocks, list):
            self._message(data, out)
            return
        for index, block in enumerate(blocks):
            if isinstance(block, dict):
                self._begin(index, block, out)
                self._end(index, out)
        self._count_in(value.get("usage"))
        reason = value.get("stop_reason")
        if isinstance(reason, str):
            self._finish(_REASONS.get(reason, reason), out)

    def _begin(self, index: int, block: dict[str, Any], out: list[Delta]) -> None:
        match block:
            case {"type": "text", "text": str(text)} if text:
                out.append(Text(text))
            case {"type": "thinking", "thinking": str(text)}:
                self._thoughts[index] = text
                if text:
                    out.append(Reasoning(text))
                if signature := block.get("signature"):  # it came whole
                    self._sign(index, str(signature), out)
            case {"type": "redacted_thinking", "data": str(data)}:
                out.append(Raw({"reasoning_details": [{"type": "reasoning.encrypted", "data": data}]}))
            case {"type": "tool_use", "id": str(id_), "name": str(name)}:
                given = block.get("input")
                call = _Call(self._count, given if isinstance(given, dict) else {})
                self._count += 1
                self._open_calls[index] = call
                function = {"name": name, "arguments": ""}
                out.append(_piece_of({"index": call.number, "id": id_, "type": "function", "function": function}))

    def _piece(self, index: int, delta: _Delta, out: list[Delta]) -> None:
        if delta.text:
            out.append(Text(delta.text))
        elif delta.thinking:
            self._thoughts[index] = self._thoughts.get(index, "") + delta.thinking
            out.append(Reasoning(delta.thinking))
        elif delta.signature:
            self._sign(index, delta.signature, out)
        elif delta.partial_json and (call := self._open_calls.get(index)) is not None:
            call.written = True
            out.append(_piece_of({"index": call.number, "function": {"arguments": delta.partial_json}}))

    def _sign(self, index: int, signature: str, out: list[Delta]) -> None:
        """Hand the thinking out once more with its signature, in OpenRouter's words, for a caller who calls tools."""
        detail = {"type": "reasoning.text", "text": self._thoughts.pop(index, ""), "signature": signature}
        out.append(Raw({"reasoning_details": [detail]}))

    def _end(self, index: int, out: list[Delta]) -> None:
        """End a block. A call without arguments writes none: its input stood at its beginning, and is JSON too."""
        call = self._open_calls.pop(index, None)
        if call is not None and not call.written:
            out.append(_piece_of({"index": call.number, "function": {"arguments": json.dumps(call.given)}}))

    def _count_in(self, counts: Any) -> None:
        """Keep the newest counts; they are cumulative, and what is not said again still stands."""
        if not isinstance(counts, dict):
            return
        self._counts |= {name: count for name, count in counts.items() if isinstance(count, int)}
        read = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        prompt = self._counts.get("input_tokens", 0) + read + written
        answer = self._counts.get("output_tokens", 0)
        self._usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        if read or written:
            self._usage["prompt_tokens_details"] = {"cached_tokens": read}


def _unknown(event: Any) -> bool:
    kind = event.get("type") if isinstance(event, dict) and "error" not in event else None
    return isinstance(kind, str) and kind not in _KNOWN


def _piece_of(call: dict[str, Any]) -> Raw:
    return Raw({"tool_calls": [call]})
