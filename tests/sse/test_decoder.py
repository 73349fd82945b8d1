"""Whatever bytes come, and however they were cut, the decoder reads what the standard says, within its memory."""

from __future__ import annotations

import ast
import base64
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sse.cases import OURS, SHARED, Case, cases, load, pieces
from sse.reference import Outcome, read
from tickertape.errors import EventTooLarge
from tickertape.sse import Decoder, Event, encode


def decode(chunks: list[bytes], limit: int = 2**24, last_event_id: str = "") -> Outcome:
    """Return what a decoder makes of these reads."""
    outcome = Outcome()
    decoder = Decoder(limit, outcome.comments.append, last_event_id=last_event_id)
    try:
        for chunk in chunks:
            outcome.events += decoder.feed(chunk)
        decoder.close()
    except EventTooLarge:
        outcome.too_large = True
    outcome.retry, outcome.last_event_id = decoder.retry, decoder.last_event_id
    return outcome


class TestCasesInFiles:
    """The standard's own tests, other projects' and ours, each whole, as given and in small pieces."""

    @pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=f"{path.stem}: {case.name}")
            for path in (OURS, SHARED / "wpt_format.json", SHARED / "chunk_cases.json")
            for case in cases(path)
        ],
    )
    def test_every_case_is_read_as_expected(self, case: Case):
        for chunks in case.ways():
            outcome = decode(chunks)
            seen = [Event(event.data, event.type, event.id) for event in outcome.events]  # the files have no retry here
            assert seen == case.expected
            assert (outcome.retry, outcome.last_event_id) == (case.retry, case.last_event_id)
            assert case.comments is None or outcome.comments == case.comments

    @pytest.mark.parametrize("case", cases(OURS), ids=lambda case: case.name)
    def test_the_reference_reads_our_cases_as_expected(self, case: Case):
        assert_is_as_the_reference_says(case.chunks)

    def test_our_file_shows_the_bytes_that_it_holds(self):
        for it in load(OURS):
            shown = [ast.literal_eval(text) for text in it["chunks_repr"]]
            assert [base64.b64decode(chunk) for chunk in it["chunks_b64"]] == shown, it["name"]

    def test_our_cases_have_names_of_their_own(self):
        names = [it["name"] for it in load(OURS)]
        assert len(names) == len(set(names)) >= 150

    @pytest.mark.parametrize(("name", "count", "elsewhere"), [("wpt_format", 31, 2), ("chunk_cases", 90, 0)])
    def test_all_cases_of_other_projects_are_read(self, name: str, count: int, elsewhere: int):
        path = SHARED / f"{name}.json"
        if not path.exists():
            pytest.skip(f"{path} is not there: other projects' cases lie beside the checkout")
        assert len(load(path)) == count
        refused = [it for it in load(path) if it.get("http_expect") == "fail"]
        assert len(refused) == elsewhere
        assert all(not it["content_type"].startswith("text/event-stream") for it in refused)


