"""Gemini's stream of responses to deltas. No socket, no clock.

Every event is a whole response that holds the next parts. Success is a ``finishReason`` that is known to mean so and
that no text came after, of which a blocked question has none: there ``promptFeedback.blockReason`` is the last word.
There is no marker after it; token counts may follow, so the end of the body is waited for. Function calls arrive whole,
or argument by argument (`gemini_calls`).
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Audio, Image, Reasoning, ReasoningDetail, Refusal, ScoredText, ServerTool, Text
from tickertape.parsing.reasoning_details import ReasoningDetails
from tickertape.parsing.reported_errors import find_error
from tickertape.providers.answer_reader import AnswerReader
from tickertape.providers.gemini_calls import PartialCall
from tickertape.providers.gemini_messages import FORMAT
from tickertape.providers.gemini_sources import Sources
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.upstream_errors import UpstreamErrors

_RESPONSE = ("candidates", "usageMetadata", "promptFeedback", "modelVersion", "responseId", "createTime", "modelStatus")
_CANDIDATE = (
    *("content", "finishReason", "finishMessage", "index", "safetyRatings", "tokenCount", "avgLogprobs"),
    *("groundingMetadata", "citationMetadata", "logprobsResult", "error"),
)
"""Fields that are read, or say nothing of the answer: names, times, ratings of what was let through."""


class _Part(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    thought: bool | None = None


class _Content(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    parts: list[_Part] | None = None
    role: msgspec.Raw = msgspec.Raw()


class _Candidate(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815 - Gemini's names
    index: int | None = None
    safetyRatings: msgspec.Raw = msgspec.Raw()  # noqa: N815
    avgLogprobs: msgspec.Raw = msgspec.Raw()  # noqa: N815
    tokenCount: msgspec.Raw = msgspec.Raw()  # noqa: N815


class _Response(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    candidates: list[_Candidate]
    usageMetadata: dict[str, Any] | None = None  # noqa: N815
    modelVersion: msgspec.Raw = msgspec.Raw()  # noqa: N815
    responseId: msgspec.Raw = msgspec.Raw()  # noqa: N815
    createTime: msgspec.Raw = msgspec.Raw()  # noqa: N815


_decode = msgspec.json.Decoder(_Response).decode


class ResponseReader(AnswerReader):
    """Turns Gemini's responses into deltas."""

    dialect = "gemini"

    def __init__(self, errors: UpstreamErrors, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(errors, max_event_size)
        self._details = ReasoningDetails()
        self._sources = Sources()
        self._partial: PartialCall | None = None
        self._images = self._steps = 0
        self._index: int | None = None

    def _message(self, data: str, out: list[Delta]) -> None:
        try:
            response = _decode(data)
        except UNREADABLE:
            self._unusual(data, out)
            return
        if not response.candidates or len(response.candidates) > 1:
            self._unusual(data, out)
            return
        if response.usageMetadata:
            self._count(response.usageMetadata)
        (candidate,) = response.candidates
        if (candidate.index or 0) != self._index and not self._ours(candidate.index, data):
            return
        alone = True
        for part in (candidate.content and candidate.content.parts) or ():
            if part.text:
                alone = False
                self._say(part.text, thought=bool(part.thought), out=out)
        if candidate.finishReason:
            self.end.reason(candidate.finishReason, alone=alone)

    def _unusual(self, data: str, out: list[Delta]) -> None:
        response = self._read(data)
        if not isinstance(response, dict):
            self._complain(data, response)
            return
        if find_error(response) is not None or not response.keys() & set(_RESPONSE):
            if response:
                self._complain(data, response)
            return
        self._count(response.get("usageMetadata"))
        candidates = response.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict) and self._ours(candidate.get("index"), data):
                self._candidate(candidate, out)
        feedback = response.get("promptFeedback")
        blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if isinstance(blocked, str) and not candidates:
            if self.end.held is None:
                words = feedback.get("blockReasonMessage") if isinstance(feedback, dict) else None
                why = f"{blocked}: {words}" if words else blocked
                out.append(Refusal(f"Gemini refused to answer this conversation ({why})."))
            self.end.reason("PROHIBITED_CONTENT")
        self._once({name: value for name, value in response.items() if name not in _RESPONSE}, out)

    def _ours(self, index: Any, data: str) -> bool:
        """Return whether a candidate is the one that was asked for: the first index that comes."""
        number = index if isinstance(index, int) else 0
        if self._index is None:
            self._index = number
        elif number != self._index:
            self.error = self._errors.unusable(f"sent several answers, where one was asked for: {data[:80]!r}.")
        return number == self._index

    def _say(self, text: str, *, thought: bool, out: list[Delta]) -> None:
        self._content_came()
        if thought:
            out.append(Reasoning(text))
        else:
            self._sources.said(text)
            out.append(Text(text))

    def _candidate(self, candidate: dict[str, Any], out: list[Delta]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        alone = True
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and part:
                begun = len(out)
                self._part(part, out)
                if len(out) > begun:
                    alone = False
                    self._content_came()
            elif part:
                self._unknown("a part of content", part)
        self._sources.grounding(candidate.get("groundingMetadata"), out)
        self._sources.cited(candidate.get("citationMetadata"), out)
        if logprobs := _logprobs(candidate.get("logprobsResult")):
            out.append(ScoredText("", logprobs))
        self._once({name: value for name, value in candidate.items() if name not in _CANDIDATE}, out)
        if (rest := self._sources.rest) is not None:
            self._once({"grounding_metadata": rest}, out)
        words = candidate.get("finishMessage")
        self.end.reason(candidate.get("finishReason"), alone=alone, words=words if isinstance(words, str) else "")

    def _part(self, part: dict[str, Any], out: list[Delta]) -> None:
        signature = part.get("thoughtSignature") or part.get("thought_signature")
        match part:
            case {"functionCall": dict(call)}:
                self._function_call(call, signature, out)
                return
            case {"text": str(text)}:
                if text:
                    self._say(text, thought=bool(part.get("thought")), out=out)
            case {"inlineData": dict(data)} | {"inline_data": dict(data)}:
                self._media(data, out)
            case {"fileData": dict(data)} | {"file_data": dict(data)}:
                self._media(data, out)
            case {"executableCode": dict(step)}:
                self._step({"type": "executable_code", **step}, out)
            case {"codeExecutionResult": dict(step)}:
                self._step({"type": "code_execution_result", **step}, out)
            case {"toolCall": dict(step)}:
                self._step({"type": "tool_call", **step}, out)
            case {"toolResponse": dict(step)} | {"functionResponse": dict(step)}:
                self._step({"type": "tool_response", **step}, out)
            case _ if part.keys() - {"thought", "thoughtSignature", "thought_signature", "text", "partMetadata"}:
                self._unknown("a part of content of a type", part)
        if signature:
            detail = {"type": "reasoning.encrypted", "data": str(signature), "format": FORMAT}
            out.append(ReasoningDetail(self._details.whole(detail)))

    def _step(self, step: dict[str, Any], out: list[Delta]) -> None:
        out.append(ServerTool({"index": self._steps, **step}))
        self._steps += 1

    def _media(self, data: dict[str, Any], out: list[Delta]) -> None:
        kind = str(data.get("mimeType") or data.get("mime_type") or "")
        body = data.get("data")
        url = f"data:{kind};base64,{body}" if body else str(data.get("fileUri") or data.get("file_uri") or "")
        if kind.startswith("image/") and url:
            out.append(Image({"index": self._images, "type": "image_url", "image_url": {"url": url}}))
            self._images += 1
        elif kind.startswith("audio/") and body:
            fresh = self._said.get("audio") != kind  # said once: OpenAI's clients join what comes again
            self._said["audio"] = kind
            out.append(Audio({"data": body, **({"mime_type": kind} if fresh else {})}))
        else:
            self._unknown("a file of a type", {"mimeType": kind})

    def _function_call(self, call: dict[str, Any], signature: Any, out: list[Delta]) -> None:
        extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
        if self._partial is None and not call.get("willContinue") and not call.get("partialArgs"):
            arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
            self._begin_call(call, arguments, extra, out)
            return
        if self._partial is None:
            id_ = self._begin_call(call, "", extra, out)
            self._partial = PartialCall(id_)
        self._partial.take(call)
        if not call.get("willContinue"):
            arguments = json.dumps(self._partial.arguments, ensure_ascii=False)
            self._call({"id": self._partial.id, "function": {"arguments": arguments}, **extra}, out)
            self._partial = None

    def _begin_call(self, call: dict[str, Any], arguments: str, extra: dict[str, Any], out: list[Delta]) -> str:
        """Append the first piece of a call, and return its id; as Google's own OpenAI route says it."""
        id_ = str(call.get("id") or f"call_{secrets.token_hex(12)}")
        function = {"name": str(call.get("name")), "arguments": arguments}
        self._call({"id": id_, "type": "function", "function": function, **extra}, out)
        return id_

    def _last(self, out: list[Delta]) -> None:
        if self._partial is not None and self.error is None and self.end.held is not None:
            self.error = self._errors.unusable("ended the answer in the middle of a function call.")

    def _reason(self, reason: str) -> str:
        return "tool_calls" if len(self._calls) and reason == "stop" else reason

    def _count(self, counts: Any) -> None:
        usage = _usage(counts) if isinstance(counts, dict) else None
        if usage and (self._usage is None or usage["total_tokens"]):
            self._usage = usage


def _logprobs(result: Any) -> dict[str, Any] | None:
    """Return the log probabilities as OpenAI says them."""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list) or not chosen:
        return None
    top = [step.get("candidates") or [] for step in result.get("topCandidates") or () if isinstance(step, dict)]

    def token(candidate: dict[str, Any]) -> dict[str, Any]:
        return {"token": candidate.get("token", ""), "logprob": candidate.get("logProbability", 0.0), "bytes": None}

    return {
        "content": [
            {**token(candidate), "top_logprobs": [token(other) for other in (top[n] if n < len(top) else ())]}
            for n, candidate in enumerate(chosen)
            if isinstance(candidate, dict)
        ]
    }


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
