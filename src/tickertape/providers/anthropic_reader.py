"""Anthropic's stream of message events to deltas. No socket, no clock.

Success is ``message_stop`` after a ``stop_reason`` that is known to mean so; the one without the other is none. Errors
come as ``{"type": "error", "error": {…}}`` in the middle of a 200. Unknown events are ignored, as Anthropic asks;
unknown blocks are content that nobody would see, and fail the answer. Thinking that is signed or redacted is handed out
as OpenRouter says it, a part a block, for it must come back unchanged; tools that Anthropic runs, and what they found,
come in its own words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Reasoning, ReasoningDetail, Refusal, ServerTool, Text
from tickertape.parsing.citations import Citations
from tickertape.parsing.reasoning_details import ReasoningDetails
from tickertape.parsing.reported_errors import find_error
from tickertape.parsing.text_template import TextTemplate
from tickertape.providers.answer_reader import AnswerReader
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.util.json_util import UNREADABLE, loads

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.upstream_errors import UpstreamErrors

_FORMAT = "anthropic-claude-v1"
"""OpenRouter's name for the form of these reasoning details."""

_SERVER = ("server_tool_use", "mcp_tool_use", "container_upload", "compaction")
"""Blocks of what Anthropic does by itself, besides all that end in ``_tool_result``."""

_KNOWN = (
    *("content_block_start", "content_block_delta", "content_block_stop"),
    *("message_start", "message_delta", "message_stop", "error", ""),
)


class _TextDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag_field="type", tag="text_delta"):
    text: str


class _TextEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True, tag_field="type", tag="content_block_delta"):
    delta: _TextDelta
    index: int = 0


class _Block(msgspec.Struct):
    """A block that is being written."""

    start: dict[str, Any]
    kind: str
    text: str = ""  # of a thinking block
    begins: int = 0  # where its text begins in the answer's
    written: str = ""  # the JSON of a tool's input
    citations: list[Any] = []
    call: str = ""  # the id of a tool call


_text_event = msgspec.json.Decoder(_TextEvent).decode


