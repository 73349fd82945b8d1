"""The official client libraries read the upstream's healthy streams: its shapes are those of the real services."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.testing.answer import WORDS
from tickertape.testing.dialects import COUNTS
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION: Any = [{"role": "user", "content": "hi"}]
TEXT = "".join(WORDS)
HEALTHY = ("healthy", "one-byte-chunks", "thinking", "too-long")
TOOL: dict[str, Any] = {"type": "object", "properties": {"at": {"type": "string"}}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.mark.parametrize("model", HEALTHY)
def test_openai(upstream: Upstream, model: str) -> None:
    import openai

    with openai.OpenAI(base_url=upstream.url("openai"), api_key="k", max_retries=0) as client:
        with client.chat.completions.create(model=model, messages=QUESTION, stream=True) as stream:
            chunks = list(stream)
        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert "".join(choice.delta.content or "" for choice in choices) == TEXT
        assert choices[-1].finish_reason == ("length" if model == "too-long" else "stop")
        assert chunks[-1].usage is not None
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == COUNTS


def test_openai_calls_a_tool_and_lists_models(upstream: Upstream) -> None:
    import openai

    with openai.OpenAI(base_url=upstream.url("openai"), api_key="k", max_retries=0) as client:
        with client.chat.completions.stream(model="tool-call", messages=QUESTION) as stream:
            [call] = stream.get_final_completion().choices[0].message.tool_calls or []
        assert (call.function.name, call.function.arguments) == ("look", '{"at": "\\u00e9"}')
        assert "healthy" in [model.id for model in client.models.list()]


@pytest.mark.parametrize("model", HEALTHY)
def test_anthropic(upstream: Upstream, model: str) -> None:
    import anthropic

    with anthropic.Anthropic(base_url=upstream.url("anthropic"), api_key="k", max_retries=0) as client:
        with client.messages.stream(model=model, max_tokens=99, messages=QUESTION) as stream:
            text = "".join(stream.text_stream)
            whole = stream.get_final_message()
        assert text == TEXT
        assert whole.stop_reason == ("max_tokens" if model == "too-long" else "end_turn")
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == COUNTS
        thinking = [block.thinking for block in whole.content if block.type == "thinking"]
        assert thinking == (["Hm."] if model == "thinking" else [])


def test_anthropic_calls_a_tool_and_lists_models(upstream: Upstream) -> None:
    import anthropic

    with anthropic.Anthropic(base_url=upstream.url("anthropic"), api_key="k", max_retries=0) as client:
        with client.messages.stream(model="tool-call", max_tokens=99, messages=QUESTION) as stream:
            [call] = [block for block in stream.get_final_message().content if block.type == "tool_use"]
        assert (call.name, call.input) == ("look", {"at": "é"})
        assert "healthy" in [model.id for model in client.models.list()]


@pytest.fixture
def gemini(upstream: Upstream) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, and those of what it imports
        from google import genai

        client = genai.Client(api_key="k", http_options={"base_url": upstream.url("gemini")})
        yield client
        client.close()


@pytest.mark.parametrize("model", HEALTHY)
def test_gemini(gemini: Any, model: str) -> None:
    chunks = list(gemini.models.generate_content_stream(model=model, contents="hi"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert "".join(part.text for part in parts if not part.thought) == TEXT
    assert "".join(part.text for part in parts if part.thought) == ("Hm." if model == "thinking" else "")
    assert chunks[-1].candidates[0].finish_reason == ("MAX_TOKENS" if model == "too-long" else "STOP")
    counts = chunks[-1].usage_metadata
    assert (counts.prompt_token_count, counts.candidates_token_count) == COUNTS


def test_gemini_calls_a_tool_and_lists_models(gemini: Any) -> None:
    chunks = list(gemini.models.generate_content_stream(model="tool-call", contents="hi"))
    [call] = [call for chunk in chunks for call in chunk.function_calls or []]
    assert (call.name, call.args) == ("look", {"at": "é"})
    assert "models/healthy" in [model.name for model in gemini.models.list()]


@pytest.mark.parametrize("model", HEALTHY)
def test_ollama(upstream: Upstream, model: str) -> None:
    import ollama

    with ollama.Client(host=upstream.url("ollama")) as client:
        chunks = list(client.chat(model=model, messages=QUESTION, stream=True))
        assert "".join(chunk.message.content or "" for chunk in chunks) == TEXT
        assert "".join(chunk.message.thinking or "" for chunk in chunks) == ("Hm." if model == "thinking" else "")
        assert (chunks[-1].done, chunks[-1].done_reason) == (True, "length" if model == "too-long" else "stop")
        assert (chunks[-1].prompt_eval_count, chunks[-1].eval_count) == COUNTS


def test_ollama_calls_a_tool_and_lists_models(upstream: Upstream) -> None:
    import ollama

    with ollama.Client(host=upstream.url("ollama")) as client:
        chunks = list(client.chat(model="tool-call", messages=QUESTION, stream=True))
        [call] = [call for chunk in chunks for call in chunk.message.tool_calls or []]
        assert (call.function.name, call.function.arguments) == ("look", {"at": "é"})
        assert "healthy" in [model.model for model in client.list().models]
