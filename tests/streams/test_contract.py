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
from tickertape.streams.contract import follow, now

from .engines import DONE, ENGINES, LOST, begin, caught_up, counted, key, load, new_header, text, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.streams.contract import Log


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "log" in metafunc.fixturenames:
        names = [*ENGINES, *metafunc.config.getoption("--log-engine")]
        metafunc.parametrize("log", names, indirect=True)


@pytest.fixture
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Log]:
    async with load(request.param)(tmp_path, LOST) as running:
        yield running


# --- create, append, finish, read


async def test_a_new_stream_has_its_first_entries_when_create_returns(log: Log) -> None:
    header = new_header()
    tape, fresh = await log.create(header, [text(1), text(2)])
    assert fresh
    assert (tape.header, tape.read(0), tape.ended) == (header, [text(1), text(2)], False)


async def test_a_stream_may_begin_with_no_entry(log: Log) -> None:
    tape, _ = await log.create(new_header(), [])
    assert tape.read(0) == []
    await log.append(tape, [text(1)])
    await log.finish(tape, [DONE])
    assert tape.read(0) == [text(1), DONE]


async def test_entries_come_in_the_order_in_which_they_were_appended(log: Log) -> None:
    tape = await begin(log)
    for number in range(2, 200):
        await log.append(tape, [text(number)])
        if number % 7 == 0:
            await asyncio.sleep(0)  # let the engine commit some alone and some together
    await log.finish(tape, [text(200), DONE])
    assert tape.read(0) == [*map(text, range(1, 201)), DONE]


async def test_one_append_may_bring_many_entries(log: Log) -> None:
    tape = await begin(log)
    await log.append(tape, list(map(text, range(2, 1000))))
    await log.finish(tape, [DONE])
    assert tape.read(0) == [*map(text, range(1, 1000)), DONE]


async def test_an_empty_append_adds_nothing(log: Log) -> None:
    tape = await begin(log)
    await log.append(tape, [])
    await log.append(tape, [text(2)])
    await log.append(tape, [])
    await log.finish(tape, [DONE])
    assert tape.read(0) == [text(1), text(2), DONE]


async def test_finish_returns_when_its_entries_are_committed(log: Log) -> None:
    tape = await begin(log)
    await log.append(tape, [text(2)])
    await log.finish(tape, [text(3), DONE])
    assert tape.ended
    assert tape.read(0) == [text(1), text(2), text(3), DONE]


async def test_the_terminal_entry_is_committed_with_the_entries_given_along(log: Log) -> None:
    tape = await begin(log)
    with counted(tape) as sizes:
        await log.finish(tape, [text(2), text(3), DONE])
    assert set(sizes) == {4}


async def test_what_was_read_once_reads_the_same_again(log: Log) -> None:
    tape = await begin(log)
    await log.append(tape, [text(2)])
    await caught_up(tape, 2)
    first = tape.read(0)
    await log.finish(tape, [DONE])
    assert tape.read(0)[:2] == first
    assert (await log.get(tape.header.id, "ann")).read(0)[:2] == first


@pytest.mark.parametrize(
    "entry", [b"", b"#1 1", b"#1 1 end", b"\0", b"\r", b"\xff\xfe", "t\u2028\x85".encode(), b"a" * 100_000]
)
async def test_an_entry_is_any_bytes_without_a_line_end(log: Log, entry: bytes) -> None:
    tape = await begin(log, entry)
    await log.append(tape, [entry, entry])
    await log.finish(tape, [entry, DONE])
    assert tape.read(0) == [entry] * 4 + [DONE]
    again = await log.get(tape.header.id, "ann")
    assert again.read(0) == [entry] * 4 + [DONE]


async def test_read_after_the_last_entry_gives_nothing(log: Log) -> None:
    tape = await begin(log)
    assert (tape.read(1), tape.read(99)) == ([], [])


# --- one end


async def test_an_ended_stream_refuses_to_be_appended_to(log: Log) -> None:
    tape = await begin(log)
    await log.finish(tape, [DONE])
    with pytest.raises(StreamEnded):
        await log.append(tape, [text(2)])
    assert tape.read(0) == [text(1), DONE]


async def test_finish_on_an_ended_stream_does_nothing(log: Log) -> None:
    tape = await begin(log)
    await log.finish(tape, [DONE])
    await log.finish(tape, [text(2), LOST])
    assert tape.read(0) == [text(1), DONE]


