"""The contract of a view, with a dialect that keeps state and makes three events of one entry."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.test_fanout import Socket, until
from tickertape import Decoder
from tickertape.asgi.subscriber import Cut, serve
from tickertape.delivery.fanout import Fanout
from tickertape.dialects import DIALECTS
from tickertape.dialects.base import View, cursor_position, numbered
from tickertape.streams.contract import Header, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

HEADER = Header(id="3c22", owner="ann", model="m", created=1)
ENTRIES = [b"b", b"tHel", b"tlo", b"-nothing", b"t, ", b"tyou", b"."]


class Blocks(View):
    """A dialect as providers have them: each piece of text begins, is, and ends, under a number that counts blocks."""

    built = 0
    skipped = 0

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        Blocks.built += 1
        self.name = header.id
        self.blocks = 0
        self.size = 0

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        return b"".join(self._entry(number, entry) for number, entry in enumerate(entries, first))

    def skip(self, entries: Sequence[bytes], first: int) -> None:
        Blocks.skipped += len(entries)
        super().skip(entries, first)

    def _entry(self, number: int, entry: bytes) -> bytes:
        tag, text = entry[:1], entry[1:].decode()
        if tag == b"-":
            return b""
        if tag != b"t":
            events = [f"event: {'start' if tag == b'b' else 'stop'}\ndata: {self.size}\n"]
        else:
            block = self.blocks
            self.blocks, self.size = block + 1, self.size + len(text)
            events = [f"event: {type_}\ndata: {block} {self.size} {text}\n" for type_ in ("begin", "delta", "end")]
        return numbered(self.name, number, (event.encode() for event in events))


def whole(after: int = 0) -> bytes:
    """Return what a reader gets who has ``after`` entries already."""
    view = Blocks(HEADER)
    view.skip(ENTRIES[:after], 1)
    return view.feed(ENTRIES[after:], after + 1)


def events(body: bytes) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in Decoder().feed(body)]


def test_an_answer_that_is_cut_after_any_byte_and_resumed_is_whole() -> None:
    """Who reconnects drops what came after the last id, and gets it again: nothing is lost, nothing stands twice."""
    body = whole()
    for cut in range(len(body) + 1):
        decoder = Decoder()
        got, known, cursor = [], 0, ""
        for event in decoder.feed(body[:cut]):
            got.append((event.type, event.data))
            if event.id != cursor:
                known, cursor = len(got), event.id
        after = cursor_position(cursor, HEADER.id) if cursor else 0
        assert after is not None
        assert got[:known] + events(whole(after)) == events(body), f"cut after byte {cut}"


def test_only_the_last_event_of_an_entry_has_an_id() -> None:
    assert whole(1).startswith(
        b"event: begin\ndata: 0 3 Hel\n\nevent: delta\ndata: 0 3 Hel\n\nid: 3c22.2\nevent: end\ndata: 0 3 Hel\n\n"
    )
    assert whole().startswith(b"retry: 1000\nid: 3c22.1\nevent: start\n")


@given(st.sets(st.integers(1, len(ENTRIES) - 1)))
def test_entries_fed_in_any_pieces_give_the_same_bytes(cuts: set[int]) -> None:
    view, bounds = Blocks(HEADER), [0, *sorted(cuts), len(ENTRIES)]
    assert b"".join(view.feed(ENTRIES[begin:end], begin + 1) for begin, end in pairwise(bounds)) == whole()


@pytest.fixture
async def fanout() -> AsyncIterator[Fanout]:
    made = Fanout()
    yield made
    made.close()


def attach(fanout: Fanout, stream: Stream, socket: Socket, after: int = 0) -> asyncio.Task[None]:
    return asyncio.create_task(serve(fanout, stream, after, Blocks, socket.send, socket.receive))  # type: ignore[arg-type]


async def test_readers_who_come_at_any_time_and_stop_reading_at_any_time_get_the_same(fanout: Fanout) -> None:
    stream, quick, slow = Stream(HEADER, ENTRIES[:1]), Socket(), Socket()
    serving = [attach(fanout, stream, quick), attach(fanout, stream, slow)]
    await until(lambda: quick.body and slow.body)
    late: list[Socket] = []
    for number, entry in enumerate(ENTRIES[1:], 2):
        if number in (3, 6):
            (slow.gate.clear if number == 3 else slow.gate.set)()
        late.append(Socket())
        serving.append(attach(fanout, stream, late[-1], number - 1))
        stream.extend([entry], ended=number == len(ENTRIES))
        await until(lambda: quick.ended or number in places(fanout))  # noqa: B023 - awaited at once
    await asyncio.gather(*serving)
    assert quick.body == slow.body == whole()
    assert [socket.body for socket in late] == [whole(after) for after in range(1, len(ENTRIES))]


def places(fanout: Fanout) -> list[int]:
    return sorted(one.index for channel in fanout._channels.values() for one in channel.subscribers)


async def test_readers_at_the_same_place_share_one_view_and_who_was_behind_shares_it_again(fanout: Fanout) -> None:
    stream, quick, slow = Stream(HEADER, ENTRIES[:1]), Socket(), Socket()
    serving = [attach(fanout, stream, quick), attach(fanout, stream, slow)]
    await until(lambda: quick.body and slow.body)
    slow.gate.clear()
    stream.extend(ENTRIES[1:2])
    await until(lambda: slow.waiting)
    stream.extend(ENTRIES[2:3])
    await until(lambda: places(fanout) == [2, 3])
    Blocks.built = 0
    slow.gate.set()
    await until(lambda: slow.body == quick.body)
    assert Blocks.built == 1, "who was behind has a view of its own"
    stream.extend(ENTRIES[4:5])
    await until(lambda: places(fanout) == [4, 4])
    stream.extend(ENTRIES[5:6])
    await until(lambda: places(fanout) == [5, 5])
    assert slow.body == quick.body
    stream.extend([b"."], ended=True)
    await asyncio.gather(*serving)
    assert Blocks.built == 1, "it shares the others' again"
    assert quick.body == slow.body


async def test_what_a_view_keeps_is_not_trusted_once_it_has_raised(fanout: Fanout) -> None:
    stream, broken, slow, late = Stream(HEADER, ENTRIES[:2]), Socket(), Socket(), Socket()
    serving = attach(fanout, stream, broken)
    staying = attach(fanout, stream, slow)  # as long as somebody reads a stream, what was rendered of it is kept
    await until(lambda: broken.body and slow.body)
    slow.gate.clear()
    stream.extend(ENTRIES[2:4])
    await until(lambda: slow.waiting and places(fanout) == [4, 4])
    stream.extend([b"t\xff"])  # no UTF-8
    with pytest.raises(Cut):
        await serving
    stream.entries[4:] = ENTRIES[4:]
    stream.ended = True
    await attach(fanout, stream, late, 5)
    assert late.body == whole(5)
    slow.gate.set()
    await staying
    assert slow.body == whole()


async def test_an_entry_that_says_nothing_ends_no_response(fanout: Fanout) -> None:
    """A chunk of no bytes is the end of a body (RFC 9112, section 7.1): nothing must be written."""
    stream, socket = Stream(HEADER, ENTRIES[:3]), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: socket.body)
    writes = socket.writes
    stream.extend([b"-nothing"])
    await until(lambda: places(fanout) == [4])
    assert socket.writes == writes
    stream.extend([b"."], ended=True)
    await serving
    assert socket.ended


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_says_what_its_contract_asks_for(name: str) -> None:
    dialect: Any = DIALECTS[name]
    assert dialect.name == name
    assert dialect.error({"message": "No."})["error"] == {"message": "No."}
    assert dialect.view(HEADER).position == 0
