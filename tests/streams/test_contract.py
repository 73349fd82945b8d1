"""What every engine of the stream log promises, whatever is below it.

Run it on an engine of your own with ``pytest tests/streams/test_contract.py --log-engine package.module:factory``,
where ``factory(folder, lost)`` returns a `Log` that keeps what it keeps in that folder.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tickertape.errors import KeyReused, StreamEnded, UnknownStream
from tickertape.streams.contract import StreamWriter, follow

from .engines import DONE, ENGINES, LOST, attach, begin, caught_up, counted, create, key, load, new_header, text, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.streams.contract import Engine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "log" in metafunc.fixturenames:
        names = [*ENGINES, *metafunc.config.getoption("--log-engine")]
        metafunc.parametrize("log", names, indirect=True)


@pytest.fixture
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with load(request.param)(tmp_path, LOST) as running:
        yield running


# --- create, append, finish, read


async def test_a_new_stream_has_its_first_entries_when_create_returns(log: Engine) -> None:
    header = new_header()
    writer = await create(log, header, [text(1), text(2)])
    assert (writer.stream.header, writer.stream.read(0), writer.stream.ended) == (header, [text(1), text(2)], False)


async def test_a_stream_may_begin_with_no_entry(log: Engine) -> None:
    writer = await create(log, new_header(), [])
    assert writer.stream.read(0) == []
    writer.append([text(1)])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), DONE]


async def test_entries_come_in_the_order_in_which_they_were_appended(log: Engine) -> None:
    writer = await begin(log)
    for number in range(2, 200):
        writer.append([text(number)])
        if number % 7 == 0:
            await asyncio.sleep(0)  # let the engine commit some alone and some together
    await writer.finish([text(200), DONE])
    assert writer.stream.read(0) == [*map(text, range(1, 201)), DONE]


async def test_one_append_may_bring_many_entries(log: Engine) -> None:
    writer = await begin(log)
    writer.append(list(map(text, range(2, 1000))))
    await writer.finish([DONE])
    assert writer.stream.read(0) == [*map(text, range(1, 1000)), DONE]


async def test_an_empty_append_adds_nothing(log: Engine) -> None:
    writer = await begin(log)
    writer.append([])
    writer.append([text(2)])
    writer.append([])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), text(2), DONE]


async def test_finish_returns_when_its_entries_are_committed(log: Engine) -> None:
    writer = await begin(log)
    writer.append([text(2)])
    await writer.finish([text(3), DONE])
    assert writer.stream.ended
    assert writer.stream.read(0) == [text(1), text(2), text(3), DONE]


async def test_the_terminal_entry_is_committed_with_the_entries_given_along(log: Engine) -> None:
    writer = await begin(log)
    with counted(writer.stream) as sizes:
        await writer.finish([text(2), text(3), DONE])
    assert set(sizes) == {4}


async def test_what_was_read_once_reads_the_same_again(log: Engine) -> None:
    writer = await begin(log)
    writer.append([text(2)])
    await caught_up(writer.stream, 2)
    first = writer.stream.read(0)
    await writer.finish([DONE])
    assert writer.stream.read(0)[:2] == first
    assert (await log.get(writer.stream.header.id, "ann")).read(0)[:2] == first


@pytest.mark.parametrize(
    "entry", [b"", b"#1 1", b"#1 1 end", b"\0", b"\r", b"\xff\xfe", "t\u2028\x85".encode(), b"a" * 100_000]
)
async def test_an_entry_is_any_bytes_without_a_line_end(log: Engine, entry: bytes) -> None:
    writer = await begin(log, entry)
    writer.append([entry, entry])
    await writer.finish([entry, DONE])
    assert writer.stream.read(0) == [entry] * 4 + [DONE]
    again = await log.get(writer.stream.header.id, "ann")
    assert again.read(0) == [entry] * 4 + [DONE]


async def test_read_after_the_last_entry_gives_nothing(log: Engine) -> None:
    writer = await begin(log)
    assert (writer.stream.read(1), writer.stream.read(99)) == ([], [])


# --- one end


async def test_an_ended_stream_refuses_to_be_appended_to(log: Engine) -> None:
    writer = await begin(log)
    await writer.finish([DONE])
    with pytest.raises(StreamEnded):
        writer.append([text(2)])
    assert writer.stream.read(0) == [text(1), DONE]


async def test_finish_on_an_ended_stream_does_nothing(log: Engine) -> None:
    writer = await begin(log)
    await writer.finish([DONE])
    await writer.finish([text(2), LOST])
    assert writer.stream.read(0) == [text(1), DONE]


@pytest.mark.parametrize("ended", [False, True])
async def test_the_log_says_whether_a_stream_has_an_entry(log: Engine, ended: bool) -> None:
    writer = await begin(log, text(1), text(2))
    if ended:
        await writer.finish([DONE])
    last = len(writer.stream.entries)
    assert [await log.reach(writer.stream, number) for number in (0, 1, last, last + 1, 10**9)] == [
        *[True] * 3,
        *[False] * 2,
    ]


async def test_the_stream_stays_ended_however_it_is_got(log: Engine) -> None:
    writer = await begin(log)
    await writer.finish([DONE])
    header = writer.stream.header
    del writer
    again = await log.get(header.id, "ann")
    assert (again.ended, again.read(0), again.header) == (True, [text(1), DONE], header)


# --- get: only the owner


async def test_a_running_stream_is_one_object_for_everybody(log: Engine) -> None:
    writer = await begin(log)
    assert await log.get(writer.stream.header.id, "ann") is writer.stream


@pytest.mark.parametrize("name", ["", "nobody", "0" * 32, "a.b", "'; --", "\u2028", "x" * 10_000])
async def test_an_unknown_stream_is_told(log: Engine, name: str) -> None:
    with pytest.raises(UnknownStream):
        await log.get(name, "ann")


@pytest.mark.parametrize("ended", [False, True])
async def test_another_owners_stream_is_as_unknown_as_none(log: Engine, ended: bool) -> None:
    writer = await begin(log, owner="ann")
    if ended:
        await writer.finish([DONE])
    with pytest.raises(UnknownStream) as foreign:
        await log.get(writer.stream.header.id, "bob")
    with pytest.raises(UnknownStream) as unknown:
        await log.get("f" * 32, "bob")
    assert str(foreign.value).replace(writer.stream.header.id, "ID") == str(unknown.value).replace("f" * 32, "ID")


# --- wait and follow


async def test_wait_returns_at_once_when_there_is_more(log: Engine) -> None:
    writer = await begin(log, text(1), text(2))
    await writer.stream.wait(0)
    await writer.stream.wait(1)
    await writer.finish([DONE])
    await writer.stream.wait(99)


async def test_wait_returns_after_a_commit(log: Engine) -> None:
    writer = await begin(log)
    waiting = asyncio.create_task(writer.stream.wait(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    writer.append([text(2)])
    await waiting
    assert writer.stream.read(1) == [text(2)]


async def test_a_wake_up_may_be_spurious_and_harms_no_follower(log: Engine) -> None:
    writer = await begin(log)
    reading = asyncio.create_task(whole(writer.stream))
    for _ in range(3):
        await asyncio.sleep(0)
        writer.stream.wake()
    writer.append([text(2)])
    writer.stream.wake()
    await writer.finish([DONE])
    assert await reading == [text(1), text(2), DONE]


async def test_a_listener_may_leave_while_it_is_called(log: Engine) -> None:
    writer = await begin(log)
    calls = []

    def once() -> None:
        calls.append(1)
        writer.stream.unlisten(once)

    writer.stream.listen(once)
    with counted(writer.stream) as others:
        writer.append([text(2)])
        await writer.finish([DONE])
    assert calls == [1]
    assert others


async def test_every_follower_gets_exactly_what_comes_after_its_cursor(log: Engine) -> None:
    writer = await begin(log)
    readers = {after: asyncio.create_task(whole(writer.stream, after)) for after in (0, 1, 2, 50, 99, 100)}
    for number in range(2, 101):
        writer.append([text(number)])
        if number % 10 == 0:
            await caught_up(writer.stream, number)
            readers[number * 1000] = asyncio.create_task(whole(writer.stream, number))
    await writer.finish([DONE])
    everything = [*map(text, range(1, 101)), DONE]
    for after, reading in readers.items():
        assert await reading == everything[after // 1000 or after :] if after >= 1000 else everything[after:]


async def test_a_cancelled_follower_leaves_no_trace(log: Engine) -> None:
    writer = await begin(log)
    reading = asyncio.create_task(whole(writer.stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert writer.stream._listeners == []


async def test_following_an_ended_stream_from_its_end_gives_nothing(log: Engine) -> None:
    writer = await begin(log)
    await writer.finish([DONE])
    assert [entries async for entries in follow(writer.stream, 2)] == []


# --- stop


async def test_cancel_is_told_to_the_producer(log: Engine) -> None:
    writer = await begin(log)
    assert not writer.stop_requested
    calls: list[bool] = []
    writer.on_stop = lambda: calls.append(writer.stop_requested)
    await log.cancel(writer.stream)
    assert calls == [True]


async def test_cancel_again_changes_nothing_and_ends_nothing_by_itself(log: Engine) -> None:
    writer = await begin(log)
    calls: list[int] = []
    writer.on_stop = lambda: calls.append(1)
    await log.cancel(writer.stream)
    await log.cancel(writer.stream)
    assert (calls, writer.stop_requested, writer.stream.ended) == ([1], True, False)
    writer.append([text(2)])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), text(2), DONE]


async def test_cancel_after_the_end_changes_nothing(log: Engine) -> None:
    writer = await begin(log)
    await writer.finish([DONE])
    with counted(writer.stream) as calls:
        await log.cancel(writer.stream)
    assert (calls, writer.stop_requested, writer.stream.read(0)) == ([], False, [text(1), DONE])


# --- one key, one stream


async def test_the_same_key_and_body_attach_to_the_stream_made_first(log: Engine) -> None:
    first = await create(log, new_header(), [text(1)], key())
    first.append([text(2)])
    assert await attach(log, key()) is first.stream


async def test_the_second_stream_of_a_key_does_not_exist(log: Engine) -> None:
    await log.create(new_header(), [text(1)], key())
    header = new_header()
    await log.create(header, [text(1)], key())
    with pytest.raises(UnknownStream):
        await log.get(header.id, "ann")


async def test_a_key_attaches_after_the_end_too(log: Engine) -> None:
    writer = await create(log, new_header(), [text(1)], key())
    await writer.finish([DONE])
    del writer
    again = await attach(log, key())
    assert (again.read(0), again.ended) == ([text(1), DONE], True)


async def test_the_same_key_with_another_body_is_refused(log: Engine) -> None:
    first = await create(log, new_header(), [text(1)], key(digest=b"one"))
    header = new_header()
    with pytest.raises(KeyReused):
        await log.create(header, [text(1)], key(digest=b"two"))
    with pytest.raises(UnknownStream):
        await log.get(header.id, "ann")
    assert await attach(log, key(digest=b"one")) is first.stream


async def test_a_key_can_be_looked_up_without_making_anything(log: Engine) -> None:
    assert await log.keyed("ann", key()) is None
    first = await create(log, new_header(), [text(1)], key())
    for _ in range(2):
        found = await log.keyed("ann", key())
        assert found is not None
        assert found.header == first.stream.header
        assert await log.keyed("ben", key()) is None
        assert await log.keyed("ann", key("other")) is None
        with pytest.raises(KeyReused):
            await log.keyed("ann", key(digest=b"another"))
        await first.finish([DONE])  # and after the end


async def test_another_owners_key_is_another_key(log: Engine) -> None:
    anns = await create(log, new_header("ann"), [text(1)], key(digest=b"one"))
    bobs = await create(log, new_header("bob"), [text(1)], key(digest=b"two"))
    assert anns.stream.header.id != bobs.stream.header.id


async def test_without_a_key_every_create_makes_a_stream(log: Engine) -> None:
    assert (await begin(log)).stream.header.id != (await begin(log)).stream.header.id


@pytest.mark.parametrize("known", [False, True])
async def test_fifty_creates_with_one_key_at_once_make_one_stream(log: Engine, known: bool) -> None:
    """Also where the caller chose the stream's id, and all choose the same."""
    header = new_header()
    headers = [header if known else new_header() for _ in range(50)]
    made = await asyncio.gather(*(log.create(each, [text(1)], key()) for each in headers))
    assert sum(isinstance(one, StreamWriter) for one in made) == 1
    assert len({id(one.stream if isinstance(one, StreamWriter) else one) for one in made}) == 1


async def test_a_refused_key_does_not_harm_the_creates_beside_it(log: Engine) -> None:
    await log.create(new_header(), [text(1)], key(digest=b"one"))
    digests = [b"two" if number % 2 else b"one" for number in range(20)]
    outcomes = await asyncio.gather(
        *(log.create(new_header(), [text(1)], key(digest=digest)) for digest in digests),
        log.create(new_header(), [text(1)], key("other")),
        log.create(new_header(), [text(1)]),
        return_exceptions=True,
    )
    assert [type(outcome) is KeyReused for outcome in outcomes[:20]] == [digest == b"two" for digest in digests]
    assert all(isinstance(outcome, StreamWriter) for outcome in outcomes[20:])


# --- many at once


async def test_many_streams_side_by_side_do_not_mix(log: Engine) -> None:
    async def produce(name: str) -> None:
        writer = await begin(log, text(1, name))
        for number in range(2, 50):
            writer.append([text(number, name)])
            await asyncio.sleep(0)
        await writer.finish([text(50, name), DONE])
        assert (await log.get(writer.stream.header.id, "ann")).read(0) == [*(text(n, name) for n in range(1, 51)), DONE]

    await asyncio.gather(*(produce(f"stream {number}") for number in range(40)))


async def test_reap_leaves_the_streams_of_the_living_alone(log: Engine) -> None:
    writer = await begin(log)
    assert await log.reap() == 0
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), DONE]


# --- who reads, and what is forgotten


async def test_a_stream_is_attended_while_somebody_reads_it(log: Engine) -> None:
    writer = await begin(log)
    assert not await writer.attended(60)
    writer.stream.enter()
    writer.stream.enter()
    writer.stream.leave()
    assert await writer.attended(0)
    writer.stream.leave()
    assert not await writer.attended(60)


async def test_a_producer_can_be_told_when_a_reader_leaves(log: Engine) -> None:
    writer = await begin(log)
    left: list[int] = []
    writer.on_leave = lambda: left.append(writer.stream.readers)
    writer.stream.enter()
    writer.stream.enter()
    writer.stream.leave()
    writer.stream.leave()
    assert left == [1, 0]


async def test_only_what_ended_before_is_forgotten_with_its_key(log: Engine) -> None:
    running = await create(log, new_header(), [text(1)], key("running"))
    ended = await create(log, new_header(), [text(1)], key("ended"))
    await ended.finish([DONE])
    gone = ended.stream.header.id
    await begin(log)  # commits after all that was asked for before
    assert await log.expire(3600) == 0
    assert await log.expire(-3600) == 1
    assert await log.expire(-3600) == 0
    with pytest.raises(UnknownStream):
        await log.get(gone, "ann")
    again = await create(log, new_header(), [text(1)], key("ended"))
    assert again.stream.header.id != gone
    assert await log.get(running.stream.header.id, "ann") is running.stream
    await attach(log, key("running"))