class MessageReader(AnswerReader):
    """Turns Anthropic's events into deltas."""

    dialect = "anthropic"

    def __init__(self, errors: UpstreamErrors, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(errors, max_event_size)
        self._template = TextTemplate()
        self._counts: dict[str, int] = {}
        self._blocks: dict[int, _Block] = {}
        self._details = ReasoningDetails()
        self._citations = Citations()
        self._steps = 0
        self._length = 0

    def _message(self, data: str, out: list[Delta]) -> None:
        text = self._template.text(data)
        if text is not None:
            if text:
                self._say(text, out)
            return
        event = self._read(data)
        if not isinstance(event, dict):
            self._complain(data, event)
            return
        kind = event.get("type", "")
        if kind == "content_block_delta" and event.get("error") is None:
            delta = event.get("delta")
            if isinstance(delta, dict):
                self._piece(_index(event), delta, out)
                if delta.get("type") == "text_delta" and isinstance(text := delta.get("text"), str):
                    self._template.learn(data, text, _is_only)
        elif kind not in _KNOWN and isinstance(kind, str) and "error" not in event:
            return
        elif find_error(event) is not None or kind in ("error", ""):
            self._complain(data, event)
        else:
            self._other(kind, event, out)

    def _other(self, kind: str, event: dict[str, Any], out: list[Delta]) -> None:
        match kind, event:
            case "content_block_start", {"content_block": dict(block)}:
                self._begin(_index(event), block, out)
            case "content_block_stop", _:
                self._stop(_index(event), out)
            case "message_start", {"message": dict(message)}:
                self._whole(message, out)
            case "message_delta", _:
                self._count_in(event.get("usage"))
                if isinstance(delta := event.get("delta"), dict):
                    self._ends(delta, out)
            case "message_stop", _:
                self.end.marker()

    def _unframed(self, data: str, out: list[Delta]) -> None:
        value = loads(data)
        if isinstance(value, dict) and value.get("type") == "message" and isinstance(value.get("content"), list):
            self._whole(value, out)
            if self.end.held is not None:
                self.end.marker()
        else:
            self._message(data, out)

    def _whole(self, message: dict[str, Any], out: list[Delta]) -> None:
        """Take a message as far as it goes: all of it, or the empty one that begins a stream."""
        blocks = message.get("content")
        for index, block in enumerate(blocks if isinstance(blocks, list) else ()):
            if isinstance(block, dict):
                self._begin(index, block, out)
                self._stop(index, out)
        self._count_in(message.get("usage"))
        self._ends(message, out)

    def _ends(self, delta: dict[str, Any], out: list[Delta]) -> None:
        """Take what says why the message ends."""
        if delta.get("stop_reason") is not None:
            self.end.reason(delta["stop_reason"])
        details = delta.get("stop_details")
        if isinstance(details, dict) and isinstance(words := details.get("explanation"), str) and words:
            out.append(Refusal(words))
        self._once({name: delta.get(name) for name in ("stop_sequence", "stop_details", "container")}, out)

    def _say(self, text: str, out: list[Delta]) -> None:
        self._content_came()
        self._length += len(text)
        out.append(Text(text))

    def _begin(self, index: int, start: dict[str, Any], out: list[Delta]) -> None:
        kind = str(start.get("type"))
        block = self._blocks[index] = _Block(start, kind, begins=self._length)
        self._content_came()
        if kind == "text":
            if isinstance(text := start.get("text"), str) and text:
                self._say(text, out)
            block.citations = list(start.get("citations") or ())
        elif kind == "thinking":
            self._think(block, start.get("thinking"), out)
            if signature := start.get("signature"):  # it came whole
                self._sign(block, signature, out)
        elif kind == "redacted_thinking":
            self._detail({"type": "reasoning.encrypted", "data": start.get("data")}, out)
        elif kind == "tool_use":
            call = {"index": index, "id": start.get("id"), "type": "function"}
            self._call({**call, "function": {"name": start.get("name"), "arguments": ""}}, out)
        elif kind not in _SERVER and not kind.endswith("_tool_result"):
            self._unknown("a content block of a type", start)

    def _piece(self, index: int, delta: dict[str, Any], out: list[Delta]) -> None:
        block = self._blocks.setdefault(index, _Block({}, "text", begins=self._length))
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                if text:
                    self._say(text, out)
            case {"type": "thinking_delta", "thinking": str(text)}:
                self._think(block, text, out)
            case {"type": "signature_delta", "signature": str(signature)}:
                self._sign(block, signature, out)
            case {"type": "input_json_delta", "partial_json": str(text)}:
                block.written += text
                if text and block.kind == "tool_use":
                    self._content_came()
                    self._call({"index": index, "function": {"arguments": text}}, out)
            case {"type": "citations_delta", "citation": citation}:
                block.citations = [*block.citations, citation]
            case {"type": str(kind)} if kind.endswith("_delta") and block.kind in _SERVER:
                block.start = {**block.start, **{n: v for n, v in delta.items() if n != "type" and v is not None}}
            case {"type": "text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta"}:
                pass  # null where a text was due
            case _:
                self._unknown("a piece of content of a type", delta)

    def _think(self, block: _Block, text: Any, out: list[Delta]) -> None:
        if isinstance(text, str) and text:
            self._content_came()
            block.text += text
            out.append(Reasoning(text))

    def _sign(self, block: _Block, signature: Any, out: list[Delta]) -> None:
        """Hand the thinking out once more with its signature, for a caller who calls tools."""
        self._detail({"type": "reasoning.text", "text": block.text, "signature": signature}, out)
        block.text = ""

    def _detail(self, detail: dict[str, Any], out: list[Delta]) -> None:
        out.append(ReasoningDetail(self._details.whole({**detail, "format": _FORMAT})))

    def _stop(self, index: int, out: list[Delta]) -> None:
        """End a block. A call without arguments writes none: its input stood at its beginning, and is JSON too."""
        block = self._blocks.pop(index, None)
        if block is None:
            return
        given = block.start.get("input")
        if block.kind == "tool_use" and not block.written:
            arguments = json.dumps(given if isinstance(given, dict) else {}, ensure_ascii=False)
            self._call({"index": index, "function": {"arguments": arguments}}, out)
        elif block.kind in _SERVER or block.kind.endswith("_tool_result"):
            step = {**block.start, "input": loads(block.written)} if block.written else block.start
            out.append(ServerTool({**step, "index": self._steps}))
            self._steps += 1
        for citation in block.citations:
            self._cite(citation, block.begins, out)

    def _cite(self, citation: Any, begins: int, out: list[Delta]) -> None:
        """Append a citation with the part of the answer that it stands for: its block, which is whole now."""
        if not isinstance(citation, dict):
            self._citations.cite({"value": citation}, out)
            return
        place = {"start_index": begins, "end_index": self._length}
        if isinstance(url := citation.get("url"), str):
            self._citations.url(url, {**citation, **place}, out)
        else:
            self._citations.cite({**citation, **place}, out)

    def _count_in(self, counts: Any) -> None:
        """Keep the newest counts; they are cumulative, and what is not said again, or as zero, still stands."""
        if not isinstance(counts, dict):
            return
        for name, count in counts.items():
            if isinstance(count, int) and (count or name not in self._counts):
                self._counts[name] = count
        read = self._counts.get("cache_read_input_tokens", 0)
        written = self._counts.get("cache_creation_input_tokens", 0)
        prompt = self._counts.get("input_tokens", 0) + read + written
        answer = self._counts.get("output_tokens", 0)
        self._usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        if read or written:
            self._usage["prompt_tokens_details"] = {"cached_tokens": read}


def _is_only(data: str, text: str) -> bool:
    """Return whether an event says this text and nothing else."""
    try:
        return _text_event(data).delta.text == text
    except UNREADABLE:
        return False


def _index(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0
