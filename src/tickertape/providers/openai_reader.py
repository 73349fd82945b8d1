"""OpenAI's stream of chat completion chunks, and what servers make of it, to deltas. No socket, no clock.

Success is a ``finish_reason`` or ``[DONE]``: some servers leave out the first, many the second. Neither means that the
answer is incomplete. An error may come as

* ``data: {"error": {…}}``, with or without a ``[DONE]`` after it,
* ``data: {"object": "error", "message": …}`` (older vLLM),
* a usual chunk with ``error`` beside ``choices``, or just ``finish_reason: "error"``,
* a line ``error: {…}`` (older llama.cpp) or a bare ``{"error": …}``, which are no fields of an event stream.

The usual chunk is decoded straight into a Struct of what we need; whatever does not fit is looked at again as a dict.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Delta, Finish, Raw, Reasoning, Text, Usage
from tickertape.errors import EventTooLarge, ProviderError
from tickertape.sse import Decoder
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from tickertape.providers.upstream import Upstream

_REASONS = {"eos_token": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
"""Finish reasons outside OpenAI's five, from text-generation-inference and translating proxies."""

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

_TAIL = 2048
"""Bytes. How much of the end of a body is kept, to find an error there that is no event."""

_LAST_WORDS = re.compile(rb"[\r\n](?:error: *([^\r\n]+)|(\{ *\"error\"[^\r\n]+))")


class ChunkReader:
    """Turns the bytes of one response body into deltas.

    Call `feed` with each piece as it arrives, and with nothing at the body's end, until the answer is ``over``; then
    raise the ``error`` if there is one. ``done`` says that the upstream's last word was read; ``events`` counts
    what came, whether it held a delta or not.
    """

    def __init__(self, upstream: Upstream, max_event_size: int = MAX_EVENT_SIZE) -> None:
        self.error: ProviderError | None = None
        self.done = False
        self.events = 0
        self._upstream = upstream
        self._decoder = Decoder(max_event_size)
        self._tail = b"\n"
        self._finished = False
        self._closed = False
        self._usage: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._closed or self.done or self.error is not None

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas that these bytes complete, in order, up to an error or ``[DONE]``.

        No bytes mean that the body has ended. Usage that is still owed comes then; a missing `Finish` stays missing.
        """
        if not data:
            return self._close()
        out: list[Delta] = []
        self._tail = (self._tail + data)[-_TAIL:]
        try:
            events = self._decoder.feed(data)
        except EventTooLarge as error:
            self.error = self._upstream.unusable(f"sent too much at once. {error}")
            return out
        self.events += len(events)
        for event in events:
            self._event(event.data, out)
            if self.over:
                break
        return out

    def _close(self) -> list[Delta]:
        self._closed = True
        try:
            self._decoder.close()
        except EventTooLarge as error:
            self.error = self._upstream.unusable(f"sent too much at once. {error}")
        if not self._finished:
            self._complained()
        return self._owed()

    def _complained(self) -> bool:
        """Look for an error among the last lines. An event's own lines begin with a field name: no text is mistaken."""
        found = _LAST_WORDS.search(self._tail)
        if found is not None:
            words = (found[1] or found[2]).decode("utf-8", "replace")
            self.error = self._upstream.reported(_loads(words))
        return found is not None

    def _owed(self) -> list[Delta]:
        usage, self._usage = self._usage, None
        return [Usage(usage)] if usage else []

    def take(self, data: bytes) -> list[Delta]:
        """Return the deltas of one chunk that came without an event stream around it."""
        out: list[Delta] = []
        self.events += 1
        self._event(data, out)
        return out

    def whole(self, body: bytes) -> list[Delta]:
        """Return the deltas of an answer that came in one piece of JSON: the upstream does not stream."""
        out: list[Delta] = []
        self._closed = True
        text = body.decode("utf-8", "replace")
        if isinstance(_loads(text), dict):
            self._unusual(text, out)
        else:
            self.error = self._upstream.unusable("answered with what is no chat completion. Check the base URL.")
        return out + self._owed()

    def _event(self, data: str | bytes, out: list[Delta]) -> None:
        if data == "[DONE]":
            self.done = True
            if not self._finished and not self._complained():
                out.append(Finish("stop"))
            out += self._owed()
            return
        try:
            chunk = _decode(data)
        except msgspec.DecodeError:  # ValidationError is one
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
                _deltas(choice.delta, out)
            if choice.finish_reason:
                self._finish(choice.finish_reason, out)

    def _finish(self, reason: str, out: list[Delta]) -> None:
        if reason == "error":
            self.error = self._upstream.reported(None)
        elif not self._finished:
            self._finished = True
            out.append(Finish(_REASONS.get(reason, reason)))

    def _unusual(self, data: str | bytes, out: list[Delta]) -> None:
        """Take a chunk that is an error, or of types that no specification has."""
        chunk = _loads(data)
        if not isinstance(chunk, dict):
            self.error = self._upstream.unusable(f"sent an event that is not a JSON object: {data[:80]!r}.")
            return
        usage = chunk.get("usage")
        self._usage = usage if isinstance(usage, dict) and usage else self._usage
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                delta = choice.get("delta") or choice.get("message")  # a whole message where nothing was streamed
                _deltas(_loose(delta if isinstance(delta, dict) else {}), out)
                reason = choice.get("finish_reason")
                if reason and isinstance(reason, str) and reason != "error":
                    self._finish(reason, out)
        bare = not chunk.keys() & {"choices", "usage"} and chunk.keys() & {"message", "detail"}
        if chunk.get("error") or chunk.get("object") == "error" or bare:
            self.error = self._upstream.reported(chunk)


def _deltas(delta: _Delta, out: list[Delta]) -> None:
    thought = delta.reasoning_content or delta.reasoning
    if not thought and delta.reasoning_details:
        thought = _details(delta.reasoning_details)
    if thought:
        out.append(Reasoning(thought))
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


def _loads(text: str | bytes) -> Any:
    """Decode with Python's parser, which takes half surrogate pairs and NaN; what is no JSON stays text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
