"""Those who ask for a stream at the same time share one reading, and nobody gets an older one than was there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tickertape.errors import UnknownStream
from tickertape.streams.contract import Stream
from tickertape.streams.sqlite import file_format, leases
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.follower import SingleFlight
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, create, new_header, text, whole

from .faults import Connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .faults import FaultyConnection


class Disk:
    """What `SingleFlight` loads from: a load sees the disk as it is when it begins, and ends when the test says so."""

    def __init__(self, *, ended: bool = False, known: bool = True) -> None:
        self.entries: list[bytes] = [text(1)]
        self.ended = ended
        self.known = known
        self.loads = 0
        self.go_on = asyncio.Event()

    async def load(self, stream_id: str) -> Stream:
        self.loads += 1
        known, stream = self.known, Stream(new_header(), list(self.entries), ended=self.ended)
        await self.go_on.wait()
        if not known:
            raise UnknownStream(stream_id)
        return stream


async def turn() -> None:
    """Let everything that can run go as far as it gets."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_hundred_who_ask_at_once_for_what_has_ended_share_one_reading() -> None:
    disk = Disk(ended=True)
    loads = SingleFlight(disk.load)
    asking = [asyncio.create_task(loads.read("s")) for _ in range(100)]
    await turn()
    disk.go_on.set()
    assert len({id(stream) for stream in await asyncio.gather(*asking)}) == 1
    assert disk.loads == 1


async def test_who_asks_while_a_running_stream_is_read_gets_what_was_there_when_he_asked() -> None:
    """Guards the second reading: a reader with a newer cursor than the first one found would be told it is unknown."""
    disk = Disk()
    loads = SingleFlight(disk.load)
    first = asyncio.create_task(loads.read("s"))
    await turn()
    disk.entries.append(text(2))
    later = [asyncio.create_task(loads.read("s")) for _ in range(100)]
    await turn()
    disk.go_on.set()
    assert (await first).entries == [text(1)]
    assert all(stream.entries == [text(1), text(2)] for stream in await asyncio.gather(*later))
    assert disk.loads == 2


async def test_who_asks_while_an_unknown_stream_is_looked_for_finds_it_if_it_is_there() -> None:
    disk = Disk(known=False)
    loads = SingleFlight(disk.load)
    first = asyncio.create_task(loads.read("s"))
    await turn()
    disk.known = True
    later = asyncio.create_task(loads.read("s"))
    await turn()
    disk.go_on.set()
    with pytest.raises(UnknownStream):
        await first
    assert (await later).entries == [text(1)]


async def test_who_leaves_takes_nothing_from_those_who_wait() -> None:
    disk = Disk(ended=True)
    loads = SingleFlight(disk.load)
    leaving, staying = (asyncio.create_task(loads.read("s")) for _ in range(2))
    await turn()
    leaving.cancel()
    await turn()
    disk.go_on.set()
    assert (await staying).ended
    assert disk.loads == 1
    assert not loads._running


async def test_a_thousand_readers_of_a_stored_stream_share_one_object(tmp_path: Path) -> None:
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST) as log:
        writer = await begin(log, text(1))
        await writer.finish([DONE])
        stream_id = writer.stream.header.id
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST) as log:
        streams = await asyncio.gather(*(log.get(stream_id, "ann") for _ in range(1000)))
        assert {id(writer) for writer in streams} == {id(streams[0])}
        assert streams[0].entries == [text(1), DONE]


@asynccontextmanager
async def untold(connection: FaultyConnection, commits: str = "INSERT INTO journal") -> AsyncIterator[asyncio.Event]:
    """Keep from the loop that the next statement of this kind has committed; yield what is set when it has."""
    gate = connection.hold(commits, before=False)
    try:
        yield gate.reached
    finally:
        gate.open()


async def test_who_asks_for_a_stream_before_it_begins_reads_every_entry_once(tmp_path: Path) -> None:
    """The file is read late: by then it holds what its producer, this very process, is yet to be told of."""
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        read_on = connections.reader.hold("FROM stream WHERE id")
        header = new_header()
        asking = asyncio.create_task(log.get(header.id, header.owner))
        await read_on.reached.wait()
        writer = await create(log, header, [text(1)])
        async with untold(connections.writer) as committed:
            writer.append([text(2)])
            await committed.wait()
            read_on.open()
            assert await asking is writer.stream
        await caught_up(writer.stream, 2)
        await writer.finish([DONE])
        assert await whole(writer.stream) == [text(1), text(2), DONE]


async def test_who_finds_a_stream_before_its_producer_knows_that_it_is_there_shares_its_object(tmp_path: Path) -> None:
    """Else this process would not know of its own readers."""
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        header = new_header()
        async with untold(connections.writer, "COMMIT") as committed:
            creating = asyncio.create_task(create(log, header, [text(1)]))
            await committed.wait()
            found = await log.get(header.id, header.owner)
        writer = await creating
        assert writer.stream is found
        writer.append([text(2)])
        await writer.finish([DONE])
        assert await whole(found) == [text(1), text(2), DONE]


# --- cursors that are ahead of this process


async def test_a_cursor_that_is_ahead_of_the_producers_own_view_waits_for_it(tmp_path: Path) -> None:
    """What is committed may have been read in another process before its producer was told."""
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        writer = await begin(log, text(1))
        async with untold(connections.writer) as committed:
            writer.append([text(2)])
            await committed.wait()
            reaching = asyncio.create_task(log.reach(writer.stream, 2))
            await turn()
            assert not reaching.done()
            assert not await log.reach(writer.stream, 3)
        assert await reaching
        assert writer.stream.entries == [text(1), text(2)]
        await writer.finish([DONE])


async def test_a_cursor_that_is_ahead_of_what_is_known_of_another_process_is_found_in_the_file(
    tmp_path: Path, unwatched: None
) -> None:
    path = tmp_path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as here, SqliteEngine(path, lost=LOST) as there:
        writer = await begin(here, text(1))
        copy = await there.get(writer.stream.header.id, "ann")
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        assert (await there.reach(copy, 3), await there.reach(copy, 2)) == (False, True)
        await writer.finish([DONE])
        assert await there.reach(copy, 3)
        assert (copy.entries, copy.ended) == (writer.stream.entries, True)


async def test_a_cursor_at_the_end_that_others_gave_to_a_stream_waits_until_its_producer_knows(tmp_path: Path) -> None:
    """It stood still, was taken for dead, and does not know it yet."""
    path = tmp_path / "tape.db"
    async with SqliteEngine(path, lost=LOST) as log:
        writer = await begin(log, text(1))
        outside = file_format.connect(path)
        assert leases.reap(outside, writer.epoch, LOST) == 1
        outside.close()
        reaching = asyncio.create_task(log.reach(writer.stream, 2))
        assert not await log.reach(writer.stream, 3)
        writer.append([text(2)])
        while writer.error is None:
            await writer.stream.wait(1)
        await writer.fail(DONE)
        assert await reaching
        assert writer.stream.entries == [text(1), LOST]
