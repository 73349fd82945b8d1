"""Those who ask for a stream at the same time share one reading, and nobody gets an older one than was there."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tickertape.errors import UnknownStream
from tickertape.log.base import Tape
from tickertape.log.readings import Readings
from tickertape.log.sqlite import SqliteLog

from .engines import DONE, LOST, begin, caught_up, new_header, text, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Disk:
    """What `Readings` reads from: a reading sees the disk as it is when it begins, and ends when the test says so."""

    def __init__(self, *, ended: bool = False, known: bool = True) -> None:
        self.entries: list[bytes] = [text(1)]
        self.ended = ended
        self.known = known
        self.loads = 0
        self.go_on = asyncio.Event()

    async def load(self, stream_id: str) -> Tape:
        self.loads += 1
        known, tape = self.known, Tape(new_header(), list(self.entries), ended=self.ended)
        await self.go_on.wait()
        if not known:
            raise UnknownStream(stream_id)
        return tape


async def turn() -> None:
    """Let everything that can run go as far as it gets."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_hundred_who_ask_at_once_for_what_has_ended_share_one_reading() -> None:
    disk = Disk(ended=True)
    readings = Readings(disk.load)
    asking = [asyncio.create_task(readings.read("s")) for _ in range(100)]
    await turn()
    disk.go_on.set()
    assert len({id(tape) for tape in await asyncio.gather(*asking)}) == 1
    assert disk.loads == 1


async def test_who_asks_while_a_running_stream_is_read_gets_what_was_there_when_he_asked() -> None:
    """Guards the second reading: a reader with a newer cursor than the first one found would be told it is unknown."""
    disk = Disk()
    readings = Readings(disk.load)
    first = asyncio.create_task(readings.read("s"))
    await turn()
    disk.entries.append(text(2))
    later = [asyncio.create_task(readings.read("s")) for _ in range(100)]
    await turn()
    disk.go_on.set()
    assert (await first).entries == [text(1)]
    assert all(tape.entries == [text(1), text(2)] for tape in await asyncio.gather(*later))
    assert disk.loads == 2


async def test_who_asks_while_an_unknown_stream_is_looked_for_finds_it_if_it_is_there() -> None:
    disk = Disk(known=False)
    readings = Readings(disk.load)
    first = asyncio.create_task(readings.read("s"))
    await turn()
    disk.known = True
    later = asyncio.create_task(readings.read("s"))
    await turn()
    disk.go_on.set()
    with pytest.raises(UnknownStream):
        await first
    assert (await later).entries == [text(1)]


async def test_who_leaves_takes_nothing_from_those_who_wait() -> None:
    disk = Disk(ended=True)
    readings = Readings(disk.load)
    leaving, staying = (asyncio.create_task(readings.read("s")) for _ in range(2))
    await turn()
    leaving.cancel()
    await turn()
    disk.go_on.set()
    assert (await staying).ended
    assert disk.loads == 1
    assert not readings._running


async def test_a_thousand_readers_of_a_stored_stream_have_one_tape(tmp_path: Path) -> None:
    async with SqliteLog(tmp_path / "tape.db", lost=LOST) as log:
        tape = await begin(log, text(1))
        await log.finish(tape, [DONE])
        stream_id = tape.header.id
    async with SqliteLog(tmp_path / "tape.db", lost=LOST) as log:
        tapes = await asyncio.gather(*(log.get(stream_id, "ann") for _ in range(1000)))
        assert {id(tape) for tape in tapes} == {id(tapes[0])}
        assert tapes[0].entries == [text(1), DONE]


@asynccontextmanager
async def untold(log: SqliteLog) -> AsyncIterator[asyncio.Event]:
    """Keep from the loop what is committed; yield what is set when something is."""
    loop, committed, deliver = asyncio.get_running_loop(), asyncio.Event(), log._writer._deliver
    held = []

    def hold(*results: object) -> None:
        held.append(results)
        loop.call_soon_threadsafe(committed.set)

    log._writer._deliver = hold
    yield committed
    log._writer._deliver = deliver
    for results in held:
        deliver(*results)  # type: ignore[arg-type]


async def test_who_asks_for_a_stream_before_it_begins_reads_every_entry_once(tmp_path: Path) -> None:
    """The file is read late: by then it holds what its producer, this very process, is yet to be told of."""
    async with SqliteLog(tmp_path / "tape.db", lost=LOST) as log:
        read_on = threading.Event()
        log._reader.submit(read_on.wait)
        header = new_header()
        asking = asyncio.create_task(log.get(header.id, header.owner))
        await turn()
        tape, _fresh = await log.create(header, [text(1)])
        async with untold(log) as committed:
            await log.append(tape, [text(2)])
            await committed.wait()
            read_on.set()
            assert await asking is tape
        await caught_up(tape, 2)
        await log.finish(tape, [DONE])
        assert await whole(tape) == [text(1), text(2), DONE]


async def test_who_finds_a_stream_before_its_producer_knows_that_it_is_there_shares_its_tape(tmp_path: Path) -> None:
    """Else this process would not know of its own readers."""
    async with SqliteLog(tmp_path / "tape.db", lost=LOST) as log:
        header = new_header()
        async with untold(log) as committed:
            creating = asyncio.create_task(log.create(header, [text(1)]))
            await committed.wait()
            found = await log.get(header.id, header.owner)
        tape, fresh = await creating
        assert (tape is found, fresh) == (True, True)
        await log.append(tape, [text(2)])
        await log.finish(tape, [DONE])
        assert await whole(found) == [text(1), text(2), DONE]
