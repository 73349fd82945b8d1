"""How the faults go that take more than a line: from an answer to what an upstream does on the connection."""

from __future__ import annotations

import gzip as compression
import json
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.testing.said import BROKEN, Said
from tickertape.testing.shapes import COUNTS, CREATED, End
from tickertape.testing.steps import Act, Body, Head, Step, Token, answering

if TYPE_CHECKING:
    from collections.abc import Callable


UNKNOWN = "gremlins"
"""A reason to end that no documentation knows."""


def whole(steps: list[Step]) -> bytes:
    """Return the body of these steps."""
    return b"".join(step.data for step in steps if isinstance(step, Body | Token))


def mapped(said: Said, change: Callable[[bytes], bytes]) -> list[Step]:
    """Return the healthy answer with every piece of it changed."""
    return [type(s)(change(s.data)) if isinstance(s, Body | Token) else s for s in said.healthy]


def between(said: Said, filler: bytes) -> list[Step]:
    """Return the healthy answer with something between its pieces."""
    steps: list[Step] = []
    for step in said.healthy:
        steps += [Body(filler), step] if isinstance(step, Body | Token) and filler else [step]
    return steps


def one_by_one(said: Said) -> list[Step]:
    """Return the healthy answer with a chunk for every byte."""
    body = whole(said.healthy)
    return [said.head, *(Body(body[n : n + 1]) for n in range(len(body))), Act.END]


def bom(said: Said) -> list[Step]:
    """Return the healthy answer with a byte order mark in front."""
    head, *rest = said.healthy
    return [head, Body(b"\xef\xbb\xbf"), *rest]


def gzipped(said: Said) -> list[Step]:
    """Return the healthy answer compressed."""
    head = Head(200, said.shape.content_type, (("Content-Encoding", "gzip"),))
    return [head, Body(compression.compress(whole(said.healthy))), Act.END]


def no_marker(said: Said) -> list[Step]:
    """Return the reason why it ends without the marker that it has ended."""
    closing = said.shape.closing(said.model, End(usage=False))[:-1]
    match said.shape.name:
        case "gemini":
            closing = [said.frame({"candidates": [{"finishReason": "FINISH_REASON_UNSPECIFIED", "index": 0}]})]
        case "ollama":
            closing = [said.frame({"model": said.model, "message": {"content": ""}, "done_reason": "stop"})]
    return [said.head, *said.opening, *said.tokens(), *said.messages(*closing), Act.END]


def bare_marker(said: Said) -> list[Step]:
    """Return the marker that it has ended without anything else."""
    marker = {
        "openai": "[DONE]",
        "anthropic": {"type": "message_stop"},
        "gemini": {"candidates": [{"finishReason": "STOP"}]},
        "ollama": {"model": said.model, "done": True},
    }[said.shape.name]
    return [said.head, *said.opening, *said.tokens(), Body(said.frame(marker)), Act.END]


def early_reason(said: Said) -> list[Step]:
    """Return an answer that says why it ends in the middle, goes on, and is cut off."""
    middle = len(said.words) // 2
    early = said.frame(reason(said, "stop"))
    return [said.head, *said.opening, *said.tokens(middle), Body(early), *said.tokens()[middle:], Act.CLOSE]


def unknown_reason(said: Said) -> list[Step]:
    """Return an answer that ends for a reason that nobody knows."""
    ends: dict[str, list[Any]] = {"openai": ["[DONE]"], "anthropic": [{"type": "message_stop"}]}
    last = reason(said, UNKNOWN) | ({"done": True} if said.shape.name == "ollama" else {})
    messages = [last, *ends.get(said.shape.name, [])]
    return [said.head, *said.opening, *said.tokens(), *(Body(said.frame(one)) for one in messages), Act.END]


def error_after_reason(said: Said) -> list[Step]:
    """Return a whole text and the reason to end, then an error, and then the marker where there is one."""
    *closing, marker = said.closing()
    error = Body(said.shape.broken_off(500, BROKEN))
    last = {"gemini": [marker, error], "ollama": [error, marker]}.get(said.shape.name, [*closing, error, marker])
    return [said.head, *said.opening, *said.tokens(), *last, Act.END]


def reason(said: Said, word: str) -> dict[str, Any]:
    """Return a message that says why the answer ends, and nothing else."""
    ours, theirs = word, "end_turn" if word == "stop" else word
    chunk = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": CREATED, "model": said.model}
    delta = {"stop_reason": theirs, "stop_sequence": None}
    messages: dict[str, dict[str, Any]] = {
        "openai": {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": ours}]},
        "anthropic": {"type": "message_delta", "delta": delta, "usage": {"output_tokens": COUNTS[1]}},
        "gemini": {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": ours.upper(), "index": 0}]},
        "ollama": {"model": said.model, "message": {"role": "assistant", "content": ""}, "done_reason": ours},
    }
    return messages[said.shape.name]


def error_as_finish(said: Said) -> list[Step]:
    """Return the error beside the end, or in place of the reason."""
    model, error = said.model, {"message": BROKEN, "code": 502}
    messages: dict[str, Any] = {
        "openai": {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}], "error": error},
        "anthropic": {"type": "message_delta", "delta": {"stop_reason": "error"}, "error": error},
        "gemini": {"candidates": [{"finishReason": "OTHER", "finishMessage": BROKEN, "index": 0}]},
        "ollama": {"model": model, "done": True, "done_reason": "error", "error": BROKEN},
    }
    return said.after(said.frame(messages[said.shape.name]), Act.END)


def recovers(said: Said) -> list[Step]:
    """Return two refusals, and then the healthy answer."""
    return said.healthy if said.asked > 2 else answering(503, json.dumps(said.shape.error(503, "Busy.")).encode())


def refusal(status: int, words: str, **headers: str) -> Callable[[Said], list[Step]]:
    """Return what refuses with this status."""
    return lambda said: answering(status, json.dumps(said.shape.error(status, words)).encode(), **headers)


def short(said: Said) -> list[Step]:
    """Return the first half of an answer whose length was announced."""
    _head, *steps = said.begun
    length = (("Content-Length", "99999"),)
    return [Head(200, said.shape.content_type, length, chunked=False), *steps, Act.CLOSE]


def unframed(said: Said) -> list[Step]:
    """Return the first half of an answer that only the end of the connection ends."""
    _head, *steps = said.begun
    return [Head(200, said.shape.content_type, (("Connection", "close"),), chunked=False), *steps, Act.CLOSE]


def with_words(words: tuple[str, ...]) -> Callable[[Said], list[Step]]:
    """Return what answers with these words."""

    def play(said: Said) -> list[Step]:
        return msgspec.structs.replace(said, words=words).healthy

    return play


def invalid(said: Said) -> list[Step]:
    """Return the healthy answer with half a character in it."""
    return mapped(said, lambda data: data.replace("é".encode(), b"\xc3").replace(b"\\u00e9", b"\xc3"))
