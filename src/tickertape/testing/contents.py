"""What an answer holds beside its text, and the places where errors hide: each as every dialect says it.

A dialect that has no word for something answers as if nothing were wrong; the fault's description says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.plays import mapped, reason
from tickertape.testing.said import BROKEN, WORDS
from tickertape.testing.shapes import CREATED
from tickertape.testing.steps import Act, Body, Token, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.testing.said import Said
    from tickertape.testing.steps import Step

CALLS = (("look", {"at": "é"}), ("find", {"n": 2}))
"""The tool calls of an answer with two."""

SIGNED = (("Hm.", "c2lnLTE="), ("So.", "c2lnLTI="))
"""Two pieces of thinking, and their signatures."""

REFUSED = "I cannot help with that."
SOURCE = "https://example.org/tape"
PICTURE = "iVBORw0KGgo="
LOGPROB = -0.25

UNFINISHED = {
    "openai": "insufficient_system_resource",
    "anthropic": "pause_turn",
    "gemini": "MALFORMED_FUNCTION_CALL",
    "ollama": "load",
}
"""Reasons that are known to mean that the answer is not whole."""

_HALVES = ("\ue000", "\ue001")
"""They stand for the two halves of 😀 until the messages are bytes."""


def signed_thinking(said: Said) -> list[Step]:
    """Return two signed blocks of thinking before the answer."""
    messages: list[Any] = []
    for number, (words, signature) in enumerate(SIGNED):
        detail = {"type": "reasoning.text", "index": number, "text": words, "signature": signature}
        messages += {
            "openai": [_chunk(said, {"reasoning": words, "reasoning_details": [detail]})],
            "anthropic": _block(
                1 + number,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": words},
                {"type": "signature_delta", "signature": signature},
            ),
            "gemini": [_part(said, {"text": words, "thought": True, "thoughtSignature": signature})],
            "ollama": [_line(said, {"thinking": words})],
        }[said.shape.name]
    return [said.head, *said.opening, *_framed(said, messages), *said.tokens(), *said.closing(), Act.END]


def refusal(said: Said) -> list[Step]:
    """Return an answer that refuses after its text."""
    words = {"openai": [_chunk(said, {"refusal": REFUSED})]}
    why = "stop" if said.shape.name == "openai" else "content_filter"
    return _beside(said, words, why)


def citations(said: Said) -> list[Step]:
    """Return an answer that names a source for its text."""
    cited = {"type": "url_citation", "url_citation": {"url": SOURCE, "title": "Tape", "start_index": 0, "end_index": 8}}
    citation = {"type": "web_search_result_location", "url": SOURCE, "title": "Tape", "cited_text": "The tape"}
    grounding = {
        "groundingChunks": [{"web": {"uri": SOURCE, "title": "Tape"}}],
        "groundingSupports": [{"segment": {"endIndex": 8, "text": "The tape"}, "groundingChunkIndices": [0]}],
    }
    delta = {"type": "citations_delta", "citation": citation}
    messages = {
        "openai": [_chunk(said, {"annotations": [cited]})],
        "anthropic": [{"type": "content_block_delta", "index": 0, "delta": delta}],
        "gemini": [{"candidates": [{"index": 0, "groundingMetadata": grounding}], "modelVersion": said.model}],
    }
    return _beside(said, messages)


def image(said: Said) -> list[Step]:
    """Return a picture after the text."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    messages = {
        "openai": [_chunk(said, {"images": [picture]})],
        "gemini": [_part(said, {"inlineData": {"mimeType": "image/png", "data": PICTURE}})],
        "ollama": [_line(said, {"images": [PICTURE]})],
    }
    return _beside(said, messages)


def logprobs(said: Said) -> list[Step]:
    """Return an answer with the log probability of one token."""
    scored = [{"token": "all.", "logprob": LOGPROB, "bytes": None, "top_logprobs": []}]
    result = {"chosenCandidates": [{"token": "all.", "logProbability": LOGPROB}], "topCandidates": []}
    messages = {
        "openai": [_chunk(said, {}, logprobs={"content": scored, "refusal": None})],
        "gemini": [{"candidates": [{"index": 0, "logprobsResult": result}], "modelVersion": said.model}],
        "ollama": [_line(said, {}) | {"logprobs": scored}],
    }
    return _beside(said, messages)


def calls_without_index(said: Said) -> list[Step]:
    """Return two tool calls, without an index where the dialect can leave it out."""
    return _calls(said, {}, {})


def calls_with_one_index(said: Said) -> list[Step]:
    """Return two tool calls under one index, in a dialect with indexes."""
    return _calls(said, {"index": 0}, {"index": 0})


