"""Requests and answers in Gemini's words."""

import json
from typing import Any

import pytest

from tickertape.deltas import Delta, Finish, Reasoning, ReasoningDetail, Refusal, ServerTool, Text, ToolCall, Usage
from tickertape.errors import ApiError
from tickertape.providers.base import ChatRequest
from tickertape.providers.gemini import Gemini

from .asked import CALL, CALLED, LINKED, PICTURE, RESULT, SCHEMA, TOOL, USER, asked, body, read, refused

GEMINI = Gemini("http://up.example", "k")
ASK = ChatRequest(model="m", messages=[USER])


def event(parts: Any = None, finish: str | None = None, **more: Any) -> bytes:
    candidate = {"content": {"parts": parts or [], "role": "model"}, "index": 0, "finishReason": finish}
    return f"data: {json.dumps({'candidates': [candidate], **more})}\r\n\r\n".encode()


def answer(*events: bytes) -> tuple[list[Delta], ApiError | None]:
    return read(GEMINI.reader(ASK), *events)


def test_the_model_is_in_the_path_and_the_key_in_a_header() -> None:
    path, sent = asked(GEMINI, model="models/gemini 2/x")
    assert path == "/models/gemini%202%2Fx:streamGenerateContent?alt=sse"
    assert sent == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert GEMINI._http._headers["x-goog-api-key"] == "k"


def test_an_azure_like_query_is_kept_beside_its_own() -> None:
    provider = Gemini("http://up.example/base?a=b", "k")
    path, _sent = asked(provider)
    assert provider._http._address.endpoint("R", path) == "R/models/m:streamGenerateContent?alt=sse&a=b"


def test_system_pictures_tools_calls_and_results_are_mapped() -> None:
    sent = body(
        GEMINI,
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE]},
        CALLED,
        RESULT,
        {**RESULT, "content": '{"seen": 1}'},
        model="gemini-2.5-flash",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look"}},
    )
    assert sent["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    user, model, results = sent["contents"]
    assert user["parts"] == [{"text": "see"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]
    assert model == {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"at": "é"}}}]}
    assert [part["functionResponse"]["response"] for part in results["parts"]] == [{"result": "a door"}, {"seen": 1}]
    declared = {"name": "look", "description": "Looks.", "parametersJsonSchema": SCHEMA}
    assert sent["tools"] == [{"functionDeclarations": [declared]}]
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}}


def test_a_signature_goes_out_as_it_came_in() -> None:
    part = {"functionCall": {"name": "look", "args": {"at": "é"}}, "thoughtSignature": "sig"}
    deltas, _error = answer(event([part], "STOP"))
    raw, finish = deltas
    assert isinstance(raw, ToolCall)
    call = raw.call
    assert json.loads(call["function"]["arguments"]) == {"at": "é"}
    assert finish == Finish("tool_calls")
    sent = body(GEMINI, USER, {"role": "assistant", "content": "", "tool_calls": [call]})
    assert sent["contents"][1]["parts"] == [part]


def test_options_are_mapped_and_its_own_pass_through() -> None:
    sent = body(
        GEMINI,
        max_tokens=10,
        stop=["a", "b"],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        presence_penalty=0.1,
        reasoning_effort="medium",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        generationConfig={"topK": 3},
        safetySettings=[{"category": "c"}],
    )
    assert sent["generationConfig"] == {
        "topK": 3,
        "temperature": 0.5,
        "topP": 0.9,
        "seed": 7,
        "presencePenalty": 0.1,
        "maxOutputTokens": 10,
        "stopSequences": ["a", "b"],
        "thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True},
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    assert sent["safetySettings"] == [{"category": "c"}]
    assert body(GEMINI, response_format={"type": "json_object"})["generationConfig"] == {
        "responseMimeType": "application/json"
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("logprobs", True), ("logit_bias", {"1": 2}), ("response_format", {"type": "x"})],
)
def test_what_it_cannot_honour_is_refused_by_name(name: str, value: object) -> None:
    assert refused(GEMINI, **{name: value}).param == name
    assert refused(GEMINI, tools=[TOOL], parallel_tool_calls=False).param == "parallel_tool_calls"


