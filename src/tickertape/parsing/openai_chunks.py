"""OpenAI's chat completion chunks, and what servers make of them, to deltas. Pure: no I/O, no error is raised here.

Providers read upstreams with this, and clients any server. There are three ways, the quickest first, all with the same
result: a chunk that differs from one before in its text alone, a chunk that holds OpenAI's usual fields and nothing
else, and every other one, as a dict. Only the last looks for what is unusual: errors, other spellings, other types.

Nothing that a chunk says is dropped in silence. What `deltas` has a word for becomes that; other fields are passed on
under their own names, once for each value; content of a type that nobody knows is a ``problem``. Left out are `_ABOUT`,
which say nothing of the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import (
    Audio,
    ChunkFields,
    DeltaFields,
    FunctionCall,
    Image,
    Reasoning,
    ReasoningDetail,
    Refusal,
    ScoredText,
    Text,
    ToolCall,
)
from tickertape.parsing.citations import Citations
from tickertape.parsing.finish_reasons import AnswerEnd
from tickertape.parsing.images import image_of
from tickertape.parsing.reasoning_details import ReasoningDetails, reasoning_text
from tickertape.parsing.reported_errors import find_error
from tickertape.parsing.surrogates import SurrogateJoiner
from tickertape.parsing.text_template import TextTemplate
from tickertape.parsing.tool_calls import ToolCallPieces
from tickertape.util.json_util import UNREADABLE, loads

if TYPE_CHECKING:
    from tickertape.deltas import Delta

_ABOUT = frozenset(
    (
        *("id", "object", "created", "model", "system_fingerprint", "service_tier", "obfuscation", "provider"),
        *("timings", "prompt_progress", "request_id", "nonce", "x_groq", "index", "tickertape", "event", "type"),
        *("code", "status", "success", "base_resp", "msg", "message", "status_code", "error", "errors"),
    )
)
"""Fields of a chunk that say nothing of the answer: names, times, padding, speed, and whether all is well."""

_CHOICE = frozenset(
    (
        *("index", "delta", "message", "text", "finish_reason", "logprobs", "error", "native_finish_reason"),
        *("stop_reason", "matched_stop", "token_ids", "seed", "finish_details"),
    )
)
"""Fields of a choice that are read, or name its end once more."""

_REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thought", "thoughts")
"""Where servers put what the model thinks: DeepSeek and llama.cpp, OpenRouter and Ollama, Copilot, and others."""

_READ = frozenset(
    (
        *("role", "content", *_REASONING, "reasoning_details", "thinking_blocks", "tool_calls", "function_call"),
        *("refusal", "annotations", "citations", "search_results", "images", "image", "audio", "index"),
    )
)
"""Fields of a delta that have a word of their own."""

_TEXTS = ("text", "output_text", "input_text")
_THOUGHTS = ("thinking", "reasoning", "reasoning_content", "reasoning_text", "thought", "summary_text")
_REFERENCES = ("reference", "tool_reference", "citation", "citations", "file_citation", "document")


class _Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    refusal: str | None = None
    function_call: None = None
    reasoning_details: None = None
    annotations: None = None
    audio: None = None


class _Choice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None
    stop_reason: None = None
    matched_stop: None = None
    token_ids: None = None
    native_finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    choices: list[_Choice]
    model: str | None = None
    usage: dict[str, Any] | None = None
    id: msgspec.Raw = msgspec.Raw()
    object: msgspec.Raw = msgspec.Raw()
    created: msgspec.Raw = msgspec.Raw()
    system_fingerprint: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    obfuscation: msgspec.Raw = msgspec.Raw()
    provider: msgspec.Raw = msgspec.Raw()
    prompt_token_ids: None = None
    error: None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChunkParser:
    """Reads the chunks of one answer, one after the other.

    ``end`` is what is known of the answer's end, ``usage`` the token counts so far, ``model`` what calls itself so,
    ``error`` what `parse_error` takes if a chunk was an error, ``problem`` a sentence's end if it was no part of an
    answer: after either, read no further. With ``raw`` thinking is passed on under the upstream's own names too.
    """

    def __init__(self, *, raw: bool = False) -> None:
        self.end = AnswerEnd("openai")
        self.usage: dict[str, Any] | None = None
        self.model: str | None = None
        self.error: Any = None
        self.problem: str | None = None
        self._raw = raw
        self._template = TextTemplate()
        self._index: int | None = None
        self._calls = ToolCallPieces()
        self._details = ReasoningDetails()
        self._citations = Citations()
        self._images = 0
        self._whole = False  # whether a message is read that was not streamed
        self._said: dict[str, Any] = {}  # the fields without a word, as they were last
        self._halves: SurrogateJoiner | None = None

    def read(self, data: str, out: list[Delta]) -> bool:
        """Append what one chunk says; return whether it was an error, or no part of an answer."""
        text = self._template.text(data)
        if text is not None and self._halves is None:
            if text:
                if self.end.held is not None or self.end.marked:
                    self.end.content()
                out.append(Text(text))
            return False
        before = len(out)
        self._read(data, out)
        if self._halves is None and len(out) == before + 1 and type(delta := out[-1]) is Text:
            self._template.learn(data, delta.text, self._says_only)
        return self.problem is not None or self.error is not None

    def done(self) -> None:
        """Take the marker of the end. Without a choice before it there is no answer that could be whole."""
        if self._index is not None:
            self.end.marker()

    def forgive(self) -> None:
        """Go on after a message that was no chunk, and means no harm."""
        self.error = self.problem = None

    def close(self, out: list[Delta]) -> None:
        """Append what is still held back: no chunk follows."""
        if self._halves is not None:
            out += self._halves.rest()

    def _says_only(self, data: str, text: str) -> bool:
        """Return whether a chunk says this text and nothing else, also of the answer's end."""
        trial = ChunkParser(raw=self._raw)
        trial._said, trial.usage, trial._index = dict(self._said), self.usage, self._index
        out: list[Delta] = []
        trial._read(data, out)
        quiet = trial.error is None and trial.problem is None and not trial.end.said and trial.usage is self.usage
        return quiet and out == [Text(text)]

    def _read(self, data: str, out: list[Delta]) -> None:
        try:
            chunk = _decode(data)
        except UNREADABLE:
            self._unusual(data, out)
            return
        if chunk.usage:
            self._count(chunk.usage)
        if chunk.model and self.model is None:
            self.model = chunk.model
        for choice in chunk.choices:
            if choice.index != self._index and not self._ours(choice.index, data):
                return
            begun = len(out)
            delta = choice.delta
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                out.append(Reasoning(thought))
                if self._raw and delta.reasoning:
                    out.append(DeltaFields({"reasoning": delta.reasoning}))
                if delta.reasoning_content and delta.reasoning and delta.reasoning != thought:
                    out.append(Reasoning(delta.reasoning))
            if delta.content:
                out.append(Text(delta.content))
            if delta.tool_calls:
                out += [ToolCall(self._calls.piece(call)) for call in delta.tool_calls]
            if delta.refusal:
                out.append(Refusal(delta.refusal))
            self._ended(choice.finish_reason, alone=len(out) == begun)

    def _ended(self, reason: Any, *, alone: bool) -> None:
        if not alone and self.end.said:
            self.end.content()
        if reason is not None:
            self.end.reason(reason, alone=alone)

    def _ours(self, index: int, data: str) -> bool:
        """Return whether a choice is the one that was asked for: the first index that comes."""
        if self._index is None:
            self._index = index
        elif index != self._index:
            self.problem = f"sent several answers at once, where one was asked for: {data[:80]!r}."
            return False
        return True

    def _count(self, usage: Any) -> None:
        """Keep the newest counts; a last one that is all zeros is a server that has forgotten."""
        if isinstance(usage, dict) and usage and (self.usage is None or _counts(usage)):
            self.usage = usage

    # --- every chunk that is not as usual

    def _unusual(self, data: str, out: list[Delta]) -> None:
        chunk = loads(data)
        if not isinstance(chunk, dict):
            self.error = find_error(chunk)
            if self.error is None:
                self.problem = f"sent a message that is not a JSON object: {data[:80]!r}."
            return
        if self._halves is None and "\\ud" in data.lower():
            self._halves = SurrogateJoiner()
        said: list[Delta] = []
        self._chunk(chunk, data, said)
        if (error := find_error(chunk)) is not None:
            self.error, self.problem = error, None
        out += said if self._halves is None else self._halves.join(said)

    def _chunk(self, chunk: dict[str, Any], data: str, out: list[Delta]) -> None:
        self._count(chunk.get("usage"))
        if isinstance(model := chunk.get("model"), str) and self.model is None:
            self.model = model or None
        choices = chunk.get("choices")
        choices = choices if isinstance(choices, list) else [choices] if isinstance(choices, dict) else None
        for choice in choices or ():
            if isinstance(choice, dict):
                self._choice(choice, data, out)
        self._citations.listed(chunk.get("citations"), chunk.get("search_results"), out)
        known = _ABOUT | {"choices", "usage", "citations", "search_results"}
        rest = {name: value for name, value in chunk.items() if name not in known and _is_said(value)}
        if choices is None and rest and self.problem is None:
            self.problem = f"sent what is no part of an answer in this dialect: {data[:80]!r}."
        elif rest:
            self._once(rest, out)

    def _choice(self, choice: dict[str, Any], data: str, out: list[Delta]) -> None:
        index = choice.get("index")
        index = int(index) if isinstance(index, str) and index.isascii() and index.isdigit() else index
        if not self._ours(index if isinstance(index, int) else 0, data):
            return
        begun = len(out)
        delta = choice.get("delta")
        self._whole = not delta and isinstance(choice.get("message"), dict)
        if self._whole:
            delta = choice["message"]
        if isinstance(delta, dict):
            self._delta(delta, out)
        elif delta:
            self._content(delta, out)
        if not (isinstance(delta, dict) and delta.get("content")) and isinstance(choice.get("text"), str):
            self._content(choice["text"], out)
        if isinstance(logprobs := choice.get("logprobs"), dict) and any(logprobs.values()):
            _score(logprobs, out, begun)
        alone = len(out) == begun
        rest = {name: value for name, value in choice.items() if name not in _CHOICE and _is_said(value)}
        if rest:
            self._once(rest, out)
        self._ended(choice.get("finish_reason"), alone=alone)

    def _delta(self, delta: dict[str, Any], out: list[Delta]) -> None:
        self._reasoning(delta, out)
        self._content(delta.get("content"), out)
        for name, kind in (("tool_calls", self._tool_call), ("annotations", self._citations.annotation)):
            values = delta.get(name)
            for value in values if isinstance(values, list) else [values] if values else ():
                kind(value, out)
        if isinstance(call := delta.get("function_call"), dict) and call:
            given = {name: value for name, value in call.items() if value is not None}
            if isinstance(given.get("arguments"), dict):
                given["arguments"] = msgspec.json.encode(given["arguments"]).decode()
            out.append(FunctionCall(given))
        if refusal := delta.get("refusal"):
            out.append(Refusal(refusal if isinstance(refusal, str) else msgspec.json.encode(refusal).decode()))
        self._citations.listed(delta.get("citations"), delta.get("search_results"), out)
        for images in (delta.get("images"), delta.get("image")):
            for image in images if isinstance(images, list) else [images] if images else ():
                self._image(image, out)
        if audio := delta.get("audio"):
            self._hear(audio, out)
        rest = {name: value for name, value in delta.items() if name not in _READ and _is_said(value)}
        if rest:
            out.append(DeltaFields(rest))

    def _reasoning(self, delta: dict[str, Any], out: list[Delta]) -> None:
        said: list[str] = []
        for name in _REASONING:
            value = delta.get(name)
            if (text := reasoning_text(value)) and text not in said:
                said.append(text)
                out.append(Reasoning(text))
            elif value and not text:
                out.append(DeltaFields({name: value}))
        details = delta.get("reasoning_details")
        blocks = delta.get("thinking_blocks")
        for part in details if isinstance(details, list) else blocks if isinstance(blocks, list) else ():
            if isinstance(part, dict):
                piece = self._details.piece(part, apart=self._whole)
                shown = piece.get("text") or piece.get("summary")
                if shown and isinstance(shown, str) and not said:
                    out.append(Reasoning(shown))
                out.append(ReasoningDetail(piece))
        if self._raw and (reasoning := delta.get("reasoning")):
            out.append(DeltaFields({"reasoning": reasoning}))

    def _content(self, content: Any, out: list[Delta]) -> None:
        """Append what a content says: text, or parts of several types."""
        if isinstance(content, str):
            if content:
                out.append(Text(content))
            return
        for part in content if isinstance(content, list) else [content] if content else ():
            if isinstance(part, str):
                self._content(part, out)
            elif isinstance(part, dict):
                self._part(part, out)
            else:
                self.problem = f"sent content that is neither text nor a part of one: {part!r:.80}."

    def _part(self, part: dict[str, Any], out: list[Delta]) -> None:
        kind = part.get("type") or next((name for name in ("text", "thinking") if name in part), None)
        if kind in _TEXTS:
            self._content(part.get("text"), out)
            for annotation in part.get("annotations") or ():
                self._citations.annotation(annotation, out)
        elif kind in _THOUGHTS:
            if text := reasoning_text(part):
                out.append(Reasoning(text))
            if part.get("signature"):
                out.append(ReasoningDetail(self._details.piece(part)))
        elif kind in ("image_url", "image", "output_image"):
            self._image(part, out)
        elif kind in ("audio", "output_audio", "input_audio"):
            self._hear(part.get(kind) or part, out)
        elif kind == "refusal":
            out.append(Refusal(str(part.get("refusal") or part.get("text") or "")))
        elif kind in ("tool_call", "tool_use", "function"):
            self._tool_call(part.get("tool_call") or part, out)
        elif kind in _REFERENCES:
            self._citations.cite(part, out)
        else:
            self.problem = f"sent content of the type {kind!r}, which is not known here: {part!r:.80}."

    def _tool_call(self, call: Any, out: list[Delta]) -> None:
        if isinstance(call, dict):
            out.append(ToolCall(self._calls.piece(call)))
        else:
            self.problem = f"sent a tool call that is not a JSON object: {call!r:.80}."

    def _image(self, image: Any, out: list[Delta]) -> None:
        made = image_of(image)
        if made is None:
            self.problem = f"sent an image without its data or address: {image!r:.80}."
            return
        out.append(Image({"index": self._images, **made}))
        self._images += 1

    def _hear(self, audio: Any, out: list[Delta]) -> None:
        if isinstance(audio, dict):
            out.append(Audio({name: value for name, value in audio.items() if _is_said(value) and name != "type"}))
        else:
            self.problem = f"sent sound that is not a JSON object: {audio!r:.80}."

    def _once(self, fields: dict[str, Any], out: list[Delta]) -> None:
        """Append fields without a word whose value is new: many are said again with every chunk."""
        fresh = {name: value for name, value in fields.items() if self._said.get(name) != value}
        if fresh:
            self._said |= fresh
            out.append(ChunkFields(fresh))


def _score(logprobs: dict[str, Any], out: list[Delta], begun: int) -> None:
    """Join the probabilities to the text they belong to, the last one of the chunk."""
    for at in range(len(out) - 1, begun - 1, -1):
        if type(delta := out[at]) is Text:
            out[at] = ScoredText(delta.text, logprobs)
            return
    out.append(ScoredText("", logprobs))


def _is_said(value: Any) -> bool:
    return value is not None and value not in ("", [], {})


def _counts(usage: Any) -> bool:
    """Return whether any count is there that is not zero."""
    if isinstance(usage, dict):
        return any(map(_counts, usage.values()))
    return bool(usage) and isinstance(usage, int | float)
