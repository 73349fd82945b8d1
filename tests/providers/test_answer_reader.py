"""What holds for the readers of all dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tickertape.providers.anthropic_reader import MessageReader
from tickertape.providers.gemini_reader import ResponseReader
from tickertape.providers.ollama_reader import LineReader
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.upstream_errors import UpstreamErrors

from .asked import read

if TYPE_CHECKING:
    from tickertape.providers.answer_reader import AnswerReader

DEEP = b'{"usage": {"a": ' + b"[" * 100_000


@pytest.mark.parametrize("kind", [ChunkReader, MessageReader, ResponseReader, LineReader])
@pytest.mark.parametrize("prefix", [b"", b"error: "])
def test_a_message_that_is_nested_beyond_measure_is_an_error_of_the_upstream(
    kind: type[AnswerReader], prefix: bytes
) -> None:
    framed = prefix + DEEP + b"\n" if kind is LineReader else b"data: " + prefix + DEEP + b"\n\n"
    deltas, error = read(kind(UpstreamErrors("up.example")), framed)
    assert deltas == []
    assert error is not None
    assert "up.example" in error.message
    assert len(error.message) < 1000
