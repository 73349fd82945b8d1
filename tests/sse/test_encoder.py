"""What is encoded decodes to the same event, or is refused."""

from __future__ import annotations

from enum import Enum

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sse.cases import pieces
from sse.reference import read
from tickertape.sse import Decoder, Event, encode, encode_comment

text = st.text(
    st.one_of(st.sampled_from("\n\r\0 :\ufeff\x85\u2028\x0b\x0c\ud800😀ad"), st.characters(codec=None)), max_size=12
)
retries = st.one_of(st.none(), st.integers(-1, 2**53), st.booleans())


@pytest.mark.parametrize(
    ("event", "frame"),
    [
        (Event("x"), b"data: x\n\n"),
        (Event(""), b"data: \n\n"),
        (Event("a\nb\n"), b"data: a\ndata: b\ndata: \n\n"),
        (Event(" x"), b"data:  x\n\n"),
        (Event("x", "delta"), b"event: delta\ndata: x\n\n"),
        (Event("x", "message"), b"data: x\n\n"),
        (Event("x", id="ab.1"), b"id: ab.1\ndata: x\n\n"),
        (Event("x", retry=0), b"retry: 0\ndata: x\n\n"),
        (Event("é", "t", "i", 2**53 - 1), b"id: i\nevent: t\nretry: 9007199254740991\ndata: \xc3\xa9\n\n"),
    ],
)
def test_an_event_is_written_with_one_space_after_each_colon_and_its_data_last(event: Event, frame: bytes):
    assert encode(event) == frame


@pytest.mark.parametrize(
    "event",
    [
        Event("a\rb"),
        Event("a\r\nb"),
        Event("x", id="1\n2"),
        Event("x", id="1\r"),
        Event("x", id="\0"),
        Event("x", ""),
        Event("x", "a\nb"),
        Event("x", "a\r"),
        Event("x", retry=-1),
        Event("x", retry=2**53),
        Event("x", retry=True),
        Event("x", retry=1.5),  # type: ignore[arg-type]
        Event("\ud800"),
        Event("x", "\udfff"),
        Event("x", id="\ud800"),
    ],
    ids=repr,
)
def test_what_a_reader_could_not_get_back_is_refused(event: Event):
    with pytest.raises(ValueError):  # noqa: PT011 - the sentences differ; that one is raised is the point
        encode(event)


@pytest.mark.parametrize("field", ["data", "type", "id"])
@pytest.mark.parametrize("value", [None, 5, b"x", {"a": 1}, ["x"]], ids=repr)
def test_what_is_no_str_is_refused_and_not_formatted(field: str, value: object):
    event = msgspec.structs.replace(Event("x"), **{field: value})
    with pytest.raises(TypeError, match="must be str"):
        encode(event)


def test_a_refusal_says_which_value_it_read_and_what_is_allowed():
    with pytest.raises(ValueError, match=r"An event id cannot hold CR, LF or NUL; it was '1\\n2'\."):
        encode(Event("x", id="1\n2"))


def test_a_str_enum_is_written_as_its_value():
    class Kind(str, Enum):  # noqa: UP042 - what older code has; unlike a StrEnum it formats as Kind.DELTA
        DELTA = "delta"

    assert encode(Event(Kind.DELTA, Kind.DELTA, Kind.DELTA)) == b"id: delta\nevent: delta\ndata: delta\n\n"


@settings(max_examples=400, deadline=None)
@given(st.builds(Event, text, st.one_of(st.just("message"), text), st.one_of(st.just(""), text), retries))
@example(Event("\ufeff", "\ufeff", "\ufeff"))
def test_what_is_encoded_decodes_to_an_equal_event_or_is_refused(event: Event):
    try:
        frame = encode(event)
    except ValueError:
        return
    assert Decoder().feed(frame) == read(frame).events == [event]
    decoder = Decoder()
    assert [seen for byte in pieces(frame, 1) for seen in decoder.feed(byte)] == [event]


clean = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.lists(st.builds(Event, clean, clean, clean), max_size=5), clean)
def test_a_heartbeat_between_any_two_frames_changes_nothing(events: list[Event], ping: str):
    seen: list[str] = []
    decoder = Decoder(on_comment=seen.append)
    beat = encode_comment(ping)
    assert decoder.feed(beat + beat.join(encode(event) for event in events)) == events
    assert seen == [" " + ping] * max(1, len(events))


def test_a_comment_is_one_line_without_a_blank_one_after_it():
    assert encode_comment("ping") == b": ping\n"
    assert encode_comment() == b":\n"


@pytest.mark.parametrize("note", ["a\nb", "a\r", "\n\ndata: forged\n\n", "\ud800"])
def test_a_comment_that_would_not_stay_one_is_refused(note: str):
    with pytest.raises(ValueError):  # noqa: PT011 - a UnicodeEncodeError for the surrogate
        encode_comment(note)
