"""What a body is, told by its first bytes: the same for every dialect, label and cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.deltas import Finish, Text
from tickertape.errors import EventTooLarge
from tickertape.providers.base import ChatRequest
from tickertape.providers.dialects import DIALECTS, dialect
from tickertape.providers.framing import JsonBody, Kind, Opening
from tickertape.testing.actions import Body, Token
from tickertape.testing.answer import WORDS, ScriptedAnswer
from tickertape.testing.dialects import DIALECTS as UPSTREAM_DIALECTS

from .asked import USER, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.providers.answer_reader import AnswerReader

ASK = ChatRequest(model="m", messages=[USER])
TEXT = "".join(WORDS)


def reader_of(name: str, limit: int = 1 << 20) -> AnswerReader:
    return dialect(name)("http://up.example", "k", max_event_size=limit).reader(ASK)


def messages_of(name: str) -> list[bytes]:
    """Return a healthy answer's messages, framed as the dialect does."""
    return [
        step.data for step in ScriptedAnswer(UPSTREAM_DIALECTS[name], "m").healthy if isinstance(step, Body | Token)
    ]


def json_of(name: str) -> list[str]:
    """Return the JSON of a healthy answer's messages, without what is no JSON."""
    lines = [line.removeprefix(b"data: ") for message in messages_of(name) for line in message.splitlines()]
    return [line.decode() for line in lines if line.startswith(b"{")]


def whole_of(name: str) -> dict[str, Any]:
    return UPSTREAM_DIALECTS[name].whole("m", TEXT)


def text_of(name: str, *pieces: bytes) -> str:
    """Return the text of an answer that has to be whole."""
    deltas, error = read(reader_of(name), *pieces)
    assert error is None
    assert any(isinstance(delta, Finish) for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


BODIES: dict[str, Callable[[str], bytes]] = {
    "events": lambda name: b"".join(b"data: %b\n\n" % text.encode() for text in json_of(name)),
    "events with a type": lambda name: b"".join(b"event: message\ndata: %b\n\n" % t.encode() for t in json_of(name)),
    "lines of JSON": lambda name: "".join(f"{text}\n" for text in json_of(name)).encode(),
    "lines of JSON with CRLF and gaps": lambda name: "".join(f"{text}\r\n\r\n" for text in json_of(name)).encode(),
    "one document": lambda name: json.dumps(whole_of(name)).encode(),
    "one document and a line end": lambda name: json.dumps(whole_of(name)).encode() + b"\r\n",
    "one pretty document": lambda name: json.dumps(whole_of(name), indent=2).encode(),
    "an array of messages": lambda name: json.dumps([json.loads(text) for text in json_of(name)], indent=1).encode(),
}
BEFORE = (b"", b"\xef\xbb\xbf", b"\n\r\n \n", b": PROCESSING\n\n: PROCESSING\r\n\r\n", b"\xef\xbb\xbf\n:a\r: b\n")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_every_framing_is_read_in_every_dialect(name: str, body: Callable[[str], bytes]) -> None:
    """The first bytes say how a body is framed; keep-alives in front of them say nothing."""
    for before in BEFORE:
        assert text_of(name, before + body(name)) == TEXT


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_a_body_is_the_same_however_it_is_cut(body: Callable[[str], bytes], cuts: list[int]) -> None:
    """A byte order mark, a comment or a first line may come in any number of pieces."""
    whole = BEFORE[-1] + body("ollama")
    edges = sorted({0, *cuts, len(whole)})
    assert text_of("ollama", *(whole[a:b] for a, b in pairwise(edges))) == TEXT


@pytest.mark.parametrize("name", DIALECTS)
def test_lines_of_json_come_one_by_one(name: str) -> None:
    """Nothing waits for the end of a body of lines: each is handed out when it has come."""
    reader, deltas = reader_of(name), []
    lines = BODIES["lines of JSON"](name).splitlines(keepends=True)
    for line in lines[:-1]:
        deltas += reader.feed(line)
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == TEXT


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_document_that_is_cut_anywhere_is_no_answer_and_no_error(name: str, indent: int | None) -> None:
    """What ends in the middle is incomplete, not malformed: no word of the upstream's is made up."""
    whole = json.dumps(whole_of(name), indent=indent).encode()
    for length in range(1, len(whole) - 1):
        assert read(reader_of(name), whole[:length]) == ([], None), whole[:length]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b"\n<!DOCTYPE html>\n", b'<?xml version="1.0"?><Error/>'])
