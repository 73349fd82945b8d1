"""The faults that take more than a line: each makes a script of the upstream's actions from an answer."""

from __future__ import annotations

import gzip as compression
import json
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.actions import Action, Body, Final, Head, Token, answering
from tickertape.testing.answer import BROKEN, ScriptedAnswer
from tickertape.testing.dialects import COUNTS, CREATED, End

if TYPE_CHECKING:
    from collections.abc import Callable


UNKNOWN = "gremlins"
"""A reason to end that no documentation knows."""


def whole(actions: list[Action]) -> bytes:
    """Return the body of these actions."""
    return b"".join(action.data for action in actions if isinstance(action, Body | Token))


def mapped(answer: ScriptedAnswer, change: Callable[[bytes], bytes]) -> list[Action]:
    """Return the healthy answer with every piece of it changed."""
    return [type(s)(change(s.data)) if isinstance(s, Body | Token) else s for s in answer.healthy]


def between(answer: ScriptedAnswer, filler: bytes) -> list[Action]:
    """Return the healthy answer with something between its pieces."""
    actions: list[Action] = []
    for action in answer.healthy:
        actions += [Body(filler), action] if isinstance(action, Body | Token) and filler else [action]
    return actions


def one_by_one(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer with a chunk for every byte."""
    body = whole(answer.healthy)
    return [answer.head, *(Body(body[n : n + 1]) for n in range(len(body))), Final.END]


def bom(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer with a byte order mark in front."""
    head, *rest = answer.healthy
    return [head, Body(b"\xef\xbb\xbf"), *rest]


def gzipped(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer compressed."""
    head = Head(200, answer.dialect.content_type, (("Content-Encoding", "gzip"),))
    return [head, Body(compression.compress(whole(answer.healthy))), Final.END]


def no_marker(answer: ScriptedAnswer) -> list[Action]:
    """Return the reason why it ends without the marker that it has ended."""
    closing = answer.dialect.closing(answer.model, End(usage=False))[:-1]
    match answer.dialect.name:
        case "gemini":
            closing = [answer.frame({"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED", "index": 0}]})]
        case "ollama":
            closing = [answer.frame({"model": answer.model, "message": {"content": ""}, "done_reason": "stop"})]
    return [answer.head, *answer.opening, *answer.tokens(), *answer.messages(*closing), Final.END]


def bare_marker(answer: ScriptedAnswer) -> list[Action]:
    """Return the marker that it has ended without anything else."""
    marker = {
        "openai": "[DONE]",
        "anthropic": {"type": "message_stop"},
        "gemini": {"candidates": [{"finishReason": "STOP"}]},
        "ollama": {"model": answer.model, "done": True},
    }[answer.dialect.name]
    return [answer.head, *answer.opening, *answer.tokens(), Body(answer.frame(marker)), Final.END]


def early_reason(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer that says why it ends in the middle, goes on, and is cut off."""
    middle = len(answer.words) // 2
    early = answer.frame(reason(answer, "stop"))
    return [answer.head, *answer.opening, *answer.tokens(middle), Body(early), *answer.tokens()[middle:], Final.CLOSE]


def unknown_reason(answer: ScriptedAnswer) -> list[Action]:
    """Return an answer that ends for a reason that nobody knows."""
    ends: dict[str, list[Any]] = {"openai": ["[DONE]"], "anthropic": [{"type": "message_stop"}]}
    last = reason(answer, UNKNOWN) | ({"done": True} if answer.dialect.name == "ollama" else {})
    messages = [last, *ends.get(answer.dialect.name, [])]
    return [answer.head, *answer.opening, *answer.tokens(), *(Body(answer.frame(one)) for one in messages), Final.END]


def error_after_reason(answer: ScriptedAnswer) -> list[Action]:
    """Return a whole text and the reason to end, then an error, and then the marker where there is one."""
    *closing, marker = answer.closing()
    error = Body(answer.dialect.broken_off(500, BROKEN))
    last = {"gemini": [marker, error], "ollama": [error, marker]}.get(answer.dialect.name, [*closing, error, marker])
    return [answer.head, *answer.opening, *answer.tokens(), *last, Final.END]


def reason(answer: ScriptedAnswer, word: str) -> dict[str, Any]:
    """Return a message that says why the answer ends, and nothing else."""
    ours, theirs = word, "end_turn" if word == "stop" else word
    chunk = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": CREATED, "model": answer.model}
    delta = {"stop_reason": theirs, "stop_sequence": None}
    messages: dict[str, dict[str, Any]] = {
        "openai": {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": ours}]},
        "anthropic": {"type": "message_delta", "delta": delta, "usage": {"output_tokens": COUNTS[1]}},
        "gemini": {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": ours.upper(), "index": 0}]},
        "ollama": {"model": answer.model, "message": {"role": "assistant", "content": ""}, "done_reason": ours},
    }
    return messages[answer.dialect.name]


def error_as_finish(answer: ScriptedAnswer) -> list[Action]:
    """Return the error beside the end, or in place of the reason."""
    model, error = answer.model, {"message": BROKEN, "code": 502}
    messages: dict[str, Any] = {
        "openai": {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}], "error": error},
        "anthropic": {"type": "message_delta", "delta": {"stop_reason": "error"}, "error": error},
        "gemini": {"candidates": [{"finishReason": "OTHER", "finishMessage": BROKEN, "index": 0}]},
        "ollama": {"model": model, "done": True, "done_reason": "error", "error": BROKEN},
    }
    return answer.after(answer.frame(messages[answer.dialect.name]), Final.END)


def recovers(answer: ScriptedAnswer) -> list[Action]:
    """Return two refusals, and then the healthy answer."""
    return (
        answer.healthy
        if answer.attempt > 2
        else answering(503, json.dumps(answer.dialect.error(503, "Busy.")).encode())
    )


def refusal(status: int, words: str, **headers: str) -> Callable[[ScriptedAnswer], list[Action]]:
    """Return what refuses with this status."""
    return lambda answer: answering(status, json.dumps(answer.dialect.error(status, words)).encode(), **headers)


def short(answer: ScriptedAnswer) -> list[Action]:
    """Return the first half of an answer whose length was announced."""
    _head, *actions = answer.begun
    length = (("Content-Length", "99999"),)
    return [Head(200, answer.dialect.content_type, length, chunked=False), *actions, Final.CLOSE]


def unframed(answer: ScriptedAnswer) -> list[Action]:
    """Return the first half of an answer that only the end of the connection ends."""
    _head, *actions = answer.begun
    return [Head(200, answer.dialect.content_type, (("Connection", "close"),), chunked=False), *actions, Final.CLOSE]


def with_words(words: tuple[str, ...]) -> Callable[[ScriptedAnswer], list[Action]]:
    """Return what answers with these words."""

    def script(answer: ScriptedAnswer) -> list[Action]:
        return msgspec.structs.replace(answer, words=words).healthy

    return script


def invalid(answer: ScriptedAnswer) -> list[Action]:
    """Return the healthy answer with half a character in it."""
    return mapped(answer, lambda data: data.replace("é".encode(), b"\xc3").replace(b"\\u00e9", b"\xc3"))
