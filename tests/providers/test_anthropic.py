"""Requests and answers in Anthropic's words."""

import json
from typing import Any

import pytest

from tickertape.deltas import Citation, Delta, Finish, Reasoning, ReasoningDetail, Text, ToolCall, Usage
from tickertape.errors import ApiError
from tickertape.providers.anthropic import MOST_TOKENS, Anthropic
from tickertape.providers.base import ChatRequest

from .asked import CALL, CALLED, LINKED, PICTURE, RESULT, SCHEMA, TOOL, USER, asked, body, read, refused

ANTHROPIC = Anthropic("http://up.example", "sk-secret")
ASK = ChatRequest(model="m", messages=[USER])


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def answer(*events: bytes) -> tuple[list[Delta], ApiError | None]:
    return read(ANTHROPIC.reader(ASK), *events)


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


STOP = event("message_stop")


def test_a_question_has_a_version_a_limit_and_no_more_than_was_said() -> None:
    path, sent = asked(ANTHROPIC)
    assert path == "/messages"
    assert sent == {
        "model": "m",
        "max_tokens": MOST_TOKENS,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    headers = ANTHROPIC._http._headers
    assert (headers["x-api-key"], headers["anthropic-version"]) == ("sk-secret", "2023-06-01")
    assert "Authorization" not in headers


def test_system_messages_stand_apart_wherever_they_stood() -> None:
    sent = body(ANTHROPIC, {"role": "system", "content": "a"}, USER, {"role": "developer", "content": "b"})
    assert sent["system"] == "a\n\nb"
    assert [message["role"] for message in sent["messages"]] == ["user"]


def test_pictures_are_content_blocks() -> None:
    sent = body(ANTHROPIC, {"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE, LINKED]})
    assert sent["messages"][0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]


def test_tools_their_calls_and_results_are_mapped_both_ways() -> None:
    two = {**CALLED, "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    sent = body(ANTHROPIC, USER, two, RESULT, {**RESULT, "tool_call_id": "c2"}, USER, tools=[TOOL])
    assert sent["tools"] == [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}]
    _user, call, results = sent["messages"]
    assert call["content"][0] == {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "é"}}
    assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]
    assert results["content"][0]["tool_use_id"] == "c1"
    assert results["content"][0]["content"] == [{"type": "text", "text": "a door"}]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, {"type": "tool", "name": "look"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_a_tool_is_mapped(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert body(ANTHROPIC, tools=[TOOL], **given)["tool_choice"] == sent


def test_options_are_mapped_and_its_own_pass_through() -> None:
    sent = body(
        ANTHROPIC,
        max_completion_tokens=10,
        stop="END",
        user="u",
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        some_option={"a": 1},
        logprobs=False,
        frequency_penalty=0,
        n=1,
        response_format={"type": "text"},
        presence_penalty=None,
    )
    assert sent["max_tokens"] == 10
    assert sent["stop_sequences"] == ["END"]
    assert sent["metadata"] == {"user_id": "u"}
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["some_option"]) == (0.5, 0.9, 3, {"a": 1})
    assert not sent.keys() & {"logprobs", "frequency_penalty", "presence_penalty", "n", "response_format", "stop"}


def test_an_effort_is_a_budget_of_thinking_on_top_of_the_answer() -> None:
    sent = body(ANTHROPIC, reasoning_effort="low")
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert sent["max_tokens"] == MOST_TOKENS + 2048
    assert "thinking" not in body(ANTHROPIC, reasoning_effort="none")
    assert refused(ANTHROPIC, reasoning_effort="low", max_tokens=100).param == "max_tokens"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("logprobs", True), ("logit_bias", {"1": 2}), ("frequency_penalty", 0.5), ("audio", {"v": "a"})),
        *(("response_format", {"type": "json_object"}), ("modalities", ["audio"]), ("reasoning_effort", ["high"])),
        *(("max_tokens", 0), ("max_tokens", "many"), ("stop", 7), ("tool_choice", "some")),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(name: str, value: object) -> None:
    error = refused(ANTHROPIC, **{name: value})
    assert error.param == name
    assert name in error.message


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "messages[0].content[0]"),
        ({"role": "user", "content": ["hi"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text", "text": 7}]}, "messages[0].content[0]"),
        ({"role": "system", "content": [PICTURE]}, "messages[0]"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://a"}}]},
            "messages[0].content[0]",
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "data:x"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0]"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "content": "", "function_call": {"name": "f"}}, "messages[0]"),
        ({"role": "assistant", "content": "", "tool_calls": 7}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls[0]"),
        *(
            (
                {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": given}}]},
                "messages[0].tool_calls[0]",
            )
            for given in ("{", "[" * 100_000)
        ),
    ],
)
def test_a_message_that_has_no_words_there_is_refused_by_its_place(message: Any, place: str) -> None:
    assert refused(ANTHROPIC, message).param == place


def test_a_partial_answer_is_gone_on_from_without_the_space_at_its_end() -> None:
    assert ANTHROPIC.prefills
    begun = {"role": "assistant", "content": "Once upon "}
    assert body(ANTHROPIC, USER, begun)["messages"][-1]["content"] == [{"type": "text", "text": "Once upon"}]
    assert body(ANTHROPIC, USER, {**begun, "content": "  "})["messages"][-1]["role"] == "user"


def test_blocks_of_all_kinds_become_deltas() -> None:
    deltas, error = answer(
        event(
            "message_start", message={"usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1}}
        ),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        delta(0, type="thinking_delta", thinking="Hm."),
        delta(0, type="signature_delta", signature="x"),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "y"}),
        event("content_block_start", index=2, content_block={"type": "text", "text": "He"}),
        delta(2, type="text_delta", text="llo"),
        delta(2, type="citations_delta", citation={"type": "char_location", "cited_text": "Hi."}),
        event("content_block_stop", index=2),
        event("content_block_start", index=3, content_block={"type": "tool_use", "id": "t1", "name": "f", "input": {}}),
        delta(3, type="input_json_delta", partial_json='{"a'),
        delta(3, type="input_json_delta", partial_json='":1}'),
        event("content_block_stop", index=3),
        event("content_block_start", index=4, content_block={"type": "tool_use", "id": "t2", "name": "g", "input": {}}),
        event("content_block_stop", index=4),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}),
        STOP,
    )
    assert error is None
    form = {"format": "anthropic-claude-v1"}
    signed = {"index": 0, "type": "reasoning.text", "text": "Hm.", "signature": "x", **form}
    hidden = {"index": 1, "type": "reasoning.encrypted", "data": "y", **form}
    place = {"start_index": 0, "end_index": 5}
    assert deltas[:6] == [
        Reasoning("Hm."),
        ReasoningDetail(signed),
        ReasoningDetail(hidden),
        Text("He"),
        Text("llo"),
        Citation({"index": 0, "type": "char_location", "cited_text": "Hi.", **place}),
    ]
    sent = body(ANTHROPIC, USER, {**CALLED, "reasoning_details": [signed, hidden, {"type": "other"}]}, RESULT)
    assert sent["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "redacted_thinking", "data": "y"},
    ]
    calls = [piece.call for piece in deltas if isinstance(piece, ToolCall)]
    assert [call["index"] for call in calls] == [0, 0, 0, 1, 1]
    assert [call["function"].get("arguments") for call in calls] == ["", '{"a', '":1}', "", "{}"]
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert deltas[-2:] == [
        Finish("tool_calls"),
        Usage({**usage, "prompt_tokens_details": {"cached_tokens": 4}}),
    ]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter")],
)
def test_reasons_become_openais(theirs: str, ours: str) -> None:
    assert answer(event("message_delta", delta={"stop_reason": theirs}), STOP)[0] == [Finish(ours)]