def test_a_web_page_is_an_error_at_once(name: str, page: bytes) -> None:
    """There is nothing to wait for in a page."""
    reader = reader_of(name)
    assert reader.feed(page) == []
    assert reader.error is not None
    assert "a web page" in reader.error.message


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("words", ["upstream connect error or disconnect/reset before headers", '"No capacity."'])
def test_plain_text_in_place_of_an_answer_is_told(name: str, words: str) -> None:
    """A gateway's plain words are an error with those words, not an answer that just ends."""
    deltas, error = read(reader_of(name), words.encode())
    assert deltas == []
    assert error is not None
    assert words.strip('"') in error.message


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", b": wait\n\n"])
def test_an_error_in_json_where_events_were_due_is_told(name: str, indent: int | None, before: bytes) -> None:
    """It is found in one piece, over several lines, after comments, and in an array."""
    error_object = UPSTREAM_DIALECTS[name].error(503, "Overloaded.")
    for value in (error_object, [error_object]):
        deltas, error = read(reader_of(name), before + json.dumps(value, indent=indent).encode())
        assert deltas == []
        assert error is not None
        assert "Overloaded." in error.message


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("body", ["{'single': 1}", '{"a": 1} and more', "[1, 2]", "[]", '["a"]'])
def test_json_that_is_none_or_no_object_is_an_error(name: str, body: str) -> None:
    """Nothing is guessed into an answer."""
    for end in ("", "\n"):
        deltas, error = read(reader_of(name), (body + end).encode())
        assert deltas == []
        assert error is not None


@pytest.mark.parametrize(
    "filler",
    [
        *(b"data:\n\n", b"data: \n\n", b"data: null\n\n", b"data: [PING]\n\n", b"data: keep-alive\n\n"),
        *(b"data: ping\n\n", b"event: ping\ndata: 1732821000\n\n", b"event: heartbeat\ndata: still here\n\n"),
        *(b"data: : ping\n\n", b"data: Heartbeat\n\n"),
    ],
)
@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_a_message_that_says_nothing_changes_nothing(name: str, filler: bytes) -> None:
    """Keep-alives of every kind may come before, between and after the messages."""
    assert text_of(name, filler, *(part for message in messages_of(name) for part in (message, filler))) == TEXT


@pytest.mark.parametrize("marker", [b"data: [DONE]\n\n", b"data:  [DONE] \n\n", b'data: "[DONE]"\n\n'])
@pytest.mark.parametrize("name", DIALECTS)
def test_the_end_marker_of_openai_is_no_failure_in_any_dialect(name: str, marker: bytes) -> None:
    """Gateways append it to everything. Only in OpenAI's dialect does it say that the answer is whole."""
    events = BODIES["events"](name)
    assert text_of(name, events + marker) == TEXT
    first = UPSTREAM_DIALECTS[name].text("m", "Half")
    if name == "ollama":
        first = b"data: %b\n" % first
    deltas, error = read(reader_of(name), first + marker)
    assert error is None
    assert any(isinstance(delta, Finish) for delta in deltas) == (name == "openai")


@pytest.mark.parametrize("pieces", [1, 1000])
def test_a_comment_without_end_takes_no_memory(pieces: int) -> None:
    """What nobody reads is not kept."""
    opening = Opening()
    for _ in range(pieces):
        assert opening.feed(b":" + b"x" * 10_000) is None
    assert len(opening._held) == 1
    assert opening.feed(b"\n{") == (Kind.JSON, b"{")


@pytest.mark.parametrize("body", [b'{"a": "' + b"x" * 2000, b"{\n" + b'"x": 1,\n' * 500, b"{}\n" + b"[" * 2000])
def test_json_beyond_the_limit_is_refused(body: bytes) -> None:
    """A document and a line are bounded like an event."""
    whole = JsonBody(1000)
    with pytest.raises(EventTooLarge):
        whole.feed(body)
    bit_by_bit = JsonBody(1000)
    with pytest.raises(EventTooLarge):
        [bit_by_bit.feed(body[n : n + 1]) for n in range(len(body))]
