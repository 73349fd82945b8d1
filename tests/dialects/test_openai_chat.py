"""The stream in OpenAI's words."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape import Decoder
from tickertape.deltas import (
    Annotation,
    Audio,
    Begins,
    Citation,
    Continues,
    Delta,
    DeltaFields,
    End,
    Finish,
    FunctionCall,
    Image,
    Opens,
    Reasoning,
    ReasoningDetail,
    Refusal,
    ServerTool,
    State,
    Stopped,
    Text,
    ToolCall,
    Usage,
    encode_delta,
)
from tickertape.dialects.base import cursor_position, event_id
from tickertape.dialects.openai_chat import ChunkView, StreamTranscript
from tickertape.streams.contract import Header, Stream

STREAM = "3c2276b9840faf17bed9c3f0884be133"
HEADER = Header(id=STREAM, owner="ann", model='mo"del', created=1795399764)
PLACE = {"conversation_id": "c" * 32, "message_id": "b" * 32, "parent_message_id": "a" * 32}
ERROR = {"message": "It broke.", "type": "server_error", "code": "failed", "param": None}

deltas = st.one_of(
    st.builds(Text, st.text()),
    st.builds(Reasoning, st.text()),
    st.just(ToolCall({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}})),
    st.just(Finish("stop")),
    st.just(Usage({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})),
    st.just(Stopped()),
    st.just(Continues("abc")),
    st.just(Opens(PLACE)),
)


def entries(*parts: Delta | End) -> list[bytes]:
    return [encode_delta(part) for part in parts]


def data(*parts: Delta | End, first: int = 2) -> list[Any]:
    """Render, read back by the standard, and return what the events hold."""
    events = Decoder().feed(ChunkView(HEADER).feed(entries(*parts), first))
    assert [event.id for event in events] == [event_id(STREAM, first + index) for index in range(len(parts))]
    return [event.data if event.data == "[DONE]" else json.loads(event.data) for event in events]


def test_the_first_event_is_byte_for_byte_this() -> None:
    rendered = ChunkView(HEADER).feed(entries(Begins()), 1)
    assert rendered == (
        b"retry: 1000\n"
        b"id: 3c2276b9840faf17bed9c3f0884be133.1\n"
        b'data: {"id":"chatcmpl-3c2276b9840faf17bed9c3f0884be133","object":"chat.completion.chunk",'
        b'"created":1795399764,"model":"mo\\"del","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
        b'"logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_the_first_event_of_a_conversations_answer_says_where_it_belongs() -> None:
    (chunk,) = data(Opens(PLACE))
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunk["tickertape"] == PLACE


@pytest.mark.parametrize(
    ("delta", "shown"),
    [
        (Text("Hel"), {"content": "Hel"}),
        (Reasoning("Let"), {"reasoning_content": "Let"}),
        (Refusal("no"), {"refusal": "no"}),
        (ToolCall({"index": 0}), {"tool_calls": [{"index": 0}]}),
        (ReasoningDetail({"index": 0}), {"reasoning_details": [{"index": 0}]}),
        (Annotation({"index": 0}), {"annotations": [{"index": 0}]}),
        (Citation({"index": 0}), {"citations": [{"index": 0}]}),
        (Image({"index": 0}), {"images": [{"index": 0}]}),
        (Audio({"data": "AAAA"}), {"audio": {"data": "AAAA"}}),
        (ServerTool({"index": 0}), {"server_tools": [{"index": 0}]}),
        (FunctionCall({"name": "f"}), {"function_call": {"name": "f"}}),
        (DeltaFields({"cot_id": "x"}), {"cot_id": "x"}),
    ],
)
def test_a_delta_is_a_chunk_with_one_choice(delta: Delta, shown: dict[str, str]) -> None:
    (chunk,) = data(delta)
    assert chunk["choices"] == [{"index": 0, "delta": shown, "logprobs": None, "finish_reason": None}]
    assert (chunk["object"], chunk["model"]) == ("chat.completion.chunk", 'mo"del')


def test_the_finish_the_usage_and_the_end_are_openais() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    finish, counts, done = data(Finish("length"), Usage(usage), End(State.COMPLETED, finish_reason="length"))
    assert finish["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    assert (counts["choices"], counts["usage"]) == ([], usage)
    assert done == "[DONE]"


def test_a_cancelled_answer_says_so_and_then_done() -> None:
    mark, done = data(Stopped(), End(State.CANCELLED))
    assert (mark["choices"][0]["finish_reason"], mark["tickertape"]) == (None, {"state": "cancelled"})
    assert done == "[DONE]"


@pytest.mark.parametrize("state", [State.FAILED, State.INCOMPLETE, State.LOST])
def test_an_answer_that_is_not_whole_ends_with_its_error_and_never_done(state: State) -> None:
    assert data(End(state, error=ERROR)) == [{"error": ERROR, "tickertape": {"state": state}}]


def test_a_continued_answer_names_the_stream_that_it_goes_on_from() -> None:
    (mark,) = data(Continues("abc"))
    assert (mark["choices"][0]["delta"], mark["tickertape"]) == ({}, {"continues": "abc"})


@given(st.lists(deltas, min_size=1), st.data())
def test_rendered_in_any_pieces_the_bytes_are_the_same(parts: list[Delta], draw: st.DataObject) -> None:
    everything = entries(*parts, End(State.COMPLETED))
    whole = ChunkView(HEADER).feed(everything, 1)
    cuts = sorted({0, len(everything), *draw.draw(st.lists(st.integers(0, len(everything))))})
    renderer = ChunkView(HEADER)
    pieces = [renderer.feed(everything[begin:end], begin + 1) for begin, end in pairwise(cuts)]
    assert b"".join(pieces) == whole
    assert len(Decoder().feed(whole)) == len(everything)


@pytest.mark.parametrize(
    ("cursor", "number"),
    [
        (f"{STREAM}.1", 1),
        (f"{STREAM}.0", 0),
        (f"{STREAM}.{'9' * 15}", 999_999_999_999_999),
        (f"{STREAM}.{'9' * 16}", None),
        (f"{STREAM}.-1", None),
        (f"{STREAM}.٣", None),
        (f"{STREAM}.", None),
        (STREAM, None),
        ("other.3", None),
        ("", None),
        ("\x00.1", None),
    ],
)
def test_a_cursor_names_a_position_in_its_own_stream_only(cursor: str, number: int | None) -> None:
    assert cursor_position(cursor, STREAM) == number


def test_the_snapshot_gathers_what_was_said() -> None:
    stream = Stream(HEADER, entries(Begins(), Reasoning("Hm"), Text("Hel"), Text("lo")))
    shown = StreamTranscript(stream).snapshot()
    assert (shown["state"], shown["text"], shown["reasoning"]) == ("running", "Hello", "Hm")
    assert shown["last_event_id"] == f"{STREAM}.4"
    stream.extend(entries(End(State.FAILED, error=ERROR)), ended=True)
    shown = StreamTranscript(stream).snapshot()
    assert (shown["state"], shown["error"], shown["last_event_id"]) == ("failed", ERROR, f"{STREAM}.5")


def test_a_whole_answer_merges_its_tool_calls_by_index() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return {"index": index, "function": function}

    stream = Stream(
        HEADER,
        entries(
            Begins(),
            ToolCall(call(0, name="add", arguments="") | {"id": "one", "type": "function"}),
            ToolCall(call(0, arguments='{"a":')),
            ToolCall(call(1, name="sub", arguments="{}") | {"id": "two"}),
            ToolCall(call(0, arguments="1}")),
            End(State.COMPLETED, finish_reason="tool_calls", usage={"total_tokens": 3}),
        ),
        ended=True,
    )
    whole = StreamTranscript(stream).completion()
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert [
        (made["id"], made["function"]["name"], made["function"]["arguments"]) for made in message["tool_calls"]
    ] == [
        ("one", "add", '{"a":1}'),
        ("two", "sub", "{}"),
    ]
    assert (whole["choices"][0]["finish_reason"], whole["usage"]) == ("tool_calls", {"total_tokens": 3})


@pytest.mark.parametrize("piece", [{"index": 10**9}, {"index": -1}, {"index": "x"}, {}, "text", None])
def test_a_tool_call_that_makes_no_sense_harms_nothing(piece: Any) -> None:
    stream = Stream(HEADER, entries(DeltaFields({"tool_calls": [piece]}), End(State.COMPLETED)), ended=True)
    assert len(StreamTranscript(stream).completion()["choices"][0]["message"].get("tool_calls") or []) <= 1
