"""When an answer counts as whole: never unless the dialect's own end was seen, with a reason known to mean so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.deltas import Delta, Finish
from tickertape.errors import AnswerUnfinished, ApiError
from tickertape.parsing.finish_reasons import read_reason
from tickertape.providers.anthropic_reader import MessageReader
from tickertape.providers.gemini_reader import ResponseReader
from tickertape.providers.ollama_reader import LineReader
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.upstream_errors import UpstreamErrors

if TYPE_CHECKING:
    from tickertape.providers.answer_reader import AnswerReader

READERS: dict[str, type[AnswerReader]] = {
    "openai": ChunkReader,
    "anthropic": MessageReader,
    "gemini": ResponseReader,
    "ollama": LineReader,
}
WORDS = (
    "stop",
    "length",
    "STOP",
    "MAX_TOKENS",
    "end_turn",
    "null",
    "",
    "abort",
    "error",
    "load",
    "pause_turn",
    "brandnew",
)
"""A dozen reasons: known to mean whole in some dialect, known not to in any, said where none was due, and unknown."""


def sse(*messages: Any) -> list[bytes]:
    return [f"data: {one if isinstance(one, str) else json.dumps(one)}\n\n".encode() for one in messages]


def stream(dialect: str, word: str) -> list[bytes]:
    """Return the messages of an answer that ends with this reason, and all markers of its dialect."""
    match dialect:
        case "openai":
            chunks = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hel", "lo")]
            return sse(*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": word}]}, "[DONE]")
        case "anthropic":
            start = {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 3}}}
            text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
            return sse(start, text, {"type": "message_delta", "delta": {"stop_reason": word}}, {"type": "message_stop"})
        case "gemini":
            parts = [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in ("Hel", "lo")]
            return sse(*parts, {"candidates": [{"content": {"parts": []}, "finishReason": word}]})
    lines = [{"message": {"content": text}, "done": False} for text in ("Hel", "lo")]
    last = {"message": {"content": ""}, "done": True, "done_reason": word}
    return [f"{json.dumps(line)}\n".encode() for line in (*lines, last)]


def read(dialect: str, data: bytes, *, cut: bool) -> tuple[list[Delta], ApiError | None]:
    reader = READERS[dialect](UpstreamErrors("up.example"))
    deltas = reader.feed(data) if data else []
    if not reader.over:
        reader.cut = cut
        deltas += reader.feed(b"")
    return deltas, reader.error


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("dialect", READERS)
def test_an_answer_cut_at_any_byte_is_whole_only_if_its_own_end_was_seen_with_a_known_reason(
    dialect: str, word: str
) -> None:
    messages = stream(dialect, word)
    data = b"".join(messages)
    ending = read_reason(dialect, word)  # type: ignore[arg-type]
    known = ending is not None and ending.reason is not None
    said = ending is not None
    # OpenAI's reason is an end, and its [DONE] where no reason is said; Gemini has nothing but the reason; the others
    # have a marker that must follow.
    reason_at = len(data) - len(messages[-1]) if dialect in ("openai", "anthropic") else len(data)
    marker = {"openai": not said, "anthropic": False, "gemini": False, "ollama": not said}[dialect]
    for length in range(len(data) + 1):
        for cut in (False, True):
            deltas, error = read(dialect, data[:length], cut=cut)
            whole = any(isinstance(delta, Finish) for delta in deltas)
            rest = len(data) - length
            ended = rest <= (1 if dialect == "ollama" else 0)  # a last line is whole without its line end
            ended = ended or (dialect == "openai" and known and length >= reason_at)
            assert whole == (ended and (known or marker)), (length, data[:length][-60:])
            assert not (whole and error)


@pytest.mark.parametrize("dialect", READERS)
def test_a_reason_that_does_not_mean_whole_is_told_in_the_upstreams_word(dialect: str) -> None:
    for word, broken in (("abort", True), ("network_error", True), ("pause_turn", False), ("brandnew", False)):
        deltas, error = read(dialect, b"".join(stream(dialect, word)), cut=False)
        assert not any(isinstance(delta, Finish) for delta in deltas)
        assert error is not None
        assert isinstance(error, AnswerUnfinished) != broken
        assert repr(word) in error.message
        assert error.code == word