@pytest.mark.parametrize("ended", [False, True])
async def test_the_log_says_whether_a_stream_has_an_entry(log: Log, ended: bool) -> None:
    tape = await begin(log, text(1), text(2))
    if ended:
        await log.finish(tape, [DONE])
    last = len(tape.entries)
    assert [await log.reach(tape, number) for number in (0, 1, last, last + 1, 10**9)] == [*[True] * 3, *[False] * 2]


async def test_the_stream_stays_ended_however_it_is_got(log: Log) -> None:
    tape = await begin(log)
    await log.finish(tape, [DONE])
    header = tape.header
    del tape
    again = await log.get(header.id, "ann")
    assert (again.ended, again.read(0), again.header) == (True, [text(1), DONE], header)
    with pytest.raises(StreamEnded):
        await log.append(again, [text(2)])


# --- get: only the owner


async def test_a_running_stream_is_one_tape_for_everybody(log: Log) -> None:
    tape = await begin(log)
    assert await log.get(tape.header.id, "ann") is tape


@pytest.mark.parametrize("name", ["", "nobody", "0" * 32, "a.b", "'; --", "\u2028", "x" * 10_000])
async def test_an_unknown_stream_is_told(log: Log, name: str) -> None:
    with pytest.raises(UnknownStream):
        await log.get(name, "ann")


@pytest.mark.parametrize("ended", [False, True])
async def test_another_owners_stream_is_as_unknown_as_none(log: Log, ended: bool) -> None:
    tape = await begin(log, owner="ann")
    if ended:
        await log.finish(tape, [DONE])
    with pytest.raises(UnknownStream) as foreign:
        await log.get(tape.header.id, "bob")
    with pytest.raises(UnknownStream) as unknown:
        await log.get("f" * 32, "bob")
    assert str(foreign.value).replace(tape.header.id, "ID") == str(unknown.value).replace("f" * 32, "ID")


# --- wait and follow


async def test_wait_returns_at_once_when_there_is_more(log: Log) -> None:
    tape = await begin(log, text(1), text(2))
    await tape.wait(0)
    await tape.wait(1)
    await log.finish(tape, [DONE])
    await tape.wait(99)


