"""The page and the package agree: on whatever bytes come, however they are cut, and on when to connect again."""

from __future__ import annotations

import base64
import json
import subprocess
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from page.node import HERE, node
from tickertape.errors import EventTooLarge
from tickertape.sse import Decoder
from tickertape.sse.actions import Verdict
from tickertape.sse.reconnect import IDEMPOTENT, RETRYABLE, backoff, is_event_stream, retry_after, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Decode = Callable[[list[bytes], int, str], list[Any]]

FIELDS = [b"data: ", b"data:", b"data", b"id: ", b"id:", b"event: ", b"retry: ", b"retry:", b": ping", b":", b"Data: "]
ENDS = [b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n"]
VALUES = [
    b" ",
    b"x",
    b"hello",
    b"0",
    b"12",
    b"03000",
    b"9" * 20,
    b"1_0",
    b"\0",
    b"[DONE]",
    b"data: ",
    b"\x0b",
    b"\x0c",
    b"\x1c",
]
WIDE = [text.encode() for text in ("é", "…", "日本", "👍🏽", "\ufeff", "\u2028", "\u0085", "٣")]
DAMAGED = [
    b"\x80",
    b"\xc0\x8a",
    b"\xe2\x80",
    b"\xf0\x9f",
    b"\xf0\x80",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb",
    b"\xf4\x90\x80\x80",
]

text = st.lists(st.sampled_from(FIELDS * 2 + ENDS * 4 + VALUES + WIDE), max_size=40).map(b"".join)
anything = st.lists(st.sampled_from(FIELDS * 2 + ENDS * 4 + VALUES + WIDE + DAMAGED), max_size=40).map(b"".join)
places = st.lists(st.integers(0, 400), max_size=8)
ids = st.sampled_from(["", "7", "…"])


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """Return the body cut at these places, counted round and round."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def in_python(chunks: list[bytes], limit: int, last_event_id: str) -> list[Any]:
    seen: list[Any] = []
    decoder = Decoder(limit, lambda text: seen.append(["comment", text]), last_event_id=last_event_id)
    try:
        for chunk in chunks:
            seen += [["event", event.data, event.type, event.id, event.retry] for event in decoder.feed(chunk)]
            seen.append(["after", decoder.last_event_id, decoder.retry])
        decoder.close()
    except EventTooLarge as error:
        seen.append(["too large", error.limit])
    return seen


@pytest.fixture(scope="module")
def in_javascript() -> Iterator[Decode]:
    """One process answers for all examples."""
    command = [node(), HERE / "support" / "agree.js"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def decode(chunks: list[bytes], limit: int, last_event_id: str) -> list[Any]:
            encoded = [base64.b64encode(chunk).decode() for chunk in chunks]
            process.stdin.write(json.dumps({"chunks": encoded, "limit": limit, "id": last_event_id}).encode() + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield decode
        process.kill()


@settings(max_examples=400, deadline=None)
@given(anything, places, ids)
def test_they_agree_on_every_stream_after_every_read(in_javascript: Decode, body: bytes, places: list[int], last: str):
    chunks = cut(body, places)
    assert in_javascript(chunks, 2**24, last) == in_python(chunks, 2**24, last)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), places)
def test_they_agree_on_arbitrary_bytes(in_javascript: Decode, body: bytes, places: list[int]):
    chunks = cut(body, places)
    assert in_javascript(chunks, 2**24, "") == in_python(chunks, 2**24, "")


@settings(max_examples=300, deadline=None)
@given(text, places, st.integers(1, 40))
def test_they_agree_on_which_event_is_too_large(in_javascript: Decode, body: bytes, places: list[int], limit: int):
    # Of valid UTF-8: in JavaScript a U+FFFD counts as one byte, whatever it stands for.
    chunks = cut(body, places)
    assert outcome(in_javascript(chunks, limit, "")) == outcome(in_python(chunks, limit, ""))


def outcome(seen: list[Any]) -> list[Any]:
    """Return what came of a stream, without what was known after each read."""
    return [it for it in seen if it[0] != "after"]


TYPES = [
    "text/event-stream",
    "Text/Event-Stream;",
    " text/event-stream ; charset=x",
    "text/event-streams",
    "text/plain",
    "",
]
HEADS = [
    {},
    {"retry-after": "120"},
    {"retry-after": " 007 "},
    {"retry-after": "-5"},
    {"retry-after": "1.5"},
    {"retry-after": "soon"},
    {"retry-after": "Mon, 02 Nov 2026 10:00:30 GMT"},
    {"retry-after": "Mon, 02 Nov 2026 10:00:30 GMT", "date": "Mon, 02 Nov 2026 10:00:25 GMT"},
    {"retry-after": "Mon, 02 Nov 2026 09:00:00 GMT"},
]
NOW = 1_793_613_600  # Mon, 02 Nov 2026 10:00:00 GMT


def test_they_agree_on_what_an_answer_means_and_on_every_delay():
    statuses = list(range(100, 600))
    delays = list(product([0, 0.1, 3, 100], [0, 1, 2, 5, 40], [0, 60], [0, 0.5, 1]))
    job = {
        "statuses": statuses,
        "types": TYPES,
        "heads": HEADS,
        "now": NOW * 1000,
        "delays": [
            [base * 1000, retries, max(ceiling, base) * 1000, random] for base, retries, ceiling, random in delays
        ],
    }
    command = [node(), HERE / "support" / "table.js", json.dumps(job)]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert seen["idempotent"] == sorted(IDEMPOTENT)
    assert seen["retryable"] == sorted(RETRYABLE)
    assert seen["types"] == [is_event_stream(it) for it in TYPES]
    flags = [False, True]
    verdicts = [
        verdict(status, it, reconnecting=reconnecting, recover=recover)
        for status, it, reconnecting, recover in product(statuses, TYPES, flags, flags)
    ]
    # fetch follows redirects itself; one that it hands over had no Location, which both refuse.
    assert seen["verdicts"] == [(Verdict.REFUSE if it is Verdict.FOLLOW else it).value for it in verdicts]
    assert seen["waits"] == [retry_after(head, NOW) * 1000 for head in HEADS]
    assert seen["delays"] == pytest.approx(
        [backoff(base, retries, max(ceiling, base), random) * 1000 for base, retries, ceiling, random in delays]
    )
