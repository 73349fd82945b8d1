"""The one fold over an answer's deltas: what it has said so far, whole.

The server's answers that are not streamed, the snapshot, the conversation, the clients and the command line all gather
here, so that none of them loses what another one keeps.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from tickertape.deltas import (
    Annotation,
    Audio,
    Begins,
    ChunkFields,
    Citation,
    Continues,
    Delta,
    DeltaFields,
    End,
    Finish,
    Frame,
    FunctionCall,
    Image,
    Opens,
    Reasoning,
    ReasoningDetail,
    Refusal,
    ScoredText,
    ServerTool,
    Stopped,
    Text,
    ToolCall,
    Typed,
    Usage,
    decode_delta,
)
from tickertape.parsing.tool_calls import merge_tool_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_JOINED = ("text", "summary", "data", "signature")
"""Fields of a reasoning detail whose pieces are joined."""


class Transcript:
    """The answer so far: `add` its deltas; the attributes hold at any moment in between.

    The lists are OpenAI's, or the field's where OpenAI has none: ``reasoning_details`` as OpenRouter has them,
    ``tool_calls`` and ``annotations`` as in OpenAI's messages, ``citations`` and ``server_tools`` in their provider's
    words, ``images`` as OpenRouter has them. ``fields`` and ``chunk_fields`` are what has no other word, ``typed`` what
    is no answer of a model.
    """

    def __init__(self) -> None:
        self.refusal = ""
        self.reasoning_details: list[dict[str, Any]] = []
        self.tool_calls: list[dict[str, Any]] = []
        self.function_call: dict[str, Any] | None = None
        self.annotations: list[dict[str, Any]] = []
        self.citations: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.audio: dict[str, Any] | None = None
        self.server_tools: list[dict[str, Any]] = []
        self.logprobs: dict[str, Any] | None = None
        self.fields: dict[str, Any] = {}
        self.chunk_fields: dict[str, Any] = {}
        self.typed: list[Typed | Frame] = []
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.continues: str | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The model's thinking so far, if it shows it."""
        return "".join(self._reasoning)

    def add(self, delta: Delta | End) -> None:
        """Add what comes next."""
        if type(delta) is Text:
            self._text.append(delta.text)
        elif type(delta) is Reasoning:
            self._reasoning.append(delta.text)
        else:
            _ADD[type(delta)](self, delta)

    def add_entries(self, entries: Iterable[bytes]) -> End | None:
        """Add a stream's entries; return its end, None while it runs. Raises EngineUnavailable for a damaged entry."""
        end = None
        for entry in entries:
            delta = decode_delta(entry)
            if isinstance(delta, End):
                end = delta
            else:
                self.add(delta)
        return end

    def message(self) -> dict[str, Any]:
        """Return OpenAI's message object with what there is so far."""
        calls = self.tool_calls or self.function_call
        return {"role": "assistant", "content": self.text or (None if calls else "")} | self.details()

    def details(self) -> dict[str, Any]:
        """Return what a message holds besides its role and content, where there is any."""
        own = {
            "reasoning_content": self.reasoning,
            "reasoning_details": self.reasoning_details,
            "refusal": self.refusal,
            "tool_calls": [_without_index(call) for call in self.tool_calls],  # only pieces have one
            "function_call": self.function_call,
            "annotations": [_without_index(one) for one in self.annotations],
            "citations": [_without_index(one) for one in self.citations],
            "images": [_without_index(one) for one in self.images],
            "audio": self.audio,
            "server_tools": [_without_index(one) for one in self.server_tools],
        }
        return {**self.fields, **{name: value for name, value in own.items() if value}}

    def _add_refusal(self, delta: Refusal) -> None:
        self.refusal += delta.text

    def _add_scored(self, delta: ScoredText) -> None:
        self._text.append(delta.text)
        self.logprobs = _merged(self.logprobs or {}, delta.logprobs)

    def _add_detail(self, delta: ReasoningDetail) -> None:
        piece = delta.detail
        detail = next((one for one in self.reasoning_details if one.get("index") == piece.get("index")), None)
        if detail is None or piece.get("index") is None:
            self.reasoning_details.append(dict(piece))
            return
        for name, value in piece.items():
            joins = name in _JOINED and isinstance(value, str) and isinstance(detail.get(name), str)
            detail[name] = detail[name] + value if joins else value

    def _add_call(self, delta: ToolCall) -> None:
        merge_tool_call(self.tool_calls, delta.call)

    def _add_function(self, delta: FunctionCall) -> None:
        self.function_call = _merged(self.function_call or {"name": "", "arguments": ""}, delta.call)

    def _add_audio(self, delta: Audio) -> None:
        audio = self.audio = self.audio or {}
        for name, value in delta.audio.items():
            if name == "data" and isinstance(value, str):
                audio["data"] = _join_base64(audio.get("data", ""), value)
            elif name == "transcript" and isinstance(value, str):
                audio[name] = audio.get(name, "") + value
            else:
                audio[name] = value

    def _add_fields(self, delta: DeltaFields) -> None:
        """Add fields without a word, and those that early logs held in OpenAI's delta although there is one now."""
        rest = dict(delta.fields)
        for name, kind in _EARLY.items():
            values = rest.pop(name, None)
            for value in values if isinstance(values, list) else [values] if values else ():
                self.add(kind(value))
        rest.pop("role", None)
        content = rest.pop("content", None)
        if content and isinstance(content, str):
            self._text.append(content)
        self.fields = _merged(self.fields, rest)

    def _add_chunk_fields(self, delta: ChunkFields) -> None:
        self.chunk_fields |= delta.fields

    def _add_finish(self, delta: Finish) -> None:
        self.finish_reason = delta.reason

    def _add_usage(self, delta: Usage) -> None:
        self.usage = delta.usage

    def _add_continues(self, delta: Continues) -> None:
        self.continues = delta.stream

    def _add_nothing(self, delta: Any) -> None:
        """Take what says nothing of the answer itself: where it belongs, and that somebody stopped it."""