def arguments_as_object(said: Said) -> list[Step]:
    """Return a tool call whose arguments are an object, where pieces of text are due."""
    name, arguments = CALLS[0]
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}
    messages = {"openai": [_chunk(said, {"tool_calls": [call]})], "anthropic": _block(1, block)}
    if said.shape.name not in messages:  # it says all arguments so
        own = said.messages(*said.shape.call(said.model, name, arguments))
        return [said.head, *said.opening, *said.tokens(), *own, *said.closing("tool_calls"), Act.END]
    return _beside(said, messages, "tool_calls")


def split_pair(said: Said) -> list[Step]:
    """Return a character whose two halves, a surrogate pair, come in two tokens."""
    given = msgspec.structs.replace(said, words=(*WORDS, *_HALVES))
    first, second = (half.encode() for half in _HALVES)
    steps = mapped(given, lambda data: data.replace(first, b"\\ud83d").replace(second, b"\\ude00"))
    at = next(n for n, step in enumerate(steps) if isinstance(step, Token) and b"\\ude00" in step.data)
    return [*steps[:at], Wait(0.05), *steps[at:]]  # who reads both at once may join them by chance


def null_reason(said: Said) -> list[Step]:
    """Return half an answer and the word "null" as its reason to end, and then a proper end of the body."""
    return said.after(said.frame(reason(said, "null")), Act.END)


def unfinished_reason(said: Said) -> list[Step]:
    """Return an answer that ends for a reason known to mean that it is not whole."""
    name = said.shape.name
    last = reason(said, UNFINISHED[name]) | ({"done": True} if name == "ollama" else {})
    markers: dict[str, list[Any]] = {"openai": ["[DONE]"], "anthropic": [{"type": "message_stop"}]}
    end = _framed(said, [last, *markers.get(name, [])])
    return [said.head, *said.opening, *said.tokens(), *end, Act.END]


def unknown_content(said: Said) -> list[Step]:
    """Return content of a type that nobody knows in the middle of an answer that then ends well."""
    part = {"type": "hologram", "hologram": "AAAA"}
    messages = {
        "openai": [_chunk(said, {"content": [part]})],
        "anthropic": _block(1, part),
        "gemini": [_part(said, {"hologram": {"data": "AAAA"}})],
        "ollama": [_line(said, {"content": [part]})],
    }[said.shape.name]
    return [*said.begun, *_framed(said, messages), *said.closing(), Act.END]


def error_in(place: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Said], list[Step]]:
    """Return what says an error in this place of a message, as gateways do in front of every dialect, and ends well."""

    def play(said: Said) -> list[Step]:
        return said.after(said.frame(place({"message": BROKEN, "code": 502})), *said.closing(), Act.END)

    return play


def _beside(said: Said, messages: dict[str, list[Any]], why: str = "stop") -> list[Step]:
    """Return the whole text, then the dialect's messages, and then the end."""
    own = _framed(said, messages.get(said.shape.name, []))
    return [said.head, *said.opening, *said.tokens(), *own, *said.closing(why), Act.END]


def _calls(said: Said, *indexes: dict[str, int]) -> list[Step]:
    messages: list[Any] = []
    for number, ((name, arguments), index) in enumerate(zip(CALLS, indexes, strict=True)):
        id_, text = f"call_{number}", msgspec.json.encode(arguments).decode()
        function = {"name": name, "arguments": text}
        block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        messages += {
            "openai": [_chunk(said, {"tool_calls": [{**index, "id": id_, "type": "function", "function": function}]})],
            "anthropic": _block(
                1 + index.get("index", number), block, {"type": "input_json_delta", "partial_json": text}
            ),
            "gemini": [_part(said, {"functionCall": {"name": name, "args": arguments}})],
            "ollama": [
                _line(said, {"tool_calls": [{"function": {**index, "name": name, "arguments": arguments}}]}),
            ],
        }[said.shape.name]
    return _beside(said, {said.shape.name: messages}, "tool_calls")


def _framed(said: Said, messages: list[Any]) -> list[Step]:
    return [Body(said.frame(message)) for message in messages]


def _chunk(said: Said, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": CREATED, "model": said.model}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _part(said: Said, part: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}], "modelVersion": said.model}


def _line(said: Said, message: dict[str, Any]) -> dict[str, Any]:
    moment = "2026-09-21T12:00:00.000000Z"
    return {
        "model": said.model,
        "created_at": moment,
        "message": {"role": "assistant", "content": "", **message},
        "done": False,
    }
