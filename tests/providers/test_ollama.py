"""Requests and answers in Ollama's words."""

import json
from typing import Any

import pytest

from tickertape.deltas import Delta, Finish, Reasoning, Text, ToolCall, Usage
from tickertape.errors import ApiError
from tickertape.providers.base import ChatRequest
from tickertape.providers.ollama import Ollama
from tickertape.providers.ollama_reader import LineReader
from tickertape.providers.upstream_errors import UpstreamErrors

from .asked import CALLED, LINKED, PICTURE, RESULT, SCHEMA, TOOL, USER, asked, body, read, refused

OLLAMA = Ollama("http://up.example:11434")
ASK = ChatRequest(model="m", messages=[USER])


def line(done: bool = False, error: str | None = None, counts: dict[str, Any] | None = None, **message: Any) -> bytes:
    body: dict[str, Any] = {"model": "m", "message": {"role": "assistant", **message}, "done": done}
    return json.dumps({"error": error} if error else {**body, **(counts or {})}).encode() + b"\n"


def answer(*lines: bytes, **parameters: Any) -> tuple[list[Delta], ApiError | None]:
    return read(OLLAMA.reader(ChatRequest(model="m", messages=[USER], parameters=parameters)), *lines)


END = line(done=True, counts={"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4})
COUNTED = [Finish("stop"), Usage({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})]


def test_the_native_route_is_asked_below_whatever_address_was_given() -> None:
    assert asked(OLLAMA) == ("/chat", {"model": "m", "messages": [USER], "stream": True})
    assert OLLAMA._http._address.roots[0] == "http://up.example:11434/api"
    assert "Authorization" not in OLLAMA._http._headers
    assert OLLAMA.prefills


def test_pictures_tools_calls_and_results_are_mapped() -> None:
    sent = body(
        OLLAMA,
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE]},
        CALLED,
        RESULT,
        tools=[TOOL],
    )
    assert sent["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "see", "images": ["iVBORw0KGgo="]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "look", "arguments": {"at": "é"}}}],
        },
        {"role": "tool", "content": "a door", "tool_name": "look"},
    ]
    assert sent["tools"] == [TOOL]


def test_options_are_mapped_and_its_own_pass_through() -> None:
    sent = body(
        OLLAMA,
        max_tokens=10,
        stop="a",
        temperature=0.5,
        seed=7,
        num_ctx=4096,
        options={"mirostat": 1},
        keep_alive="5m",
        reasoning_effort="minimal",
        response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}},
    )
    options = {"mirostat": 1, "temperature": 0.5, "seed": 7, "num_ctx": 4096, "num_predict": 10, "stop": ["a"]}
    assert sent["options"] == options
    assert (sent["keep_alive"], sent["think"], sent["format"]) == ("5m", "low", SCHEMA)
    assert body(OLLAMA, reasoning_effort="none")["think"] is False
    assert body(OLLAMA, response_format={"type": "json_object"})["format"] == "json"
    assert "tools" not in body(OLLAMA, tools=[TOOL], tool_choice="none")


@pytest.mark.parametrize(
    ("name", "value"),
    [("logprobs", True), ("tool_choice", "required"), ("response_format", 7)],
)
def test_what_it_cannot_honour_is_refused_by_name(name: str, value: object) -> None:
    assert refused(OLLAMA, **{name: value}).param == name
    assert refused(OLLAMA, tools=[TOOL], parallel_tool_calls=False).param == "parallel_tool_calls"


def test_a_linked_picture_is_refused() -> None:
    assert "data: URL" in refused(OLLAMA, {"role": "user", "content": [LINKED]}).message


def test_lines_become_deltas() -> None:
    call = {"function": {"name": "look", "arguments": {"at": "é"}}}
    deltas, error = answer(
        line(content="", thinking="Hm."), line(content="Hel"), line(content="lo", tool_calls=[call]), END
    )
    assert error is None
    assert deltas[:3] == [Reasoning("Hm."), Text("Hel"), Text("lo")]
    raw = deltas[3]
    assert isinstance(raw, ToolCall)
    assert raw.call["function"] == {"name": "look", "arguments": '{"at": "é"}'}
    assert deltas[4:] == [Finish("tool_calls"), COUNTED[1]]


def test_thinking_that_is_written_into_the_answer_is_told_apart_unless_it_is_wanted_raw() -> None:
    lines = [line(content=piece) for piece in ("<th", "ink>\nHm", ".</thi", "nk>\n\nYes")]
    assert answer(*lines, END)[0] == [Reasoning("Hm"), Reasoning("."), Text("Yes"), *COUNTED]
    raw = answer(*lines, END, reasoning_format="raw")[0]
    assert "".join(delta.text for delta in raw if isinstance(delta, Text)) == "<think>\nHm.</think>\n\nYes"


def test_an_error_line_keeps_its_words_and_the_text_before_it() -> None:
    deltas, error = answer(line(content="a"), line(error="model runner has unexpectedly stopped"), line(content="b"))
    assert deltas == [Text("a")]
    assert error is not None
    assert "model runner has unexpectedly stopped" in error.message


def test_a_last_line_without_its_end_is_the_end_if_it_is_whole() -> None:
    assert answer(line(content="a"), END.rstrip()) == ([Text("a"), *COUNTED], None)
    assert answer(line(content="a"), END[:-5]) == ([Text("a")], None)


def test_lines_are_the_same_however_they_are_cut_and_bounded() -> None:
    whole = b"".join([line(content="é😀"), b"\r\n", line(content="b"), END])
    for size in (1, 3, 50, len(whole)):
        pieces = [whole[n : n + size] for n in range(0, len(whole), size)]
        assert answer(*pieces)[0] == [Text("é😀"), Text("b"), *COUNTED]
    deltas, error = read(LineReader(UpstreamErrors("up.example"), 1000), line(content="a"), line(content="b" * 2000))
    assert deltas == [Text("a")]
    assert error is not None
    assert "1,000 bytes" in error.message


def test_models_are_those_that_were_pulled() -> None:
    assert [model.id for model in OLLAMA.listed(b'{"models": [{"name": "llama3:8b"}, {"x": 1}]}')] == ["llama3:8b"]