async def test_wait_returns_after_a_commit(log: Log) -> None:
    tape = await begin(log)
    waiting = asyncio.create_task(tape.wait(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    await log.append(tape, [text(2)])
    await waiting
    assert tape.read(1) == [text(2)]


async def test_a_wake_up_may_be_spurious_and_harms_no_follower(log: Log) -> None:
    tape = await begin(log)
    reading = asyncio.create_task(whole(tape))
    for _ in range(3):
        await asyncio.sleep(0)
        tape.wake()
    await log.append(tape, [text(2)])
    tape.wake()
    await log.finish(tape, [DONE])
    assert await reading == [text(1), text(2), DONE]


async def test_a_listener_may_leave_while_it_is_called(log: Log) -> None:
    tape = await begin(log)
    calls = []

    def once() -> None:
        calls.append(1)
        tape.unlisten(once)

    tape.listen(once)
    with counted(tape) as others:
        await log.append(tape, [text(2)])
        await log.finish(tape, [DONE])
    assert calls == [1]
    assert others


async def test_every_follower_gets_exactly_what_comes_after_its_cursor(log: Log) -> None:
    tape = await begin(log)
    readers = {after: asyncio.create_task(whole(tape, after)) for after in (0, 1, 2, 50, 99, 100)}
    for number in range(2, 101):
        await log.append(tape, [text(number)])
        if number % 10 == 0:
            await caught_up(tape, number)
            readers[number * 1000] = asyncio.create_task(whole(tape, number))
    await log.finish(tape, [DONE])
    everything = [*map(text, range(1, 101)), DONE]
    for after, reading in readers.items():
        assert await reading == everything[after // 1000 or after :] if after >= 1000 else everything[after:]


async def test_a_cancelled_follower_leaves_no_trace(log: Log) -> None:
    tape = await begin(log)
    reading = asyncio.create_task(whole(tape))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert tape._listeners == []


async def test_following_an_ended_stream_from_its_end_gives_nothing(log: Log) -> None:
    tape = await begin(log)
    await log.finish(tape, [DONE])
    assert [entries async for entries in follow(tape, 2)] == []


# --- stop


async def test_cancel_is_told_to_the_producer(log: Log) -> None:
    tape = await begin(log)
    assert not tape.stop
    with counted(tape) as calls:
        await log.cancel(tape)
    assert tape.stop
    assert calls


async def test_cancel_again_changes_nothing_and_ends_nothing_by_itself(log: Log) -> None:
    tape = await begin(log)
    await log.cancel(tape)
    await log.cancel(tape)
    assert (tape.stop, tape.ended) == (True, False)
    await log.append(tape, [text(2)])
    await log.finish(tape, [DONE])
    assert tape.read(0) == [text(1), text(2), DONE]


async def test_cancel_after_the_end_changes_nothing(log: Log) -> None:
    tape = await begin(log)
    await log.finish(tape, [DONE])
    with counted(tape) as calls:
        await log.cancel(tape)
    assert (calls, tape.stop, tape.read(0)) == ([], False, [text(1), DONE])


# --- one key, one stream


async def test_the_same_key_and_body_attach_to_the_stream_made_first(log: Log) -> None:
    first, fresh = await log.create(new_header(), [text(1)], key())
    assert fresh
    await log.append(first, [text(2)])
    second, fresh = await log.create(new_header(), [text(99)], key())
    assert not fresh
    assert second is first


async def test_the_second_stream_of_a_key_does_not_exist(log: Log) -> None:
    await log.create(new_header(), [text(1)], key())
    header = new_header()
    await log.create(header, [text(1)], key())
    with pytest.raises(UnknownStream):
        await log.get(header.id, "ann")


async def test_a_key_attaches_after_the_end_too(log: Log) -> None:
    tape, _ = await log.create(new_header(), [text(1)], key())
    await log.finish(tape, [DONE])
    del tape
    again, fresh = await log.create(new_header(), [text(1)], key())
    assert (fresh, again.read(0), again.ended) == (False, [text(1), DONE], True)


async def test_the_same_key_with_another_body_is_refused(log: Log) -> None:
    first, _ = await log.create(new_header(), [text(1)], key(digest=b"one"))
    header = new_header()
    with pytest.raises(KeyReused):
        await log.create(header, [text(1)], key(digest=b"two"))
    with pytest.raises(UnknownStream):
        await log.get(header.id, "ann")
    again, fresh = await log.create(new_header(), [text(1)], key(digest=b"one"))
    assert (again is first, fresh) == (True, False)


async def test_a_key_can_be_looked_up_without_making_anything(log: Log) -> None:
    assert await log.keyed("ann", key()) is None
    first, _ = await log.create(new_header(), [text(1)], key())
    for _ in range(2):
        found = await log.keyed("ann", key())
        assert found is not None
        assert found.header == first.header
        assert await log.keyed("ben", key()) is None
        assert await log.keyed("ann", key("other")) is None
        with pytest.raises(KeyReused):
            await log.keyed("ann", key(digest=b"another"))
        await log.finish(first, [DONE])  # and after the end


async def test_another_owners_key_is_another_key(log: Log) -> None:
    anns, _ = await log.create(new_header("ann"), [text(1)], key(digest=b"one"))
    bobs, fresh = await log.create(new_header("bob"), [text(1)], key(digest=b"two"))
    assert fresh
    assert anns.header.id != bobs.header.id


async def test_without_a_key_every_create_makes_a_stream(log: Log) -> None:
    assert (await begin(log)).header.id != (await begin(log)).header.id


@pytest.mark.parametrize("known", [False, True])
async def test_fifty_creates_with_one_key_at_once_make_one_stream(log: Log, known: bool) -> None:
    """Also where the caller chose the stream's id, and all choose the same."""
    header = new_header()
    headers = [header if known else new_header() for _ in range(50)]
    made = await asyncio.gather(*(log.create(each, [text(1)], key()) for each in headers))
    assert sum(fresh for _tape, fresh in made) == 1
    assert len({id(tape) for tape, _fresh in made}) == 1


async def test_a_refused_key_does_not_harm_the_creates_beside_it(log: Log) -> None:
    await log.create(new_header(), [text(1)], key(digest=b"one"))
    digests = [b"two" if number % 2 else b"one" for number in range(20)]
    outcomes = await asyncio.gather(
        *(log.create(new_header(), [text(1)], key(digest=digest)) for digest in digests),
        log.create(new_header(), [text(1)], key("other")),
        log.create(new_header(), [text(1)]),
        return_exceptions=True,
    )
    assert [type(outcome) is KeyReused for outcome in outcomes[:20]] == [digest == b"two" for digest in digests]
    assert all(isinstance(outcome, tuple) and outcome[1] for outcome in outcomes[20:])


# --- many at once


async def test_many_streams_side_by_side_do_not_mix(log: Log) -> None:
    async def produce(name: str) -> None:
        tape = await begin(log, text(1, name))
        for number in range(2, 50):
            await log.append(tape, [text(number, name)])
            await asyncio.sleep(0)
        await log.finish(tape, [text(50, name), DONE])
        assert (await log.get(tape.header.id, "ann")).read(0) == [*(text(n, name) for n in range(1, 51)), DONE]

    await asyncio.gather(*(produce(f"stream {number}") for number in range(40)))


async def test_reap_leaves_the_streams_of_the_living_alone(log: Log) -> None:
    tape = await begin(log)
    assert await log.reap() == 0
    await log.finish(tape, [DONE])
    assert tape.read(0) == [text(1), DONE]


# --- who reads, and what is forgotten


async def test_a_stream_is_attended_while_somebody_reads_it(log: Log) -> None:
    tape = await begin(log)
    assert not await log.attended(tape, 60)
    tape.enter()
    tape.enter()
    tape.leave()
    assert await log.attended(tape, 0)
    tape.leave()
    assert not await log.attended(tape, 60)


async def test_a_producer_can_be_told_when_a_reader_leaves(log: Log) -> None:
    tape = await begin(log)
    left: list[int] = []
    tape.on_leave = lambda: left.append(tape.readers)
    tape.enter()
    tape.enter()
    tape.leave()
    tape.leave()
    assert left == [1, 0]


async def test_only_what_ended_before_is_forgotten_with_its_key(log: Log) -> None:
    running, _ = await log.create(new_header(), [text(1)], key("running"))
    ended, _ = await log.create(new_header(), [text(1)], key("ended"))
    await log.finish(ended, [DONE])
    gone = ended.header.id
    await begin(log)  # commits after all that was asked for before
    assert await log.expire(time.time() - 3600) == 0
    assert await log.expire(time.time() + 3600) == 1
    assert await log.expire(time.time() + 3600) == 0
    with pytest.raises(UnknownStream):
        await log.get(gone, "ann")
    again, fresh = await log.create(new_header(), [text(1)], key("ended"))
    assert fresh
    assert again.header.id != gone
    assert await log.get(running.header.id, "ann") is running
    assert not (await log.create(new_header(), [text(1)], key("running")))[1]


async def test_streams_that_are_named_are_forgotten_with_their_keys_once_they_have_ended(log: Log) -> None:
    running, _ = await log.create(new_header(), [text(1)], key("running"))
    ended, _ = await log.create(new_header(), [text(1)], key("ended"))
    kept = await begin(log)
    await log.finish(kept, [DONE])
    await log.finish(ended, [DONE])
    await begin(log)  # commits after all that was asked for before
    assert await log.forget([running.header.id, ended.header.id, "unknown"]) == [running.header.id]
    with pytest.raises(UnknownStream):
        await log.get(ended.header.id, "ann")
    assert ended.read(0) == [text(1), DONE]  # who reads it goes on, nobody else finds it
    assert (await log.create(new_header(), [text(1)], key("ended")))[1]
    assert not (await log.create(new_header(), [text(1)], key("running")))[1]
    assert (await log.get(kept.header.id, "ann")).ended


@pytest.mark.parametrize("jump", [86_400, -86_400])
async def test_a_clock_that_is_set_another_day_makes_no_stream_old(
    log: Log, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    real = time.time
    for moved in (0, jump):
        monkeypatch.setattr(time, "time", lambda moved=moved: real() + moved)
        await log.finish(await begin(log), [DONE])
        await begin(log)  # commits after all that was asked for before
    assert await log.expire(now() - 3600) == 0
    assert await log.expire(now() + 1) == 2


async def test_many_streams_are_forgotten_in_one_go(log: Log) -> None:
    for _ in range(450):
        await log.finish(await begin(log), [DONE])
    await begin(log)
    assert await log.expire(time.time() + 3600) == 450