def test_a_linked_picture_and_a_result_of_no_call_are_refused() -> None:
    assert "data: URL" in refused(GEMINI, {"role": "user", "content": [LINKED]}).message
    assert refused(GEMINI, USER, RESULT).param == "messages[1].tool_call_id"
    assert refused(GEMINI, tools=[{"type": "web_search"}]).param == "tools[0]"
    assert not GEMINI.prefills
    assert CALL["id"] == "c1"


def test_thoughts_text_and_counts_become_deltas() -> None:
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 5, "cachedContentTokenCount": 1}
    deltas, error = answer(
        event([{"text": "Hm.", "thought": True}]),
        event([{"text": "Hel"}, {"text": "lo"}, {"text": ""}, {"executableCode": {"code": "1"}}]),
        event([{"text": ""}], "STOP"),
        b'data: {"usageMetadata": %b, "modelVersion": "x"}\r\n\r\n' % json.dumps(counts).encode(),
    )
    assert error is None
    assert deltas[:-1] == [
        *(Reasoning("Hm."), Text("Hel"), Text("lo")),
        ServerTool({"index": 0, "type": "executable_code", "code": "1"}),
        Finish("stop"),
    ]
    assert deltas[-1] == Usage(
        {
            "prompt_tokens": 3,
            "completion_tokens": 9,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 5},
        }
    )


@pytest.mark.parametrize(("theirs", "ours"), [("MAX_TOKENS", "length"), ("SAFETY", "content_filter")])
def test_reasons_become_openais(theirs: str, ours: str) -> None:
    assert answer(event([], theirs))[0] == [Finish(ours)]


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "SOMETHING_NEW"])
def test_a_reason_that_means_a_broken_answer_is_an_error(reason: str) -> None:
    deltas, error = answer(event([{"text": "a"}]), event([], reason))
    assert deltas == [Text("a")]
    assert error is not None
    assert reason in error.message


def test_a_blocked_question_is_refused_in_words_and_filtered() -> None:
    blocked = b'data: {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 2}}\r\n\r\n'
    raw, finish, usage = answer(blocked)[0]
    assert isinstance(raw, Refusal)
    assert "SAFETY" in raw.text
    assert finish == Finish("content_filter")
    assert isinstance(usage, Usage)


def test_an_error_keeps_its_words_and_status() -> None:
    error_event = b'data: {"error": {"code": 503, "message": "Busy.", "status": "UNAVAILABLE"}}\r\n\r\n'
    deltas, error = answer(event([{"text": "a"}]), error_event)
    assert deltas == [Text("a")]
    assert error is not None
    assert (error.status, error.type, error.code) == (503, "UNAVAILABLE", "503")


def test_an_array_is_an_answer_too() -> None:
    parts = [json.loads(event([{"text": "a"}])[6:]), json.loads(event([{"text": "b"}], "STOP")[6:])]
    assert read(GEMINI.reader(ASK), json.dumps(parts, indent=2).encode()) == (
        [Text("a"), Text("b"), Finish("stop")],
        None,
    )
    deltas, error = read(GEMINI.reader(ASK), json.dumps([{"error": {"message": "No."}}]).encode())
    assert deltas == []
    assert error is not None


def test_only_models_that_answer_are_listed() -> None:
    listing = {
        "models": [
            {"name": "models/gemini-2.5-pro", "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]},
            {"name": "models/tuned"},
        ]
    }
    assert [model.id for model in GEMINI.listed(json.dumps(listing).encode())] == ["gemini-2.5-pro", "tuned"]


def test_a_call_that_another_model_made_gets_googles_placeholder_for_its_signature() -> None:
    two = {**CALLED, "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    parts = body(GEMINI, USER, two, model="gemini-3-pro")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]
    for old in ("gemini-2.5-pro", "gemini-1.5-flash"):
        assert "thoughtSignature" not in body(GEMINI, USER, two, model=old)["contents"][1]["parts"][0]


def test_a_signature_beside_text_goes_out_as_it_came_in() -> None:
    deltas, _error = answer(event([{"text": "Hi", "thoughtSignature": "SIG"}], "STOP"))
    detail = deltas[1]
    assert isinstance(detail, ReasoningDetail)
    said = {"role": "assistant", "content": "Hi", "reasoning_details": [detail.detail]}
    assert body(GEMINI, USER, said, USER)["contents"][1]["parts"] == [{"text": "Hi", "thoughtSignature": "SIG"}]
