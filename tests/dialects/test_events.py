"""Plain typed events: what each entry is called, and that nothing of an answer is left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape import Decoder
from tickertape.deltas import (
    Begins,
    Continues,
    Delta,
    End,
    Finish,
    Frame,
    Opens,
    Reasoning,
    Refusal,
    ScoredText,
    State,
    Stopped,
    Text,
    ToolCall,
    Typed,
    Usage,
    encode_delta,
)
from tickertape.dialects import DIALECTS
from tickertape.dialects.events import EventView
from tickertape.streams.contract import Header, Stream

HEADER = Header(id="3c22", owner="ann", model="m", created=1795399764)
ERROR = {"message": "It broke.", "type": "server_error", "code": "failed", "param": None}


def read(*deltas: Delta | End, first: int = 2) -> list[tuple[str, str, str]]:
    """Return type, data and id of the events."""
    rendered = EventView(HEADER).feed([encode_delta(delta) for delta in deltas], first)
    return [(event.type, event.data, event.id) for event in Decoder().feed(rendered)]


def test_the_first_event_says_which_stream_this_is() -> None:
    rendered = EventView(HEADER).feed([encode_delta(Begins())], 1)
    assert rendered == (
        b'retry: 1000\nid: 3c22.1\nevent: open\ndata: {"id":"3c22","model":"m","created":1795399764}\n\n'
    )
    ((type_, data, _id),) = read(Opens({"conversation_id": "c", "message_id": "m"}), first=1)
    assert (type_, json.loads(data)["conversation_id"]) == ("open", "c")


@pytest.mark.parametrize(
    ("delta", "type_", "data"),
    [
        (Text('Hel"lo\n'), "message", '"Hel\\"lo\\n"'),
        (Reasoning("hm"), "reasoning", '"hm"'),
        (Refusal("no"), "refusal", '"no"'),
        (ToolCall({"index": 0, "id": "a"}), "tool_call", '{"index":0,"id":"a"}'),
        (Continues("abc"), "continues", '"abc"'),
        (Finish("stop"), "finish", '"stop"'),
        (Usage({"total_tokens": 3}), "usage", '{"total_tokens":3}'),
        (Typed("progress", {"percent": 30}), "progress", '{"percent":30}'),
        (Typed("message", [1]), "message", "[1]"),
        (Frame("note", "two\nlines"), "note", "two\nlines"),
        (End(State.COMPLETED, finish_reason="stop"), "end", '{"state":"completed","finish_reason":"stop"}'),
        (End(State.CANCELLED, cancelled_by="request"), "end", '{"state":"cancelled","cancelled_by":"request"}'),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_an_entry_is_an_event_of_its_type(delta: Delta | End, type_: str, data: str) -> None:
    assert read(delta, first=7) == [(type_, data, "3c22.7")]


def test_a_failed_answer_ends_with_its_error_and_never_with_an_event_called_error() -> None:
    ((type_, data, _id),) = read(End(State.FAILED, error=ERROR, status=502))
    assert (type_, json.loads(data)) == ("end", {"state": "failed", "error": ERROR})


def test_text_with_log_probabilities_is_two_events_and_the_last_has_the_id() -> None:
    assert read(Text("a"), ScoredText("b", {"content": []}), first=2) == [
        ("message", '"a"', "3c22.2"),
        ("message", '"b"', "3c22.2"),  # the id of the event before: who is cut here gets this entry again
        ("logprobs", '{"content":[]}', "3c22.3"),
    ]


def test_a_stop_is_said_by_the_end_alone() -> None:
    assert [type_ for type_, _data, _id in read(Stopped(), End(State.CANCELLED))] == ["end"]


def test_what_an_event_stream_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="CR"):
        EventView(HEADER).feed([encode_delta(Frame("note", "a\rb"))], 2)


@given(st.lists(st.one_of(st.builds(Text, st.text()), st.builds(Reasoning, st.text()))), st.integers(1, 9))
def test_the_text_comes_out_as_it_went_in_wherever_the_entries_are_cut(
    deltas: list[Text | Reasoning], cut: int
) -> None:
    entries = [encode_delta(delta) for delta in deltas]
    view = EventView(HEADER)
    rendered = view.feed(entries[:cut], 2) + view.feed(entries[cut:], 2 + len(entries[:cut]))
    assert rendered == EventView(HEADER).feed(entries, 2)
    assert [json.loads(event.data) for event in Decoder().feed(rendered)] == [
        json.loads(entry[1:]) for entry in entries
    ]


def test_a_whole_answer_is_the_snapshot_of_its_stream() -> None:
    entries = [encode_delta(delta) for delta in (Begins(), Text("Hi"), End(State.COMPLETED, finish_reason="stop"))]
    whole = DIALECTS["events"].answer(Stream(HEADER, entries, ended=True))
    assert (whole["text"], whole["state"], whole["last_event_id"]) == ("Hi", "completed", "3c22.3")
