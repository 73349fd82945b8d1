"""Readers that are cut on purpose, and what all of them must agree on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from support.http import open_stream, texts
from tickertape import Decoder

if TYPE_CHECKING:
    import random

    from support.http import Stream
    from tickertape import Event

_BOUNDARY = re.compile(rb"\n\n")


def whole_events(body: bytes) -> bytes:
    """Return the bytes up to the end of the last whole event: what a reader that is cut there has had."""
    ends = [match.end() for match in _BOUNDARY.finditer(body)]
    return body[: ends[-1]] if ends else b""


def last_event_id(body: bytes) -> str:
    """Return what a reader sends as Last-Event-ID that was cut after these bytes."""
    decoder = Decoder()
    decoder.feed(body)
    return decoder.last_event_id


def decode(body: bytes) -> list[Event]:
    return Decoder().feed(body)


def resume(url: str, stream_id: str, body: bytes) -> Stream:
    """Ask for what follows these bytes."""
    cursor = last_event_id(body)
    return open_stream(url, "GET", f"/v1/streams/{stream_id}", headers={"Last-Event-ID": cursor} if cursor else {})


def read_in_pieces(url: str, stream_id: str, dice: random.Random) -> bytes:
    """Read a stream over many connections, each cut after a random number of bytes, often with a RST."""
    had = b""
    while True:
        with resume(url, stream_id, had) as stream:
            if stream.status == 204:
                return had
            assert stream.status == 200
            assert "tickertape-cursor" not in stream.headers, "a good cursor was refused"
            stream.take(dice.choice([0, 1, 7, 100, 700, 5000]))
            had += whole_events(stream.body)
            stream.close(reset=dice.random() < 0.5)


def check_dense(stream_id: str, body: bytes) -> list[Event]:
    """Check that events 1, 2, 3, … of this stream are all there, once and in order; return them."""
    events = decode(body)
    assert [event.id for event in events] == [f"{stream_id}.{number}" for number in range(1, len(events) + 1)]
    return events


def check_end(events: list[Event], state: str) -> str:
    """Check that there is exactly one end, the last event, and that it says this state; return the text."""
    ends = [event for event in events if event.data == "[DONE]" or "error" in json.loads(event.data)]
    assert ends == events[-1:]
    if state in ("completed", "cancelled"):
        assert ends[0].data == "[DONE]"
        mark = json.loads(events[-2].data).get("tickertape")
        assert mark == ({"state": "cancelled"} if state == "cancelled" else None)
    else:
        told = json.loads(ends[0].data)
        assert told["tickertape"] == {"state": state}
        assert told["error"]["message"]
    return texts([event for event in events if event.data.startswith('{"id"')])