def test_a_reason_is_no_end_and_only_message_stop_is() -> None:
    assert answer(delta(0, type="text_delta", text="a"), event("message_delta", delta={"stop_reason": "end_turn"})) == (
        [Text("a")],
        None,
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 503), ("rate_limit_error", 429), ("api_error", 502), ("invalid_request_error", 400)],
)
def test_an_error_keeps_its_kind_and_words_and_has_its_status(kind: str, status: int) -> None:
    deltas, error = answer(
        delta(0, type="text_delta", text="a"), event("error", error={"type": kind, "message": "Oh."})
    )
    assert deltas == [Text("a")]
    assert error is not None
    assert (error.status, error.type) == (status, kind)
    assert "Oh." in error.message


def test_events_that_nobody_knows_are_ignored_and_those_of_other_dialects_are_not() -> None:
    said = delta(0, type="text_delta", text="a"), event("message_delta", delta={"stop_reason": "end_turn"}), STOP
    assert answer(event("ping"), event("new", index="x", delta=[1]), *said)[0] == [Text("a"), Finish("stop")]
    _deltas, error = answer(b'data: {"choices": []}\n\n')
    assert error is not None
    assert "no part of an answer in this dialect" in error.message


def test_models_are_listed_newest_first_with_a_moderate_one_as_the_default() -> None:
    listing = {
        "data": [{"id": "claude-opus", "created_at": "2026-01-02T00:00:00Z"}, {"id": "claude-sonnet"}, {"id": 7}]
    }
    models = ANTHROPIC.listed(json.dumps(listing).encode())
    assert [(model.id, model.created) for model in models] == [("claude-opus", 1767312000), ("claude-sonnet", 0)]
    with pytest.raises(ApiError, match="no list of models"):
        ANTHROPIC.listed(b"[]")


def test_ids_that_anthropic_refuses_are_made_its_own_and_stay_with_their_results() -> None:
    calls = [{**CALL, "id": id_} for id_ in ("functions.look:0", "functions_look_0", "ok-1")]
    results = [{**RESULT, "tool_call_id": call["id"]} for call in calls]
    sent = body(ANTHROPIC, USER, {**CALLED, "tool_calls": calls}, *results)
    made = [block["id"] for block in sent["messages"][1]["content"]]
    assert made == ["functions_look_0", "functions_look_0_2", "ok-1"]
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == made


def test_several_signed_blocks_of_thinking_come_back_unchanged_and_in_order() -> None:
    details = [
        {"index": 0, "type": "reasoning.text", "text": "one", "signature": "S1", "format": "anthropic-claude-v1"},
        {"index": 1, "type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1"},
        {"index": 2, "type": "reasoning.text", "text": "two", "signature": "S2", "format": "anthropic-claude-v1"},
    ]
    sent = body(ANTHROPIC, USER, {**CALLED, "reasoning_details": details}, RESULT)
    assert sent["messages"][1]["content"][:3] == [
        {"type": "thinking", "thinking": "one", "signature": "S1"},
        {"type": "redacted_thinking", "data": "RED"},
        {"type": "thinking", "thinking": "two", "signature": "S2"},
    ]
