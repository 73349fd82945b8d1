"""What an answer holds beside its text, and the places where errors hide: each as every dialect says it.

A dialect that has no word for something answers as if nothing were wrong; the fault's description says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.actions import Body, Final, Token, Wait
from tickertape.testing.answer import BROKEN, WORDS
from tickertape.testing.dialects import CREATED
from tickertape.testing.scripts import mapped, reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.testing.actions import Action
    from tickertape.testing.answer import ScriptedAnswer

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


def signed_thinking(answer: ScriptedAnswer) -> list[Action]:
    """Return two signed blocks of thinking before the answer."""
    messages: list[Any] = []
    for number, (words, signature) in enumerate(SIGNED):
        detail = {"type": "reasoning.text", "index": number, "text": words, "signature": signature}
        messages += {
            "openai": [_chunk(answer, {"reasoning": words, "reasoning_details": [detail]})],
            "anthropic": _block(
                1 + number,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": words},
                {"type": "signature_delta", "signature": signature},
            ),
            "gemini": [_part(answer, {"text": words, "thought": True, "thoughtSignature": signature})],
            "ollama": [_line(answer, {"thinking": words})],
        }[answer.dialect.name]
    return [answer.head, *answer.opening, *_framed(answer, messages), *answer.tokens(), *answer.closing(), Final.END]


def refusal(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer that refuses after its text."""
    words = {"openai": [_chunk(answer, {"refusal": REFUSED})]}
    why = "stop" if answer.dialect.name == "openai" else "content_filter"
    return _beside(answer, words, why)


def citations(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer that names a source for its text."""
    cited = {"type": "url_citation", "url_citation": {"url": SOURCE, "title": "Tape", "start_index": 0, "end_index": 8}}
    citation = {"type": "web_search_result_location", "url": SOURCE, "title": "Tape", "cited_text": "The tape"}
    grounding = {
        "groundingChunks": [{"web": {"uri": SOURCE, "title": "Tape"}}],
        "groundingSupports": [{"segment": {"endIndex": 8, "text": "The tape"}, "groundingChunkIndices": [0]}],
    }
    delta = {"type": "citations_delta", "citation": citation}
    messages = {
        "openai": [_chunk(answer, {"annotations": [cited]})],
        "anthropic": [{"type": "content_block_delta", "index": 0, "delta": delta}],
        "gemini": [{"candidates": [{"index": 0, "groundingMetadata": grounding}], "modelVersion": answer.model}],
    }
    return _beside(answer, messages)


def image(answer: ScriptedAnswer) -> list[Action]:
    """Return a picture after the text."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    messages = {
        "openai": [_chunk(answer, {"images": [picture]})],
        "gemini": [_part(answer, {"inlineData": {"mimeType": "image/png", "data": PICTURE}})],
        "ollama": [_line(answer, {"images": [PICTURE]})],
    }
    return _beside(answer, messages)


