"""Providers beyond the four dialects: the same terminal rule."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from support.pushed import batches
from tickertape.deltas import Delta, Finish, Reasoning, Text, ToolCall, Usage
from tickertape.errors import ApiError, InvalidRequest, SettingsError
from tickertape.providers import any_llm
from tickertape.providers.any_llm import AnyLLM
from tickertape.providers.base import ChatRequest
from tickertape.testing.answer import BROKEN, WORDS
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-secret-0123456789"
HALF = "".join(WORDS[: len(WORDS) // 2])


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)  # of what any-llm imports


@pytest.fixture
async def provider() -> AsyncIterator[AnyLLM]:
    async with Upstream() as upstream:
        provider = AnyLLM("openai", KEY, base_url=upstream.url("openai"), idle_timeout=30, first_token_timeout=30)
        yield provider
        await provider.close()


async def read(provider: AnyLLM, model: str) -> tuple[list[Delta], ApiError | None]:
    deltas: list[Delta] = []
    try:
        async for batch in batches(provider, ChatRequest(model=model, messages=[{"role": "user", "content": "hi"}])):
            deltas += batch
    except ApiError as error:
        return deltas, error
    return deltas, None


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


async def test_a_whole_answer_is_whole(provider: AnyLLM) -> None:
    deltas, error = await read(provider, "healthy")
    assert error is None
    assert text(deltas) == "".join(WORDS)
    assert any(isinstance(delta, Finish) for delta in deltas)
    [usage] = [delta.usage for delta in deltas if isinstance(delta, Usage)]
    assert usage["total_tokens"] > 0


async def test_an_answer_that_just_ends_has_no_finish(provider: AnyLLM) -> None:
    deltas, error = await read(provider, "clean-eof")
    assert (text(deltas), error) == (HALF, None)
    assert not any(isinstance(delta, Finish) for delta in deltas)


async def test_an_error_in_the_middle_keeps_text_and_words(provider: AnyLLM) -> None:
    deltas, error = await read(provider, "error-message")
    assert text(deltas) == HALF
    assert error is not None
    assert BROKEN in error.message


@pytest.mark.parametrize(("fault", "status"), [("bad-key", 401), ("too-many", 429), ("not-found", 404)])
async def test_a_refusal_has_its_status(provider: AnyLLM, fault: str, status: int) -> None:
    deltas, error = await read(provider, fault)
    assert deltas == []
    assert error is not None
    assert (error.status, KEY in error.message) == (status, False)
    assert error.retry_after == (7 if fault == "too-many" else None)


async def test_thinking_and_tool_calls_come_in_openais_words(provider: AnyLLM) -> None:
    deltas, _error = await read(provider, "thinking")
    assert [delta.text for delta in deltas if isinstance(delta, Reasoning)] == ["Hm."]
    deltas, _error = await read(provider, "tool-call")
    calls = [delta.call for delta in deltas if isinstance(delta, ToolCall)]
    assert "".join(call["function"].get("arguments") or "" for call in calls) == '{"at": "\\u00e9"}'


async def test_silence_ends_with_a_timeout() -> None:
    async with Upstream() as upstream:
        provider = AnyLLM("openai", KEY, base_url=upstream.url("openai"), idle_timeout=2, first_token_timeout=30)
        deltas, error = await read(provider, "stall")
        assert text(deltas) == HALF
        assert error is not None
        assert error.status == 504
        await provider.close()
        await upstream.until(lambda here: here.open == 0)


async def test_models_are_those_given_or_listed(provider: AnyLLM) -> None:
    assert "healthy" in [model.id for model in await provider.models()]
    given = AnyLLM("openai", KEY, base_url="http://127.0.0.1:9/v1", models=["a"], model="b")
    assert [model.id for model in await given.models()] == ["b", "a"]


@pytest.mark.parametrize(
    "smuggled",
    [
        {"extra_headers": {"Authorization": "Bearer theirs", "Host": "elsewhere"}},
        {"extra_query": {"key": "theirs"}},
        {"extra_body": {"model": "dearer"}},
        {"timeout": 0.001},
        {"api_key": "theirs", "api_base": "http://127.0.0.1:9"},
    ],
    ids=lambda smuggled: next(iter(smuggled)),
)
async def test_a_caller_cannot_change_the_key_the_address_or_the_connection(smuggled: dict[str, object]) -> None:
    async with Upstream() as upstream:
        provider = AnyLLM("openai", KEY, base_url=upstream.url("openai"))
        asked = ChatRequest(
            model="healthy", messages=[{"role": "user", "content": "hi"}], parameters={**smuggled, "temperature": 0.5}
        )
        with pytest.raises(InvalidRequest, match="not among the fields"):
            provider.check(asked)
        async for _batch in batches(provider, asked):  # and if nobody checked
            pass
        [sent] = upstream.asked
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert sent.headers["host"] == f"127.0.0.1:{upstream.port}"
        assert sent.path == "/v1/chat/completions"
        assert (sent.body["model"], sent.body["temperature"]) == ("healthy", 0.5)
        await provider.close()


async def test_what_any_llm_has_no_name_for_is_refused_unless_it_asks_for_nothing() -> None:
    provider = AnyLLM("openai", KEY, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InvalidRequest, match="nothing like web_search_options"):
        await anext(batches(provider, ChatRequest(model="m", messages=[], parameters={"web_search_options": {"a": 1}})))
    with pytest.raises(ApiError, match="onnection"):
        await anext(
            batches(
                provider,
                ChatRequest(
                    model="m", messages=[{"role": "user", "content": "hi"}], parameters={"store": False, "n": 1}
                ),
            )
        )
    await provider.close()


async def test_more_than_one_choice_is_refused(provider: AnyLLM) -> None:
    with pytest.raises(InvalidRequest, match="n must be 1"):
        await anext(batches(provider, ChatRequest(model="m", messages=[], parameters={"n": 2})))


def test_what_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        AnyLLM("klingon", KEY)

    def gone(_name: str) -> None:
        raise ImportError

    monkeypatch.setattr(any_llm, "import_module", gone)
    with pytest.raises(SettingsError, match=r"pip install 'tickertape\[any\]'"):
        AnyLLM("mistral", KEY)
