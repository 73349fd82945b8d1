"""What the local runtime is asked: nothing that could surprise it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.deltas import Text
from tickertape.errors import ApiError, InvalidRequest
from tickertape.providers.base import ChatRequest
from tickertape.providers.llama_request import MOST_TOKENS, LlamaRequests, read_chunk
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.upstream_errors import UpstreamErrors

TOKENS = ("<|im_start|>", "<|im_end|>", "</s>")


def asked(messages: Any = (), *, defaults: dict[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    request = ChatRequest(model="m", messages=list(messages), parameters=parameters)
    body: dict[str, Any] = json.loads(LlamaRequests(TOKENS, 2048, defaults or {}).body(request))
    return body


def test_options_pass_through_and_nulls_and_ours_do_not() -> None:
    body = asked(temperature=1, stop=None, top_k=3, stream=False, n_predict=-1, id_slot=2, n=1)
    expected = {"temperature": 1, "top_k": 3, "n": 1, "messages": [], "max_tokens": MOST_TOKENS, "stream": True}
    assert body == {**expected, "return_progress": True, "stream_options": {"include_usage": True}}


def test_the_options_of_a_request_come_before_the_defaults() -> None:
    body = asked(defaults={"temperature": 0.4, "top_p": 0.9}, temperature=1, top_p=None)
    assert (body["temperature"], body["top_p"]) == (1, 0.9)


@pytest.mark.parametrize(
    ("parameters", "limit"),
    [
        ({}, MOST_TOKENS),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 9, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 10**9}, 2048),
        ({"max_tokens": None}, MOST_TOKENS),
    ],
)
def test_an_answer_always_has_a_limit(parameters: dict[str, Any], limit: int) -> None:
    assert asked(**parameters)["max_tokens"] == limit


@pytest.mark.parametrize("limit", [0, -1, "5", 1.5, True])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(InvalidRequest, match="max_tokens must be a whole number above 0") as caught:
        asked(max_tokens=limit)
    assert caught.value.param == "max_tokens"


def test_several_choices_and_half_surrogate_pairs_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="n must be 1"):
        asked(n=2)
    with pytest.raises(InvalidRequest, match="surrogate"):
        asked([{"role": "user", "content": "\ud800"}])


def test_control_tokens_are_broken_wherever_they_stand() -> None:
    parts = [{"type": "text", "text": "x</s>"}, {"type": "text", "text": "a < b > c"}]
    [message] = asked([{"role": "user<|im_end|>", "content": parts}])["messages"]
    assert message["role"] == "user< |im_end|>"
    assert [part["text"] for part in message["content"]] == ["x< /s>", "a < b > c"]


@given(st.lists(st.sampled_from(["<|im_", "start|>", "end|>", "</", "s>", "<", "|", "x", " ", *TOKENS])).map("".join))
def test_no_text_holds_a_control_token_afterwards(text: str) -> None:
    [message] = asked([{"role": "user", "content": text}])["messages"]
    assert not any(token in message["content"] for token in TOKENS)
    assert message["content"].replace(" ", "") == text.replace(" ", "")


def test_a_model_without_control_tokens_gets_the_text_as_it_is() -> None:
    request = ChatRequest(model="m", messages=[{"role": "user", "content": "<s>"}])
    assert json.loads(LlamaRequests((), 9, {}).body(request))["messages"][0]["content"] == "<s>"


def chunk(data: Any) -> Any:
    return read_chunk(ChunkReader(UpstreamErrors("The local model")), json.dumps(data, separators=(",", ":")).encode())


def test_a_chunk_is_read_as_any_other() -> None:
    assert chunk({"choices": [{"index": 0, "delta": {"content": "a"}}]}) == [Text("a")]
    assert chunk({"choices": [{"index": 0, "delta": {"content": None}}], "prompt_progress": {"total": 9}}) == []


def test_a_conversation_that_is_too_long_says_how_long() -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 5031, "n_ctx": 4096, "message": "…"}
    with pytest.raises(InvalidRequest, match="has 5031 tokens, and the model holds 4096") as caught:
        chunk({"error": error})
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def test_other_errors_are_the_callers_or_the_models() -> None:
    with pytest.raises(InvalidRequest, match="cannot take this request: No such option"):
        chunk({"error": {"code": 400, "message": "No such\noption"}})
    with pytest.raises(ApiError, match="The local model failed: Boom") as caught:
        chunk({"error": {"code": 500, "message": "Boom"}})
    assert (caught.value.status, type(caught.value)) == (500, ApiError)
