"""The vocabulary: every delta has an entry, and every entry its delta."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.deltas import (
    Annotation,
    Audio,
    Begins,
    ChunkFields,
    Citation,
    Continues,
    Delta,
    DeltaFields,
    End,
    Finish,
    Frame,
    FunctionCall,
    Image,
    Opens,
    Reasoning,
    ReasoningDetail,
    Refusal,
    ScoredText,
    ServerTool,
    State,
    Stopped,
    Text,
    ToolCall,
    Typed,
    Usage,
    decode_delta,
    encode_delta,
)
from tickertape.errors import EngineUnavailable
from tickertape.transcript import Transcript

unicode = st.text(st.characters(exclude_categories=["Cs"]))
surrogates = st.text(st.sampled_from("a\n\ud83d\ude00😀"), min_size=1)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | unicode,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(unicode, values, max_size=4)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
OBJECTS: tuple[Any, ...] = (
    *(ReasoningDetail, ToolCall, FunctionCall, Annotation, Citation, Image, Audio, ServerTool),
    *(DeltaFields, ChunkFields, Opens),
)
deltas = st.one_of(
    unicode.map(Text),
    unicode.map(Reasoning),
    unicode.map(Begins),
    unicode.map(Continues),
    unicode.map(Refusal),
    st.builds(ScoredText, unicode, objects),
    *(objects.map(kind) for kind in OBJECTS),
    st.builds(Typed, words, values),
    st.builds(Frame, words, unicode),
    unicode.map(Finish),
    st.just(Stopped()),
    objects.map(Usage),
    st.builds(
        End,
        state=st.sampled_from(State),
        finish_reason=st.none() | unicode,
        usage=st.none() | objects,
        error=st.none() | objects,
        status=st.integers(200, 599),
        retry_after=st.none() | st.floats(0, 1e6),
    ),
)


@given(deltas)
def test_an_entry_decodes_to_the_delta_it_was_made_from(delta: Delta | End) -> None:
    again = decode_delta(encode_delta(delta))
    assert type(again) is type(delta)
    assert again == delta


@given(deltas)
def test_an_entry_is_one_line_with_a_tag_and_json(delta: Delta | End) -> None:
    entry = encode_delta(delta)
    assert not {b"\n"[0], b"\r"[0]} & set(entry)
    tag, rest = entry[:1], entry[1:]
    assert tag in b"bocltrpkjnagivwdqfuexs."
    json.loads(rest.partition(b" ")[2] if tag in b"ex" else rest)


@given(deltas, deltas)
def test_different_deltas_have_different_entries(one: Delta | End, other: Delta | End) -> None:
    assert (encode_delta(one) == encode_delta(other)) == (type(one) is type(other) and one == other)


@given(surrogates, st.sampled_from([Text, Reasoning, Finish]))
def test_lone_surrogates_become_replacement_characters(text: str, kind: type) -> None:
    (again,) = vars_of(decode_delta(encode_delta(kind(text))))
    assert again == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("kind", [ToolCall, DeltaFields, Usage])
def test_lone_surrogates_inside_objects_become_replacement_characters(kind: type) -> None:
    delta = kind({"tool_calls": [{"function": {"arguments": "a\ud83d"}}], "\ude00": None})
    (again,) = vars_of(decode_delta(encode_delta(delta)))
    assert again == {"tool_calls": [{"function": {"arguments": "a\ufffd"}}], "\ufffd": None}


def test_an_end_with_lone_surrogates_can_be_told() -> None:
    end = End(State.FAILED, error={"message": "half \ud83d"}, status=502)
    again = decode_delta(encode_delta(end))
    assert isinstance(again, End)
    assert again.error == {"message": "half \ufffd"}


def test_two_halves_of_a_pair_become_the_character() -> None:
    assert decode_delta(encode_delta(Text("\ud83d\ude00"))) == Text("😀")


def test_line_ends_of_all_kinds_survive() -> None:
    text = "a\nb\rc\r\nd\u2028e\u2029f\x85g\x0bh\x0ci\0"
    assert decode_delta(encode_delta(Text(text))) == Text(text)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"t",
        b"x1",
        b"xping 1",
        b"eping",
        b'l["a"]',
        b"tHel",
        b't"\xff"',
        b"t12",
        b"tnull",
        b"d[]",
        b'd"a"',
        b"u7",
        b"f{}",
        b".{}",
        b'.{"state":"happy"}',
        b".[]",
        b'.{"state":"failed","error":7}',
        b'.{"state":"\xff"}',
        b"#1 1",
    ],
)
def test_bytes_that_are_no_entry_are_told_as_damage(entry: bytes) -> None:
    with pytest.raises(EngineUnavailable, match="damaged or newer"):
        decode_delta(entry)


@given(st.binary(max_size=30) | st.binary(max_size=30).map(b"t".__add__) | st.binary(max_size=30).map(b".".__add__))
def test_any_bytes_decode_or_are_told_as_damage(entry: bytes) -> None:
    with suppress(EngineUnavailable):
        decode_delta(entry)


def vars_of(delta: Delta | End) -> list[object]:
    return [getattr(delta, field) for field in delta.__struct_fields__]


def test_an_early_log_is_still_read_whole() -> None:
    """Before there was a word for each, tool calls, refusals and signed thinking were kept as OpenAI's delta."""
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    entries = [
        b'd{"role":"assistant","content":""}',
        b't"Hel"',
        b'd{"refusal":"No"}',
        b'd{"refusal":"."}',
        b"d" + json.dumps({"tool_calls": [call]}).encode(),
        b'd{"reasoning_details":[{"type":"reasoning.text","text":"Hm.","signature":"S"}]}',
    ]
    answer = Transcript()
    for entry in entries:
        delta = decode_delta(entry)
        assert not isinstance(delta, End)
        answer.add(delta)
    assert (answer.text, answer.refusal, answer.tool_calls) == ("Hel", "No.", [call])
    assert answer.reasoning_details == [{"type": "reasoning.text", "text": "Hm.", "signature": "S"}]
    assert answer.fields == {}