_EARLY: dict[str, Callable[[Any], Delta]] = {
    "tool_calls": ToolCall,
    "function_call": FunctionCall,
    "refusal": Refusal,
    "reasoning_details": ReasoningDetail,
}

_ADD: dict[type, Callable[[Transcript, Any], None]] = {
    Begins: Transcript._add_nothing,
    Opens: Transcript._add_nothing,
    Stopped: Transcript._add_nothing,
    End: Transcript._add_nothing,
    Continues: Transcript._add_continues,
    ScoredText: Transcript._add_scored,
    ReasoningDetail: Transcript._add_detail,
    ToolCall: Transcript._add_call,
    FunctionCall: Transcript._add_function,
    Refusal: Transcript._add_refusal,
    Annotation: lambda self, delta: self.annotations.append(delta.annotation),
    Citation: lambda self, delta: self.citations.append(delta.citation),
    Image: lambda self, delta: self.images.append(delta.image),
    Audio: Transcript._add_audio,
    ServerTool: lambda self, delta: self.server_tools.append(delta.step),
    DeltaFields: Transcript._add_fields,
    ChunkFields: Transcript._add_chunk_fields,
    Finish: Transcript._add_finish,
    Usage: Transcript._add_usage,
    Typed: lambda self, delta: self.typed.append(delta),
    Frame: lambda self, delta: self.typed.append(delta),
}


def _merged(so_far: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return two objects as one: texts and lists are joined, objects merged; of anything else the last one counts."""
    made = dict(so_far)
    for name, value in more.items():
        old: Any = made.get(name)
        if type(old) is type(value) and isinstance(old, str | list):
            made[name] = old + value
        elif isinstance(old, dict) and isinstance(value, dict):
            made[name] = _merged(old, value)
        elif value is not None or old is None:
            made[name] = value
    return made


def _without_index(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "index"}


def _join_base64(one: str, other: str) -> str:
    """Return two pieces of base64 as one; each may have been encoded, and padded, by itself."""
    if not one.endswith("="):
        return one + other
    try:
        return one[:-4] + base64.b64encode(base64.b64decode(one[-4:]) + base64.b64decode(other)).decode()
    except (binascii.Error, ValueError):
        return one + other
