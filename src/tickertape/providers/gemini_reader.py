"""Gemini's stream of responses to deltas. No socket, no clock.

Every event is a whole response that holds the next parts. Success is a ``finishReason``, of which a blocked question
has none: there ``promptFeedback.blockReason`` is the last word. There is no marker after it; token counts may follow,
so the end of the body is waited for. Function calls arrive whole. Reasons that mean a broken answer, such as
``MALFORMED_FUNCTION_CALL``, are errors.
"""

from __future__ import annotations

import json
import secrets
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
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_UNSAID = "FINISH_REASON_UNSPECIFIED"


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    thought: bool | None = None
    functionCall: dict[str, Any] | None = None  # noqa: N815 - Gemini's names
    thoughtSignature: str | None = None  # noqa: N815


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815
    index: int | None = None


class _Response(msgspec.Struct, gc=False):
    candidates: list[_Candidate] | None = None
    usageMetadata: dict[str, Any] | None = None  # noqa: N815
    promptFeedback: dict[str, Any] | None = None  # noqa: N815
    error: Any = None


_decode = msgspec.json.Decoder(_Response).decode


class ResponseReader(AnswerReader):
    """Turns Gemini's responses into deltas."""

    def __init__(self, upstream: Upstream, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(upstream, max_event_size)
        self._calls = 0

    def _message(self, data: str | bytes, out: list[Delta]) -> None:
        try:
            response = _decode(data)
        except UNREADABLE:
            self._complain(data)
            return
        if response.error is not None or (not response.candidates and _says_nothing(response, data)):
            self._complain(data)
            return
        if response.usageMetadata:
            self._usage = _usage(response.usageMetadata)
        for candidate in response.candidates or ():
            if not candidate.index:
                self._candidate(candidate, out)
        blocked = (response.promptFeedback or {}).get("blockReason")
        if isinstance(blocked, str) and not response.candidates:
            if not self.finished:
                out.append(Raw({"refusal": f"Gemini refused to answer this conversation ({blocked})."}))
            self._finish("content_filter", out)

    def _candidate(self, candidate: _Candidate, out: list[Delta]) -> None:
        for part in (candidate.content and candidate.content.parts) or ():
            if part.functionCall is not None:
                self._call(part.functionCall, part.thoughtSignature, out)
            elif part.text:
                out.append(Reasoning(part.text) if part.thought else Text(part.text))
        reason = candidate.finishReason
        if not reason or reason == _UNSAID:
            return
        if reason not in _REASONS:
            words = f"{candidate.finishMessage} ({reason})" if candidate.finishMessage else f"it ended with {reason}"
            self.error = self._upstream.reported({"error": {"message": words, "code": reason.lower()}})
            return
        self._finish("tool_calls" if self._calls and reason == "STOP" else _REASONS[reason], out)

    def _call(self, call: dict[str, Any], signature: str | None, out: list[Delta]) -> None:
        id_ = call.get("id") or f"call_{secrets.token_hex(12)}"
        function = {"name": str(call.get("name")), "arguments": json.dumps(call.get("args") or {}, ensure_ascii=False)}
        made: dict[str, Any] = {"index": self._calls, "id": id_, "type": "function", "function": function}
        if signature:
            made["extra_content"] = {"google": {"thought_signature": signature}}  # as Google's own OpenAI route says it
        self._calls += 1
        out.append(Raw({"tool_calls": [made]}))


def _says_nothing(response: _Response, data: str | bytes) -> bool:
    """Return whether a response without candidates has no other reason to be: then it is of another dialect."""
    if response.usageMetadata or response.promptFeedback:
        return False
    value = loads(data)
    return not isinstance(value, dict) or not value.keys() & {"responseId", "modelVersion", "candidates"}


def _usage(counts: dict[str, Any]) -> dict[str, Any]:
    def count(name: str) -> int:
        value = counts.get(name)
        return value if isinstance(value, int) else 0

    thought = count("thoughtsTokenCount")
    prompt, answer = (
        count("promptTokenCount") + count("toolUsePromptTokenCount"),
        count("candidatesTokenCount") + thought,
    )
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    if count("cachedContentTokenCount"):
        usage["prompt_tokens_details"] = {"cached_tokens": count("cachedContentTokenCount")}
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage
