"""Every shape in which servers send OpenAI's chunks, fed in every way."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.deltas import (
    ChunkFields,
    Delta,
    DeltaFields,
    Finish,
    Reasoning,
    ReasoningDetail,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from tickertape.errors import ApiError
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.upstream_errors import UpstreamErrors

from .upstream import DONE, HEALTHY, USAGE, delta, event

ANSWER = [Text("Hel"), Text("lo é😀"), Finish("stop"), Usage(USAGE)]


def read(*pieces: bytes, limit: int = 1 << 20) -> tuple[list[Delta], ApiError | None]:
    reader = ChunkReader(UpstreamErrors("up.example"), limit)
    deltas: list[Delta] = []
    for piece in (*pieces, b""):
        if not reader.over:
            deltas += reader.feed(piece)
    return deltas, reader.error


@given(st.lists(st.integers(0, len(b"".join(HEALTHY)))))
def test_an_answer_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    whole = b"".join(HEALTHY)
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges) if a < b]
    assert read(*pieces) == (ANSWER, None)


def test_an_answer_is_the_same_byte_by_byte_and_with_crlf() -> None:
    for whole in (b"".join(HEALTHY), b"".join(HEALTHY).replace(b"\n", b"\r\n")):
        assert read(*(whole[n : n + 1] for n in range(len(whole)))) == (ANSWER, None)


def test_cut_off_anywhere_before_the_finish_it_has_none() -> None:
    whole = b"".join(HEALTHY)
    finish = whole.index(delta("stop")) + len(delta("stop"))
    for length in range(finish):
        deltas, error = read(whole[:length])
        assert error is None
        assert not any(isinstance(d, Finish) for d in deltas)


def test_a_finish_reason_or_done_is_enough() -> None:
    assert read(delta(content="a"), delta("length")) == ([Text("a"), Finish("length")], None)
    assert read(delta(content="a"), DONE) == ([Text("a"), Finish("stop")], None)


def test_done_without_an_answer_before_it_is_no_end() -> None:
    assert read(DONE) == ([], None)
    assert read(b'data: {"choices":[]}\n\n', DONE) == ([], None)


def test_the_last_finish_reason_counts_and_text_after_it_or_done_revokes_it() -> None:
    assert read(delta("stop"), delta("length"), DONE) == ([Finish("length")], None)
    assert read(delta("stop"), delta(content="late")) == ([Text("late")], None)
    assert read(delta("stop"), DONE, delta(content="late")) == ([Text("late")], None)
    assert read(delta("stop"), delta(content="late"), DONE) == ([Text("late"), Finish("stop")], None)
    assert read(delta("stop"), delta(content="late"), delta("length")) == ([Text("late"), Finish("length")], None)


@pytest.mark.parametrize(("theirs", "ours"), [("eos_token", "stop"), ("max_tokens", "length"), ("tool_calls",) * 2])
def test_finish_reasons_become_those_of_openai(theirs: str, ours: str) -> None:
    assert read(delta(theirs)) == ([Finish(ours)], None)


@pytest.mark.parametrize(
    "quirk",
    [
        b": OPENROUTER PROCESSING\n\n",
        b": keep-alive\n",
        event({"choices": []}),
        event({"choices": None}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
        event({"choices": [{"index": None, "delta": {}, "finish_reason": ""}]}),
        event({"choices": [{"delta": {"content": None, "role": "assistant"}}], "error": None}),
        event({}),
        b"event: ping\ndata: {}\n\n",
        b"id: 5\nretry: 10\n\n",
    ],
)
def test_a_quirk_changes_nothing_in_the_answer(quirk: bytes) -> None:
    assert read(quirk, *(part for chunk in HEALTHY for part in (chunk, quirk))) == (ANSWER, None)


def test_reasoning_comes_in_three_spellings_and_once_when_two_are_sent() -> None:
    details = [{"type": "reasoning.text", "text": "c"}, {"type": "reasoning.encrypted", "data": "…"}]
    deltas, _ = read(
        delta(reasoning_content="a"),
        delta(reasoning="b", content="x"),
        delta(reasoning_details=details),
        delta(reasoning="d", reasoning_content="d", reasoning_details=details),
    )
    assert [delta for delta in deltas if not isinstance(delta, ReasoningDetail)] == [
        *(Reasoning("a"), Reasoning("b"), Text("x"), Reasoning("c"), Reasoning("d")),
    ]


def test_whoever_wants_reasoning_raw_gets_the_upstreams_own_fields_as_well() -> None:
    reader = ChunkReader(UpstreamErrors("up.example"), raw=True)
    details = [{"type": "reasoning.encrypted", "data": "…"}]
    assert reader.feed(delta(reasoning="b", reasoning_details=details)) == [
        Reasoning("b"),
        ReasoningDetail({**details[0], "index": 0}),
        DeltaFields({"reasoning": "b"}),
    ]


def test_tool_calls_and_refusals_pass_through_as_they_are() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}, "extra": 1}
    deltas, _ = read(delta(tool_calls=[call], role="assistant", content=None), delta(refusal="No."))
    assert deltas == [ToolCall(call), Refusal("No.")]


def test_content_in_parts_is_told_apart_and_an_unknown_type_fails_the_answer() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}]
    assert read(delta(content=parts)) == ([Text("a"), Text("b")], None)
    for unknown in (7, [7], [{"type": "hologram", "data": "x"}], {"type": "hologram"}):
        deltas, error = read(delta(content="a"), delta(content=unknown), delta("stop"), DONE)
        assert deltas == [Text("a")]
        assert error is not None
        assert "sent content" in error.message


def test_a_field_that_has_no_word_here_is_passed_on_once_for_each_value() -> None:
    said = [event({"choices": [{"delta": {"content": c}}], "rated": r}) for c, r in (("a", 1), ("b", 1), ("c", 2))]
    deltas, error = read(*said, event({"choices": [{"delta": {"cot_id": "x"}, "seen": [1]}]}), delta("stop"))
    assert error is None
    assert deltas == [
        *(Text("a"), ChunkFields({"rated": 1}), Text("b"), Text("c"), ChunkFields({"rated": 2})),
        *(DeltaFields({"cot_id": "x"}), ChunkFields({"seen": [1]}), Finish("stop")),
    ]


def test_several_answers_where_one_was_asked_for_are_an_error() -> None:
    other = event({"choices": [{"index": 1, "delta": {"content": "another choice"}}]})
    deltas, error = read(delta(content="a"), other, delta("stop"), DONE)
    assert deltas == [Text("a")]
    assert error is not None
    assert "several answers" in error.message


def test_the_last_usage_counts_and_comes_once_at_the_end() -> None:
    growing = [
        event({"choices": [{"delta": {"content": c}}], "usage": {"total_tokens": n}}) for n, c in enumerate("ab")
    ]
    assert read(*growing, delta("stop")) == ([Text("a"), Text("b"), Finish("stop"), Usage({"total_tokens": 1})], None)


def test_half_a_surrogate_pair_is_no_end() -> None:
    assert read(b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n') == (
        [Text(""), Text("\ufffd")],
        None,
    )


ERRORS = {
    "an error event": event({"error": {"message": "Boom.", "type": "server_error", "code": "x1"}}),
    "older vLLM": event({"object": "error", "message": "Boom.", "type": "server_error", "code": "x1"}),
    "an error beside choices": event(
        {
            "error": {"message": "Boom.", "type": "server_error", "code": "x1"},
            "choices": [{"delta": {"content": ""}, "finish_reason": "error"}],
        }
    ),
    "older llama.cpp": b'error: {"message":"Boom.","type":"server_error","code":"x1"}\n\n',
    "a bare JSON line": b'{"error":{"message":"Boom.","type":"server_error","code":"x1"}}\n',
    "FastAPI's detail": event({"detail": "Boom.", "type": "server_error", "code": "x1"}),
}


@pytest.mark.parametrize("shape", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("after", [b"", DONE], ids=["", "then done"])
def test_an_error_in_the_middle_keeps_the_text_and_the_words(shape: bytes, after: bytes) -> None:
    for pieces in ([delta(content="a") + shape + after], [delta(content="a"), shape, after]):
        deltas, error = read(*pieces)
        assert deltas == [Text("a")]
        assert error is not None
        assert error.message == "up.example broke off with an error: Boom."
        assert (error.status, error.type, error.code) == (502, "server_error", "x1")


@pytest.mark.parametrize(("code", "status"), [(429, 429), ("503", 503), (400, 400), (500, 502), (None, 502), (7, 502)])
def test_a_status_in_the_code_of_an_error_is_kept(code: object, status: int) -> None:
    _, error = read(event({"error": {"message": "m", "code": code}}))
    assert error is not None
    assert error.status == status


def test_a_bare_finish_reason_of_error_is_an_error() -> None:
    deltas, error = read(delta(content="a"), delta("error"))
    assert deltas == [Text("a")]
    assert error is not None


@pytest.mark.parametrize("data", ["{", "hello", "[]", "7", '{"choices": [', "true"])
def test_an_event_that_is_no_json_object_is_an_error(data: str) -> None:
    deltas, error = read(delta(content="a"), event(data))
    assert deltas == [Text("a")]
    assert error is not None
    assert "not a JSON object" in error.message


@pytest.mark.parametrize("together", [True, False])
def test_a_giant_event_is_an_error_after_what_came_before(together: bool) -> None:
    parts = [delta(content="a"), delta(content="b" * 5000)]
    deltas, error = read(*([b"".join(parts)] if together else parts), limit=4000)
    assert deltas == [Text("a")]
    assert error is not None
    assert "4,000 bytes" in error.message


def test_a_whole_completion_is_an_answer_too() -> None:
    message = {"role": "assistant", "content": "All.", "reasoning_content": "Hm."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    whole = [Reasoning("Hm."), Text("All."), Finish("stop"), Usage(USAGE)]
    for text in (json.dumps(body), json.dumps(body, indent=2), f"{json.dumps(body)}\n"):
        assert read(text.encode()) == (whole, None)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), lambda x: st.dictionaries(st.sampled_from(
    ["choices", "delta", "content", "error", "usage", "message", "index", "code", "finish_reason", "tool_calls"]), x)
    | st.lists(x)).map(event))  # fmt: skip
def test_no_bytes_whatever_raise_or_invent_a_finish(data: bytes) -> None:
    deltas, error = read(data)
    finished = any(isinstance(d, Finish) for d in deltas)
    assert not finished or b"finish_reason" in data or b"[DONE]" in data
    assert error is None or isinstance(error, ApiError)


def test_an_error_line_is_found_however_it_is_cut_and_text_is_never_taken_for_one() -> None:
    whole = delta(content="a\nerror: {x") + ERRORS["older llama.cpp"]
    for size in (1, 7, len(whole)):
        deltas, error = read(*(whole[n : n + size] for n in range(0, len(whole), size)))
        assert (deltas, error is not None) == ([Text("a\nerror: {x")], True)
    for length in range(1900, 2200):  # wherever the end that is kept begins
        assert read(delta(content="error: {x" + "y" * length)) == ([Text("error: {x" + "y" * length)], None)