def logprobs(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer with the log probability of one token."""
    scored = [{"token": "all.", "logprob": LOGPROB, "bytes": None, "top_logprobs": []}]
    result = {"chosenCandidates": [{"token": "all.", "logProbability": LOGPROB}], "topCandidates": []}
    messages = {
        "openai": [_chunk(answer, {}, logprobs={"content": scored, "refusal": None})],
        "gemini": [{"candidates": [{"index": 0, "logprobsResult": result}], "modelVersion": answer.model}],
        "ollama": [_line(answer, {}) | {"logprobs": scored}],
    }
    return _beside(answer, messages)


def calls_without_index(answer: ScriptedAnswer) -> list[Action]:
    """Return two tool calls, without an index where the dialect can leave it out."""
    return _calls(answer, {}, {})


def calls_with_one_index(answer: ScriptedAnswer) -> list[Action]:
    """Return two tool calls under one index, in a dialect with indexes."""
    return _calls(answer, {"index": 0}, {"index": 0})


def arguments_as_object(answer: ScriptedAnswer) -> list[Action]:
    """Return a tool call whose arguments are an object, where pieces of text are due."""
    name, arguments = CALLS[0]
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}
    messages = {"openai": [_chunk(answer, {"tool_calls": [call]})], "anthropic": _block(1, block)}
    if answer.dialect.name not in messages:  # it says all arguments so
        own = answer.messages(*answer.dialect.call(answer.model, name, arguments))
        return [answer.head, *answer.opening, *answer.tokens(), *own, *answer.closing("tool_calls"), Final.END]
    return _beside(answer, messages, "tool_calls")


def split_pair(answer: ScriptedAnswer) -> list[Action]:
    """Return a character whose two halves, a surrogate pair, come in two tokens."""
    given = msgspec.structs.replace(answer, words=(*WORDS, *_HALVES))
    first, second = (half.encode() for half in _HALVES)
    actions = mapped(given, lambda data: data.replace(first, b"\\ud83d").replace(second, b"\\ude00"))
    at = next(n for n, action in enumerate(actions) if isinstance(action, Token) and b"\\ude00" in action.data)
    return [*actions[:at], Wait(0.05), *actions[at:]]  # who reads both at once may join them by chance


def null_reason(answer: ScriptedAnswer) -> list[Action]:
    """Return half an answer and the word "null" as its reason to end, and then a proper end of the body."""
    return answer.after(answer.frame(reason(answer, "null")), Final.END)


def unfinished_reason(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer that ends for a reason known to mean that it is not whole."""
    name = answer.dialect.name
    last = reason(answer, UNFINISHED[name]) | ({"done": True} if name == "ollama" else {})
    markers: dict[str, list[Any]] = {"openai": ["[DONE]"], "anthropic": [{"type": "message_stop"}]}
    end = _framed(answer, [last, *markers.get(name, [])])
    return [answer.head, *answer.opening, *answer.tokens(), *end, Final.END]


def unknown_content(answer: ScriptedAnswer) -> list[Action]:
    """Return content of a type that nobody knows in the middle of an answer that then ends well."""
    part = {"type": "hologram", "hologram": "AAAA"}
    messages = {
        "openai": [_chunk(answer, {"content": [part]})],
        "anthropic": _block(1, part),
        "gemini": [_part(answer, {"hologram": {"data": "AAAA"}})],
        "ollama": [_line(answer, {"content": [part]})],
    }[answer.dialect.name]
    return [*answer.begun, *_framed(answer, messages), *answer.closing(), Final.END]


def error_in(place: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[ScriptedAnswer], list[Action]]:
    """Return what says an error in this place of a message, as gateways do in front of every dialect, and ends well."""

    def script(answer: ScriptedAnswer) -> list[Action]:
        return answer.after(answer.frame(place({"message": BROKEN, "code": 502})), *answer.closing(), Final.END)

    return script


def _beside(answer: ScriptedAnswer, messages: dict[str, list[Any]], why: str = "stop") -> list[Action]:
    """Return the whole text, then the dialect's messages, and then the end."""
    own = _framed(answer, messages.get(answer.dialect.name, []))
    return [answer.head, *answer.opening, *answer.tokens(), *own, *answer.closing(why), Final.END]


def _calls(answer: ScriptedAnswer, *indexes: dict[str, int]) -> list[Action]:
    messages: list[Any] = []
    for number, ((name, arguments), index) in enumerate(zip(CALLS, indexes, strict=True)):
        id_, text = f"call_{number}", msgspec.json.encode(arguments).decode()
        function = {"name": name, "arguments": text}
        block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
        messages += {
            "openai": [
                _chunk(answer, {"tool_calls": [{**index, "id": id_, "type": "function", "function": function}]})
            ],
            "anthropic": _block(
                1 + index.get("index", number), block, {"type": "input_json_delta", "partial_json": text}
            ),
            "gemini": [_part(answer, {"functionCall": {"name": name, "args": arguments}})],
            "ollama": [
                _line(answer, {"tool_calls": [{"function": {**index, "name": name, "arguments": arguments}}]}),
            ],
        }[answer.dialect.name]
    return _beside(answer, {answer.dialect.name: messages}, "tool_calls")


def _framed(answer: ScriptedAnswer, messages: list[Any]) -> list[Action]:
    return [Body(answer.frame(message)) for message in messages]


def _chunk(answer: ScriptedAnswer, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": CREATED, "model": answer.model}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _part(answer: ScriptedAnswer, part: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}], "modelVersion": answer.model}


def _line(answer: ScriptedAnswer, message: dict[str, Any]) -> dict[str, Any]:
    moment = "2026-09-21T12:00:00.000000Z"
    return {
        "model": answer.model,
        "created_at": moment,
        "message": {"role": "assistant", "content": "", **message},
        "done": False,
    }