async def test_streams_that_are_named_are_forgotten_with_their_keys_once_they_have_ended(log: Engine) -> None:
    running = await create(log, new_header(), [text(1)], key("running"))
    ended = await create(log, new_header(), [text(1)], key("ended"))
    kept = await begin(log)
    await kept.finish([DONE])
    await ended.finish([DONE])
    await begin(log)  # commits after all that was asked for before
    assert await log.delete([running.stream.header.id, ended.stream.header.id, "unknown"]) == [running.stream.header.id]
    with pytest.raises(UnknownStream):
        await log.get(ended.stream.header.id, "ann")
    assert ended.stream.read(0) == [text(1), DONE]  # who reads it goes on, nobody else finds it
    await create(log, new_header(), [text(1)], key("ended"))
    await attach(log, key("running"))
    assert (await log.get(kept.stream.header.id, "ann")).ended


@pytest.mark.parametrize("jump", [86_400, -86_400])
async def test_a_clock_that_is_set_another_day_makes_no_stream_old(
    log: Engine, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    real = time.time
    for moved in (0, jump):
        monkeypatch.setattr(time, "time", lambda moved=moved: real() + moved)
        await (await begin(log)).finish([DONE])
        await begin(log)  # commits after all that was asked for before
    assert await log.expire(3600) == 0
    assert await log.expire(-1) == 2


async def test_many_streams_are_forgotten_in_one_go(log: Engine) -> None:
    for _ in range(450):
        await (await begin(log)).finish([DONE])
    await begin(log)
    assert await log.expire(-3600) == 450
