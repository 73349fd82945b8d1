"""What an answer has said, from every dialect of OpenAI's stream there is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.client.transcript import EventTranscript as Transcript
from tickertape.deltas import Finish, Reasoning, State, Text, ToolCall, Usage
from tickertape.errors import AnswerFailed, ConnectionFailed, IncompleteStream
from tickertape.sse.event import Event


def chunk(delta: Any = None, **more: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]})


def reads(*data: str, end: bool = True) -> Transcript:
    it = Transcript()
    for one in data:
        it.take(Event(one))
    if end:
        it.end()
    return it


WHOLE = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})]


def test_a_finish_reason_and_done_make_it_complete() -> None:
    it = reads(*WHOLE, chunk({}, finish_reason="stop"), "[DONE]")
    assert (it.text, it.finish_reason, it.state, it.done) == ("Hello", "stop", State.COMPLETED, True)


def test_a_finish_reason_alone_is_enough() -> None:
    it = reads(*WHOLE, chunk({}, finish_reason="length"))
    assert (it.state, it.finish_reason) == (State.COMPLETED, "length")


def test_done_alone_is_enough() -> None:
    it = reads(*WHOLE, "[DONE]")
    assert (it.state, it.finish_reason) == (State.COMPLETED, None)


def test_done_before_any_answer_is_incomplete() -> None:
    it = Transcript()
    it.take(Event('{"choices":[]}'))  # Azure's first chunk
    it.take(Event("[DONE]"))
    with pytest.raises(IncompleteStream, match="before there was an answer"):
        it.end()
    assert it.state is State.INCOMPLETE


def test_neither_is_incomplete_and_keeps_the_text() -> None:
    it = reads(*WHOLE, end=False)
    with pytest.raises(IncompleteStream, match="after 5 characters") as caught:
        it.end()
    assert caught.value.text == "Hello"
    assert it.state is State.INCOMPLETE


def test_nothing_at_all_is_incomplete() -> None:
    with pytest.raises(IncompleteStream, match="after 0 characters"):
        reads()


def test_the_cause_of_the_break_is_part_of_the_sentence() -> None:
    it = reads(*WHOLE, end=False)
    cause = ConnectionFailed("It broke.")
    with pytest.raises(IncompleteStream, match=r"It broke\.") as caught:
        it.end(cause)
    assert caught.value.__cause__ is cause


def test_a_break_after_the_finish_reason_does_no_harm() -> None:
    it = reads(*WHOLE, chunk({}, finish_reason="stop"), end=False)
    it.end(ConnectionFailed("It broke."))
    assert it.state is State.COMPLETED


def test_a_cancelled_answer_is_a_state_and_never_complete() -> None:
    mark = json.dumps({"choices": [{"index": 0, "delta": {}}], "tickertape": {"state": "cancelled"}})
    assert reads(*WHOLE, mark, "[DONE]").state is State.CANCELLED
    assert reads(*WHOLE, mark).state is State.CANCELLED


def test_an_answer_that_the_caller_cancelled_ends_without_an_error() -> None:
    it = reads(*WHOLE, end=False)
    it.stopped()
    it.end()
    assert (it.state, it.text) == (State.CANCELLED, "Hello")


def test_an_answer_that_was_whole_before_the_caller_could_stop_it_is_complete() -> None:
    it = reads(*WHOLE, end=False)
    it.stopped()
    it.take(Event(chunk({}, finish_reason="stop")))
    it.end()
    assert it.state is State.COMPLETED


def test_every_delta_is_handed_on_in_the_words_of_the_house() -> None:
    it = Transcript()
    assert it.take(Event(chunk({"role": "assistant", "content": ""}))) == []
    assert it.take(Event(chunk({"reasoning_content": "hm", "content": "x"}))) == [Reasoning("hm"), Text("x")]
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert it.take(Event(chunk({"tool_calls": [call]}))) == [ToolCall(call)]
    assert it.take(Event(chunk({}, finish_reason="tool_calls"))) == [Finish("tool_calls")]
    usage = {"prompt_tokens": 3}
    assert it.take(Event(json.dumps({"choices": [], "usage": usage}))) == [Usage(usage)]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"text": "hm"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
    ],
)
def test_reasoning_is_found_under_each_of_its_names_and_once(delta: dict[str, Any]) -> None:
    it = reads(chunk(delta), "[DONE]")
    assert (it.reasoning, it.text) == ("hm", "")


@pytest.mark.parametrize(
    "odd",
    [
        '{"choices":[]}',
        '{"choices":null}',
        "{}",
        '{"choices":[{"index":0,"delta":null}]}',
        '{"choices":[{"index":0}]}',
        '{"choices":[{"index":0,"delta":{"content":null,"tool_calls":null}}]}',
        '{"choices":[null]}',
        '{"choices":[{"delta":{"content":"","obfuscation":"abcdef"}}],"usage":null}',
        '{"prompt_filter_results":[],"choices":[]}',
        '{"error":null,"choices":[]}',
        "",
        "  ",
        "null",
    ],
)
def test_an_odd_chunk_adds_nothing_and_breaks_nothing(odd: str) -> None:
    assert reads(WHOLE[1], odd, WHOLE[2], "[DONE]").text == "Hello"


def test_a_choice_without_an_index_is_the_first() -> None:
    assert reads('{"choices":[{"delta":{"content":"x"}}]}', "[DONE]").text == "x"


def test_the_text_of_the_old_completions_route_is_text() -> None:
    assert reads('{"choices":[{"index":0,"text":"x"}]}', "[DONE]").text == "x"


def test_mistrals_typed_parts_are_text() -> None:
    assert reads(chunk({"content": [{"type": "text", "text": "x"}]}), "[DONE]").text == "x"


def test_named_events_that_hold_no_json_are_passed_over() -> None:
    it = Transcript()
    it.take(Event("", type="ping"))
    it.take(Event("still here", type="heartbeat"))
    it.take(Event(chunk({}, finish_reason="stop")))
    it.take(Event("[DONE]"))
    it.end()
    assert it.state is State.COMPLETED


def calls(*parts: dict[str, Any]) -> str:
    return chunk({"tool_calls": list(parts)})


def test_tool_calls_are_merged_by_their_index() -> None:
    it = reads(
        calls({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
        calls({"index": 0, "function": {"arguments": '{"x"'}}),
        calls({"index": 1, "id": "b", "type": "function", "function": {"name": "g"}}),
        calls({"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "function": {"arguments": "{}"}}),
        chunk({}, finish_reason="tool_calls"),
    )
    assert it.tool_calls == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_tool_calls_without_an_index_come_whole_or_go_on() -> None:
    it = reads(
        chunk({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}),
        chunk({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"function": {"arguments": "}"}}]}),
        "[DONE]",
    )
    assert [(call["id"], call["function"]["arguments"]) for call in it.tool_calls] == [("a", "{}"), ("b", "{}")]


def test_a_refusal_is_kept() -> None:
    assert reads(chunk({"refusal": "I "}), chunk({"refusal": "won't"}), "[DONE]").refusal == "I won't"


def test_the_last_usage_stands_and_the_first_model() -> None:
    it = reads(*WHOLE, '{"model":"m","usage":{"n":1}}', '{"model":"other","usage":{"n":2}}', "[DONE]")
    assert (it.usage, it.model) == ({"n": 2}, "m")


@pytest.mark.parametrize(
    ("data", "message", "code", "kind"),
    [
        ('{"error":{"message":"boom","code":"c","type":"t"}}', "boom", "c", "t"),
        ('{"error":{"message":"boom","code":502}}', "boom", "502", None),
        ('{"error":"boom"}', "boom", None, None),
        ('{"object":"error","message":"boom","code":40001,"type":"InvalidRequest"}', "boom", "40001", "InvalidRequest"),
        ('{"error":{"message":"boom"},"choices":[{"finish_reason":"error"}]}', "boom", None, None),
        (chunk({}, finish_reason="error"), "the reason 'error'", "error", None),
        (chunk({}, finish_reason="error", error={"message": "boom"}), "boom", None, None),
        ('{"error":{"odd":1}}', '{"odd":1}', None, None),
    ],
)
def test_an_error_in_the_stream_is_raised_with_the_text_before_it(data, message, code, kind) -> None:
    it = reads(*WHOLE, end=False)
    with pytest.raises(AnswerFailed, match=message) as caught:
        it.take(Event(data))
    assert (caught.value.text, caught.value.code, caught.value.type) == ("Hello", code, kind)
    assert it.state is State.FAILED


@pytest.mark.parametrize("data", ['{"type":"error","error":{"message":"boom"}}', '{"message":"boom"}', "boom"])
def test_an_event_named_error_is_an_error_whatever_it_holds(data: str) -> None:
    with pytest.raises(AnswerFailed, match="boom"):
        Transcript().take(Event(data, type="error"))


@pytest.mark.parametrize("state", ["failed", "incomplete", "lost"])
def test_a_tickertape_error_says_which_end_it_was(state: str) -> None:
    it = Transcript()
    error = {"error": {"message": "gone", "code": state}, "tickertape": {"state": state}}
    with pytest.raises(AnswerFailed) as caught:
        it.take(Event(json.dumps(error)))
    assert caught.value.code == state
    assert it.state == state


def test_an_error_counts_before_and_after_done() -> None:
    error = '{"error":{"message":"boom"}}'
    for events in ((error, "[DONE]"), ("[DONE]", error), (chunk({}, finish_reason="stop"), "[DONE]", error)):
        with pytest.raises(AnswerFailed, match="boom") as caught:
            reads(*WHOLE, *events)
        assert caught.value.text == "Hello"


def test_an_error_counts_after_a_done_that_came_before_any_answer() -> None:
    with pytest.raises(AnswerFailed, match="overloaded"):
        reads("[DONE]", '{"error":"overloaded"}')


def test_text_after_done_revokes_it() -> None:
    """As for providers: the end was said too early, so the answer goes on and needs another one."""
    it = reads(WHOLE[1], "[DONE]", WHOLE[2], end=False)
    assert not it.done
    with pytest.raises(IncompleteStream, match="broke off"):
        it.end()
    assert reads(WHOLE[1], "[DONE]", WHOLE[2], "[DONE]").text == "Hello"


@pytest.mark.parametrize("data", ["plain text", "[1]", '"x"', "{"])
def test_an_event_that_is_no_json_object_is_an_error(data: str) -> None:
    with pytest.raises(AnswerFailed, match="not a JSON object"):
        reads(*WHOLE, data)


def test_an_event_that_is_nested_beyond_measure_is_an_error() -> None:
    with pytest.raises(AnswerFailed, match="not a JSON object"):
        reads("[" * 100_000)


def test_the_events_are_kept_as_they_came() -> None:
    assert [event.data for event in reads(*WHOLE, "[DONE]").events] == [*WHOLE, "[DONE]"]


# A replay after a cut.


def stream(name: str = "s") -> list[Event]:
    return [Event(data, id=f"{name}.{n}") for n, data in enumerate([*WHOLE, "[DONE]"], 1)]


@pytest.mark.parametrize("seen", range(5))
@pytest.mark.parametrize("again_from", range(1, 6))
def test_what_a_replay_repeats_is_passed_over(seen: int, again_from: int) -> None:
    """Resumed exactly, or replayed from further back as after a cursor that the server does not know any more."""
    if again_from > seen + 1:
        return
    it = Transcript()
    for event in stream()[:seen]:
        it.take(event)
    it.reconnected(f"s.{seen}" if seen else "")
    for event in stream()[again_from - 1 if seen else 0 :]:
        it.take(event)
    assert it.text == "Hello"
    assert [event.id for event in it.events] == ["s.1", "s.2", "s.3", "s.4"]


def test_a_stream_without_ids_starts_over_and_what_was_taken_is_passed_over() -> None:
    it = Transcript()
    for data in WHOLE[:2]:
        it.take(Event(data))
    it.reconnected("")
    for data in [*WHOLE, "[DONE]"]:
        it.take(Event(data))
    assert it.text == "Hello"


def test_ids_that_do_not_count_are_left_alone() -> None:
    it = Transcript()
    it.take(Event(WHOLE[1], id="abc"))
    it.reconnected("abc")
    it.take(Event(WHOLE[2], id="abc"))
    assert it.text == "Hello"


KEYS = (
    "choices delta content index tool_calls function error usage tickertape state finish_reason arguments name id "
    "text reasoning reasoning_content model refusal type message thinking"
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(json_values, max_size=5))
def test_whatever_json_comes_the_answer_is_whole_or_one_of_our_errors(values: list[Any]) -> None:
    it = Transcript()
    try:
        for value in values:
            it.take(Event(json.dumps(value)))
        it.end()
    except (AnswerFailed, IncompleteStream):
        assert it.state is not State.COMPLETED
    assert isinstance(it.text, str)
    assert it.state is not State.RUNNING