def assert_is_as_the_reference_says(chunks: list[bytes], last_event_id: str = "") -> None:
    assert decode(chunks, last_event_id=last_event_id) == read(b"".join(chunks), last_event_id)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """Return the body cut at these places, counted round and round."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


LINE_ENDS = [b"\n", b"\r", b"\r\n"]
ODD = [
    b"\0",
    b"\xef\xbb\xbf",
    b"\xef",
    b"\xbb",
    b"\xbf",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xc2\x85",
    b"\x0b",
    b"\x0c",
]
ODD += [b"\x1c", b"\xff", b"\xf0\x9f", b"\x98\x80", b"\xc0\x8a", b"\xed\xa0\x80", "é😀".encode(), b"\xd9\xa3"]
NAMES = [b"data", b"event", b"id", b"retry", b"data:", b"data: ", b"event: ", b"id: ", b"retry: ", b": ", b":"]
PLAIN = [b" ", b"x", b"1", b"0", b"_", b"Data", b"{}"]
soup = st.lists(st.sampled_from(LINE_ENDS * 4 + NAMES * 2 + ODD + PLAIN), max_size=40).map(b"".join)
"""Bytes in which every rule and every trap is near."""

value = st.lists(st.sampled_from([*ODD, *PLAIN, b":", b"data: ", b"id: "]), max_size=3).map(b"".join)
line = st.builds(bytes.__add__, st.sampled_from([*NAMES, b"", b"\xef\xbb\xbfdata: "]), value)
block = st.builds(
    lambda before, lines, end, after: before + end.join([*lines, b"", b""]) + after,
    st.sampled_from([b"", b"", b"", b"", b"\n"]),
    st.lists(st.one_of(st.builds(b"data: ".__add__, value), line), max_size=3),
    st.sampled_from([*LINE_ENDS, b"\n", b"\n", b"\n"]),
    st.sampled_from([b"", b"", b"", b"", b"\n", b"data: ", b"id: 1\n", b"event: e\n"]),
)
"""What a server would send in one write, or nearly: where the decoder takes its shortcut, or must not."""

places = st.lists(st.integers(0, 400), max_size=8)


class TestAnyBytes:
    """Properties that hold for every input and every cut."""

    @settings(max_examples=400, deadline=None)
    @given(soup, places)
    @example(b"data: a\r\n\r\ndata: b\r\r\n", [8, 9, 10])
    @example(b"\xef\xbb\xbfdata: \xf0\x9f\x98\x80\n\n", [1, 2, 10, 11, 12])
    def test_cut_anywhere_is_the_same_as_the_standard_says_of_the_whole(self, body: bytes, places: list[int]):
        assert_is_as_the_reference_says(cut(body, places))

    @settings(max_examples=400, deadline=None)
    @given(st.lists(block, max_size=8))
    def test_one_block_a_read_is_the_same_as_the_standard_says_of_the_whole(self, blocks: list[bytes]):
        assert_is_as_the_reference_says([b"", *blocks])
        assert_is_as_the_reference_says([b"\n", *blocks])  # past the BOM: the shortcut is open from the first on

    @settings(max_examples=100, deadline=None)
    @given(soup)
    def test_byte_by_byte_is_the_same_as_the_whole(self, body: bytes):
        assert decode(pieces(body, 1)) == decode([body])

    @settings(deadline=None)
    @given(st.binary(max_size=200), places, st.sampled_from(["", "é", "7"]))
    def test_arbitrary_bytes_are_never_an_error(self, body: bytes, places: list[int], last_event_id: str):
        assert_is_as_the_reference_says(cut(body, places), last_event_id)

    @settings(max_examples=400, deadline=None)
    @given(st.lists(block, max_size=6), places, st.integers(1, 40))
    def test_what_the_limit_does_is_independent_of_the_cuts(self, blocks: list[bytes], places: list[int], limit: int):
        body = b"".join(blocks)
        outcome = decode([body], limit)
        assert outcome == decode(cut(body, places), limit) == decode(blocks, limit) == decode(pieces(body, 1), limit)
        if not outcome.too_large:
            assert outcome == decode([body])

    @settings(max_examples=200, deadline=None)
    @given(soup, places, st.integers(1, 40))
    def test_the_decoder_never_holds_more_than_its_limit(self, body: bytes, places: list[int], limit: int):
        decoder = Decoder(limit)
        try:
            for chunk in cut(body, places):
                decoder.feed(chunk)
                assert len(decoder._line) + len(decoder._data) <= limit
        except EventTooLarge:
            assert len(decoder._line) + len(decoder._data) == 0
        assert max(len(decoder._type), len(decoder._id_buffer)) <= limit


class TestFields:
    """The rules that a case in a file cannot show: what an event carries besides its data, type and id."""

    def test_retry_goes_with_the_event_of_its_block_and_stands_in_the_decoder(self):
        decoder = Decoder()
        events = decoder.feed(b"retry: 1000\nid: 1\ndata: a\n\ndata: b\n\nretry: 5\n\ndata: c\n\n")
        assert events == [Event("a", id="1", retry=1000), Event("b", id="1"), Event("c", id="1")]
        assert decoder.retry == 5

    def test_retry_takes_effect_at_its_line_end(self):
        decoder = Decoder()
        decoder.feed(b"retry: 25")
        assert decoder.retry is None
        decoder.feed(b"0\r")
        assert decoder.retry == 250

    @pytest.mark.parametrize("digits", [b"9" * 20, b"9" * 5000, b"1" + b"0" * 16, b"9007199254740992"])
    def test_a_reconnection_time_beyond_every_clock_is_the_largest_exact_one(self, digits: bytes):
        decoder = Decoder()
        assert decoder.feed(b"retry: " + digits + b"\ndata: x\n\n") == [Event("x", retry=2**53 - 1)]
        assert decoder.retry == 2**53 - 1

    def test_the_last_event_id_is_committed_at_the_blank_line(self):
        decoder = Decoder()
        decoder.feed(b"id: 1\ndata: a\n")
        assert decoder.last_event_id == ""
        decoder.feed(b"\n")
        assert decoder.last_event_id == "1"

    def test_a_seeded_id_stands_until_the_stream_sends_one(self):
        decoder = Decoder(last_event_id="old")
        assert decoder.feed(b"data: a\n\nid: new\ndata: b\n\n") == [Event("a", id="old"), Event("b", id="new")]
        assert decoder.last_event_id == "new"

    def test_closing_drops_an_unfinished_block_with_its_id(self):
        decoder = Decoder(last_event_id="old")
        assert decoder.feed(b"id: new\nevent: x\ndata: a\ndata: b") == []
        decoder.close()
        assert decoder.last_event_id == "old"
        assert decoder.feed(b"\ndata: c\n\n") == [Event("c", id="old")]

    def test_comments_arrive_whole_and_before_feed_returns(self):
        seen: list[str] = []
        decoder = Decoder(on_comment=seen.append)
        decoder.feed(b": OPENROUTER PROC")
        assert seen == []
        decoder.feed(b"ESSING\n:\n")
        assert seen == [" OPENROUTER PROCESSING", ""]

    def test_the_bytes_of_a_reused_buffer_are_not_kept(self):
        decoder, buffer = Decoder(), bytearray(b"data: one")
        decoder.feed(b"\n")
        decoder.feed(buffer)
        buffer[:] = b"XXXXXXXXX"
        assert decoder.feed(b"\n\n") == [Event("one")]
        assert buffer == b"XXXXXXXXX"


class TestLimit:
    """An event beyond the limit ends in EventTooLarge, after the events before it."""

    @pytest.mark.parametrize("size", [1, 1000])
    @pytest.mark.parametrize(
        ("fits", "grows"),
        [
            (b"data: " + b"x" * 94 + b"\n\n", b"data: " + b"x" * 95 + b"\n\n"),
            (b"data: " + b"x" * 44 + b"\ndata:" + b"y" * 50 + b"\n\n", b"data: " + b"x" * 45 + b"\ndata:" + b"y" * 50),
            (b": " + b"x" * 98 + b"\n", b": " + b"x" * 99),
            (b"data:" + b"\ndata" * 96 + b"\n\n", b"data:" + b"\ndata" * 97),
        ],
        ids=["one line", "two data lines", "a comment", "empty data lines"],
    )
    def test_a_hundred_bytes_fit_where_the_limit_is_a_hundred_and_one_more_does_not(
        self, fits: bytes, grows: bytes, size: int
    ):
        assert not decode(pieces(fits * 3, size), 100).too_large
        assert decode(pieces(grows, size), 100).too_large

    def test_the_events_before_the_giant_are_returned_first(self):
        decoder = Decoder(20)
        assert decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: " + b"x" * 100) == [
            Event("a", id="1"),
            Event("b", id="2"),
        ]
        with pytest.raises(EventTooLarge, match="more than 20 bytes"):
            decoder.feed(b"")
        assert decoder.last_event_id == "2"

    def test_a_giant_alone_is_told_at_once_and_for_ever(self):
        decoder = Decoder(20)
        for call in (
            lambda: decoder.feed(b":" * 21),
            lambda: decoder.feed(b"\n\ndata: x\n\n"),
            decoder.close,
            decoder.close,
        ):
            with pytest.raises(EventTooLarge) as told:
                call()
            assert told.value.limit == 20

    def test_an_error_that_is_owed_comes_with_close(self):
        decoder = Decoder(20)
        assert decoder.feed(b"data: a\n\n" + b"x" * 21) == [Event("a")]
        with pytest.raises(EventTooLarge):
            decoder.close()

    def test_a_read_larger_than_the_limit_is_fine_when_its_events_are_not(self):
        assert len(decode([b"data: 123456\n\n" * 10_000], 12).events) == 10_000

    def test_a_limit_below_one_byte_is_refused(self):
        with pytest.raises(ValueError, match="at least 1 byte; it was 0"):
            Decoder(0)


def seconds(chunks: list[bytes], limit: int = 2**24) -> tuple[float, int]:
    """Return the CPU time that these reads take, and the number of events."""
    decoder, events, start = Decoder(limit), 0, time.process_time()
    for chunk in chunks:
        events += len(decoder.feed(chunk))
    decoder.close()
    return time.process_time() - start, events


def peak_memory(chunk: bytes, times: int, limit: int) -> int:
    """Return the bytes at most in use while a read is repeated until it ends or is too large."""
    decoder = Decoder(limit)
    tracemalloc.start()
    try:
        for _ in range(times):
            decoder.feed(chunk)
    except EventTooLarge:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


class TestHostileStreams:
    """Time grows with the bytes and not faster; memory does not grow at all. Each takes some 0.1 s of its second."""

    def test_an_event_of_14_megabytes_in_small_reads_takes_less_than_a_second(self):
        assert_quick(pieces(b"data: " + b"x" * 14_000_000 + b"\n\n", 1460), 1)

    def test_an_event_of_14_megabytes_in_200_000_lines_takes_less_than_a_second(self):
        assert_quick(pieces(b"data: " + b"\ndata: ".join([b"x" * 64] * 200_000) + b"\n\n", 1460), 1)

    def test_a_line_in_ten_thousand_pieces_takes_less_than_a_second(self):
        assert_quick(pieces(b"data: " + b"x" * 9_992 + b"\n\n", 1), 1)

    def test_a_million_lines_in_one_read_take_less_than_three_seconds(self):
        assert_quick([b"data:\n" * 1_000_000 + b"\n"], 1, within=3)

    def test_a_read_far_beyond_the_limit_takes_linear_time(self):
        assert_quick([b"data: 1\n\n" * 100_000], 100_000, limit=8, within=3)

    def test_an_endless_line_in_single_bytes_costs_no_more_than_the_limit(self):
        assert peak_memory(b"x", 10**9, 64_000) < 200_000

    def test_an_endless_event_of_tiny_lines_costs_no_more_than_the_limit(self):
        assert peak_memory(b"data: ab\n" * 100, 10**9, 64_000) < 300_000

    def test_an_endless_event_of_empty_lines_costs_no_more_than_the_limit(self):
        assert peak_memory(b"data\n" * 100, 10**9, 64_000) < 300_000

    def test_a_million_comments_cost_no_memory(self):
        decoder, comments, blocks = Decoder(64_000), b": ping\n" * 10_000, []
        for _ in range(100):
            assert decoder.feed(comments) == []
            blocks.append(sys.getallocatedblocks())
        assert max(blocks) - min(blocks) < 1_000  # of a million lines

    def test_ids_and_types_that_never_end_in_an_event_cost_no_memory(self):
        assert peak_memory(b"id: " + b"x" * 1_000 + b"\nevent: " + b"y" * 1_000 + b"\n", 5_000, 64_000) < 100_000


def assert_quick(chunks: list[bytes], count: int, *, limit: int = 2**24, within: float = 1) -> None:
    taken, events = seconds(chunks, limit)
    assert events == count
    assert taken < within


def test_frames_that_were_encoded_are_read_back_one_a_read_and_all_at_once():
    events = [Event("Hel", id="s.1", retry=1000), Event("lo\n", "delta", "s.2"), Event("[DONE]", id="s.3")]
    frames = [encode(event) for event in events]
    assert decode(frames).events == decode([b"".join(frames)]).events == events
