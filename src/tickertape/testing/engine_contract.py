"""The contract of an engine as a suite of tests: run it on an engine of your own.

In a test module of yours::

    import pytest

    from tickertape.testing.engine_contract import *  # noqa: F403

    class MyStore(Store):
        ...

    @pytest.fixture
    def store(tmp_path):
        return MyStore(tmp_path)

pytest finds the tests there, and every test gets a `Store` that is empty. They are asynchronous and marked for
pytest-asyncio. With ``pytest.register_assert_rewrite("tickertape.testing.engine_contract")`` in your ``conftest.py``,
before anything imports this module, an assert that fails says what differs.

The promises are in `tickertape.streams.contract`; what each asks of an engine is said in ``docs/engines.md``. Nothing
here knows what an entry says.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tickertape.errors import EngineError, KeyReused, StreamEnded, UnknownStream
from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter, follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

pytestmark = pytest.mark.asyncio

LOST = b'.{"state":"lost"}'
DONE = b'.{"state":"completed","finish_reason":"stop"}'
FAILED = b'.{"state":"failed"}'

POLL = 0.005
"""Seconds between two looks at what no wake-up tells of."""

LIMIT = 60.0
"""Seconds. What takes longer will not come; a busy machine must not fail a test."""

_numbers = count(1)


class Store(ABC):
    """Where the streams of one test are kept. `handle` opens it once more, as another process would.

    ``shared`` says that handles which are open at the same time work on the same streams, ``lasting`` that one which is
    opened when all others are closed finds what was there. Where one is false, the tests that need it are skipped.
    """

    shared = True
    lasting = True

    @abstractmethod
    def handle(self) -> Engine:
        """Return another engine on this store, which is yet to be entered.

        It ends the streams of dead producers with `LOST`. Choose short intervals for what it does by and by (tenths of
        a second), for tests wait for it; the lease must be longer than the machine may stand still.
        """

    @abstractmethod
    async def end_lease(self, epoch: int) -> None:
        """Make it look as if the process with this epoch had not renewed its lease for long, while it goes on."""


# --- words for building streams


def new_header(owner: str = "ann") -> Header:
    """Return the header of a stream that was not there before."""
    return Header(id=f"{next(_numbers):032x}", owner=owner, model="echo", created=1_700_000_000)


def key(value: str = "k", digest: bytes = b"d") -> Key:
    """Return an Idempotency-Key."""
    return Key(value, digest)


def text(number: int, of: str = "") -> bytes:
    """Return entry ``number`` of a stream: a function of both, so that any entry can be checked."""
    return b't"%s %d"' % (of.encode(), number)


async def create(engine: Engine, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter:
    """Begin a stream that is new."""
    writer = await engine.create(header, entries, key)
    assert isinstance(writer, StreamWriter)
    return writer


async def begin(engine: Engine, *entries: bytes, owner: str = "ann") -> StreamWriter:
    """Begin a stream without a key."""
    return await create(engine, new_header(owner), list(entries) or [text(1)])


async def attach(engine: Engine, key: Key) -> Stream:
    """Repeat a request whose key has begun a stream before."""
    stream = await engine.create(new_header(), [text(99)], key)
    assert isinstance(stream, Stream)
    return stream


async def whole(stream: Stream, after: int = 0) -> list[bytes]:
    """Read a stream to its end."""
    return [entry async for entries in follow(stream, after) for entry in entries]


async def caught_up(stream: Stream, size: int) -> None:
    """Wait until so many entries are committed."""
    while len(stream.entries) < size:
        await stream.wait(len(stream.entries))


async def stopped(writer: StreamWriter) -> None:
    """Wait until somebody has asked to stop the answer."""
    asked = asyncio.Event()
    writer.on_stop = asked.set
    if not writer.stop_requested:
        await asked.wait()


async def broken_off(writer: StreamWriter) -> None:
    """Wait until the producer knows that nothing more of it is committed."""
    while writer.error is None and not writer.stream.ended:
        await writer.stream.wait(len(writer.stream.entries))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what no wake-up tells of."""
    while not await condition():
        await asyncio.sleep(POLL)


@contextmanager
def counted(stream: Stream) -> Iterator[list[int]]:
    """Count a stream's wake-ups: the number of entries at each."""
    calls: list[int] = []

    def wake() -> None:
        calls.append(len(stream.entries))

    stream.listen(wake)
    try:
        yield calls
    finally:
        stream.unlisten(wake)


@pytest_asyncio.fixture
async def engine(store: Store) -> AsyncIterator[Engine]:
    """Return an engine that has the store for itself."""
    async with store.handle() as running:
        yield running


@asynccontextmanager
async def two(store: Store) -> AsyncIterator[tuple[Engine, Engine]]:
    """Open the store twice, as two processes would."""
    if not store.shared:
        pytest.skip("this store has one process at a time")
    async with asyncio.timeout(LIMIT), store.handle() as here, store.handle() as there:
        yield here, there


async def take_for_dead(store: Store, other: Engine, epoch: int) -> None:
    """Have another process end the streams of the one with this epoch, which goes on."""
    while not await other.reap():
        await store.end_lease(epoch)


# --- create, append, finish, read


async def test_a_new_stream_has_its_first_entries_when_create_returns(engine: Engine) -> None:
    header = new_header()
    writer = await create(engine, header, [text(1), text(2)])
    assert (writer.stream.header, writer.stream.read(0), writer.stream.ended) == (header, [text(1), text(2)], False)


async def test_a_stream_may_begin_with_no_entry(engine: Engine) -> None:
    writer = await create(engine, new_header(), [])
    assert writer.stream.read(0) == []
    writer.append([text(1)])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), DONE]


async def test_entries_come_in_the_order_in_which_they_were_appended(engine: Engine) -> None:
    writer = await begin(engine)
    for number in range(2, 200):
        writer.append([text(number)])
        if number % 7 == 0:
            await asyncio.sleep(0)  # let the engine commit some alone and some together
    await writer.finish([text(200), DONE])
    assert writer.stream.read(0) == [*map(text, range(1, 201)), DONE]


async def test_one_append_may_bring_many_entries(engine: Engine) -> None:
    writer = await begin(engine)
    writer.append(list(map(text, range(2, 1000))))
    await writer.finish([DONE])
    assert writer.stream.read(0) == [*map(text, range(1, 1000)), DONE]


async def test_an_empty_append_adds_nothing(engine: Engine) -> None:
    writer = await begin(engine)
    writer.append([])
    writer.append([text(2)])
    writer.append([])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), text(2), DONE]


async def test_finish_returns_when_its_entries_are_committed(engine: Engine) -> None:
    writer = await begin(engine)
    writer.append([text(2)])
    await writer.finish([text(3), DONE])
    assert writer.stream.ended
    assert writer.stream.read(0) == [text(1), text(2), text(3), DONE]


async def test_the_terminal_entry_is_committed_with_the_entries_given_along(engine: Engine) -> None:
    writer = await begin(engine)
    with counted(writer.stream) as sizes:
        await writer.finish([text(2), text(3), DONE])
    assert set(sizes) == {4}


async def test_what_was_read_once_reads_the_same_again(engine: Engine) -> None:
    writer = await begin(engine)
    writer.append([text(2)])
    await caught_up(writer.stream, 2)
    first = writer.stream.read(0)
    await writer.finish([DONE])
    assert writer.stream.read(0)[:2] == first
    assert (await engine.get(writer.stream.header.id, "ann")).read(0)[:2] == first


@pytest.mark.parametrize(
    "entry", [b"", b"#1 1", b"#1 1 end", b"\0", b"\r", b"\xff\xfe", "t\u2028\x85".encode(), b"a" * 100_000]
)
async def test_an_entry_is_any_bytes_without_a_line_end(engine: Engine, entry: bytes) -> None:
    writer = await begin(engine, entry)
    writer.append([entry, entry])
    await writer.finish([entry, DONE])
    assert writer.stream.read(0) == [entry] * 4 + [DONE]
    again = await engine.get(writer.stream.header.id, "ann")
    assert again.read(0) == [entry] * 4 + [DONE]


async def test_read_after_the_last_entry_gives_nothing(engine: Engine) -> None:
    writer = await begin(engine)
    assert (writer.stream.read(1), writer.stream.read(99)) == ([], [])


# --- one end


async def test_an_ended_stream_refuses_to_be_appended_to(engine: Engine) -> None:
    writer = await begin(engine)
    await writer.finish([DONE])
    with pytest.raises(StreamEnded):
        writer.append([text(2)])
    assert writer.stream.read(0) == [text(1), DONE]


async def test_finish_on_an_ended_stream_does_nothing(engine: Engine) -> None:
    writer = await begin(engine)
    await writer.finish([DONE])
    await writer.finish([text(2), LOST])
    assert writer.stream.read(0) == [text(1), DONE]


@pytest.mark.parametrize("ended", [False, True])
async def test_the_log_says_whether_a_stream_has_an_entry(engine: Engine, ended: bool) -> None:
    writer = await begin(engine, text(1), text(2))
    if ended:
        await writer.finish([DONE])
    last = len(writer.stream.entries)
    assert [await engine.reach(writer.stream, number) for number in (0, 1, last, last + 1, 10**9)] == [
        *[True] * 3,
        *[False] * 2,
    ]


async def test_the_stream_stays_ended_however_it_is_got(engine: Engine) -> None:
    writer = await begin(engine)
    await writer.finish([DONE])
    header = writer.stream.header
    del writer
    again = await engine.get(header.id, "ann")
    assert (again.ended, again.read(0), again.header) == (True, [text(1), DONE], header)


# --- get: only the owner


async def test_a_running_stream_is_one_object_for_everybody(engine: Engine) -> None:
    writer = await begin(engine)
    assert await engine.get(writer.stream.header.id, "ann") is writer.stream


@pytest.mark.parametrize("name", ["", "nobody", "0" * 32, "a.b", "'; --", "\u2028", "x" * 10_000])
async def test_an_unknown_stream_is_told(engine: Engine, name: str) -> None:
    with pytest.raises(UnknownStream):
        await engine.get(name, "ann")


@pytest.mark.parametrize("ended", [False, True])
async def test_another_owners_stream_is_as_unknown_as_none(engine: Engine, ended: bool) -> None:
    writer = await begin(engine, owner="ann")
    if ended:
        await writer.finish([DONE])
    with pytest.raises(UnknownStream) as foreign:
        await engine.get(writer.stream.header.id, "bob")
    with pytest.raises(UnknownStream) as unknown:
        await engine.get("f" * 32, "bob")
    assert str(foreign.value).replace(writer.stream.header.id, "ID") == str(unknown.value).replace("f" * 32, "ID")


# --- wait and follow


async def test_wait_returns_at_once_when_there_is_more(engine: Engine) -> None:
    writer = await begin(engine, text(1), text(2))
    await writer.stream.wait(0)
    await writer.stream.wait(1)
    await writer.finish([DONE])
    await writer.stream.wait(99)


async def test_wait_returns_after_a_commit(engine: Engine) -> None:
    writer = await begin(engine)
    waiting = asyncio.create_task(writer.stream.wait(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    writer.append([text(2)])
    await waiting
    assert writer.stream.read(1) == [text(2)]


async def test_a_wake_up_may_be_spurious_and_harms_no_follower(engine: Engine) -> None:
    writer = await begin(engine)
    reading = asyncio.create_task(whole(writer.stream))
    for _ in range(3):
        await asyncio.sleep(0)
        writer.stream.wake()
    writer.append([text(2)])
    writer.stream.wake()
    await writer.finish([DONE])
    assert await reading == [text(1), text(2), DONE]


async def test_a_listener_may_leave_while_it_is_called(engine: Engine) -> None:
    writer = await begin(engine)
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


async def test_every_follower_gets_exactly_what_comes_after_its_cursor(engine: Engine) -> None:
    writer = await begin(engine)
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


async def test_a_cancelled_follower_leaves_no_trace(engine: Engine) -> None:
    writer = await begin(engine)
    reading = asyncio.create_task(whole(writer.stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    with counted(writer.stream) as calls:
        writer.stream.wake()
    assert calls == [1], "nobody else listens"


async def test_following_an_ended_stream_from_its_end_gives_nothing(engine: Engine) -> None:
    writer = await begin(engine)
    await writer.finish([DONE])
    assert [entries async for entries in follow(writer.stream, 2)] == []


# --- stop


async def test_cancel_is_told_to_the_producer(engine: Engine) -> None:
    writer = await begin(engine)
    assert not writer.stop_requested
    calls: list[bool] = []
    writer.on_stop = lambda: calls.append(writer.stop_requested)
    await engine.cancel(writer.stream)
    assert calls == [True]


async def test_cancel_again_changes_nothing_and_ends_nothing_by_itself(engine: Engine) -> None:
    writer = await begin(engine)
    calls: list[int] = []
    writer.on_stop = lambda: calls.append(1)
    await engine.cancel(writer.stream)
    await engine.cancel(writer.stream)
    assert (calls, writer.stop_requested, writer.stream.ended) == ([1], True, False)
    writer.append([text(2)])
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), text(2), DONE]


async def test_cancel_after_the_end_changes_nothing(engine: Engine) -> None:
    writer = await begin(engine)
    await writer.finish([DONE])
    with counted(writer.stream) as calls:
        await engine.cancel(writer.stream)
    assert (calls, writer.stop_requested, writer.stream.read(0)) == ([], False, [text(1), DONE])


# --- one key, one stream


async def test_the_same_key_and_body_attach_to_the_stream_made_first(engine: Engine) -> None:
    first = await create(engine, new_header(), [text(1)], key())
    first.append([text(2)])
    assert await attach(engine, key()) is first.stream


async def test_the_second_stream_of_a_key_does_not_exist(engine: Engine) -> None:
    await engine.create(new_header(), [text(1)], key())
    header = new_header()
    await engine.create(header, [text(1)], key())
    with pytest.raises(UnknownStream):
        await engine.get(header.id, "ann")


async def test_a_key_attaches_after_the_end_too(engine: Engine) -> None:
    writer = await create(engine, new_header(), [text(1)], key())
    await writer.finish([DONE])
    del writer
    again = await attach(engine, key())
    assert (again.read(0), again.ended) == ([text(1), DONE], True)


async def test_the_same_key_with_another_body_is_refused(engine: Engine) -> None:
    first = await create(engine, new_header(), [text(1)], key(digest=b"one"))
    header = new_header()
    with pytest.raises(KeyReused):
        await engine.create(header, [text(1)], key(digest=b"two"))
    with pytest.raises(UnknownStream):
        await engine.get(header.id, "ann")
    assert await attach(engine, key(digest=b"one")) is first.stream


async def test_a_key_can_be_looked_up_without_making_anything(engine: Engine) -> None:
    assert await engine.keyed("ann", key()) is None
    first = await create(engine, new_header(), [text(1)], key())
    for _ in range(2):
        found = await engine.keyed("ann", key())
        assert found is not None
        assert found.header == first.stream.header
        assert await engine.keyed("ben", key()) is None
        assert await engine.keyed("ann", key("other")) is None
        with pytest.raises(KeyReused):
            await engine.keyed("ann", key(digest=b"another"))
        await first.finish([DONE])  # and after the end


async def test_another_owners_key_is_another_key(engine: Engine) -> None:
    anns = await create(engine, new_header("ann"), [text(1)], key(digest=b"one"))
    bobs = await create(engine, new_header("bob"), [text(1)], key(digest=b"two"))
    assert anns.stream.header.id != bobs.stream.header.id


async def test_without_a_key_every_create_makes_a_stream(engine: Engine) -> None:
    assert (await begin(engine)).stream.header.id != (await begin(engine)).stream.header.id


@pytest.mark.parametrize("known", [False, True])
async def test_fifty_creates_with_one_key_at_once_make_one_stream(engine: Engine, known: bool) -> None:
    """Also where the caller chose the stream's id, and all choose the same."""
    header = new_header()
    headers = [header if known else new_header() for _ in range(50)]
    made = await asyncio.gather(*(engine.create(each, [text(1)], key()) for each in headers))
    assert sum(isinstance(one, StreamWriter) for one in made) == 1
    assert len({id(one.stream if isinstance(one, StreamWriter) else one) for one in made}) == 1


async def test_a_refused_key_does_not_harm_the_creates_beside_it(engine: Engine) -> None:
    await engine.create(new_header(), [text(1)], key(digest=b"one"))
    digests = [b"two" if number % 2 else b"one" for number in range(20)]
    outcomes = await asyncio.gather(
        *(engine.create(new_header(), [text(1)], key(digest=digest)) for digest in digests),
        engine.create(new_header(), [text(1)], key("other")),
        engine.create(new_header(), [text(1)]),
        return_exceptions=True,
    )
    assert [type(outcome) is KeyReused for outcome in outcomes[:20]] == [digest == b"two" for digest in digests]
    assert all(isinstance(outcome, StreamWriter) for outcome in outcomes[20:])


# --- many at once


async def test_many_streams_side_by_side_do_not_mix(engine: Engine) -> None:
    async def produce(name: str) -> None:
        writer = await begin(engine, text(1, name))
        for number in range(2, 50):
            writer.append([text(number, name)])
            await asyncio.sleep(0)
        await writer.finish([text(50, name), DONE])
        assert (await engine.get(writer.stream.header.id, "ann")).read(0) == [
            *(text(n, name) for n in range(1, 51)),
            DONE,
        ]

    await asyncio.gather(*(produce(f"stream {number}") for number in range(40)))


async def test_reap_leaves_the_streams_of_the_living_alone(engine: Engine) -> None:
    writer = await begin(engine)
    assert await engine.reap() == 0
    await writer.finish([DONE])
    assert writer.stream.read(0) == [text(1), DONE]


# --- who reads, and what is deleted


async def test_a_stream_is_attended_while_somebody_reads_it(engine: Engine) -> None:
    writer = await begin(engine)
    assert not await writer.attended(60)
    writer.stream.enter()
    writer.stream.enter()
    writer.stream.leave()
    assert await writer.attended(0)
    writer.stream.leave()
    assert not await writer.attended(60)


async def test_a_producer_can_be_told_when_a_reader_leaves(engine: Engine) -> None:
    writer = await begin(engine)
    left: list[int] = []
    writer.on_leave = lambda: left.append(writer.stream.readers)
    writer.stream.enter()
    writer.stream.enter()
    writer.stream.leave()
    writer.stream.leave()
    assert left == [1, 0]


async def test_only_what_is_older_than_that_is_deleted_with_its_key(engine: Engine) -> None:
    running = await create(engine, new_header(), [text(1)], key("running"))
    ended = await create(engine, new_header(), [text(1)], key("ended"))
    await ended.finish([DONE])
    gone = ended.stream.header.id
    await begin(engine)  # commits after all that was asked for before
    assert await engine.expire(3600) == 0
    assert await engine.expire(-3600) == 1
    assert await engine.expire(-3600) == 0
    with pytest.raises(UnknownStream):
        await engine.get(gone, "ann")
    again = await create(engine, new_header(), [text(1)], key("ended"))
    assert again.stream.header.id != gone
    assert await engine.get(running.stream.header.id, "ann") is running.stream
    await attach(engine, key("running"))


async def test_streams_that_are_named_are_deleted_with_their_keys_once_they_have_ended(engine: Engine) -> None:
    running = await create(engine, new_header(), [text(1)], key("running"))
    ended = await create(engine, new_header(), [text(1)], key("ended"))
    kept = await begin(engine)
    await kept.finish([DONE])
    await ended.finish([DONE])
    await begin(engine)  # commits after all that was asked for before
    assert await engine.delete([running.stream.header.id, ended.stream.header.id, "unknown"]) == [
        running.stream.header.id
    ]
    with pytest.raises(UnknownStream):
        await engine.get(ended.stream.header.id, "ann")
    assert ended.stream.read(0) == [text(1), DONE]  # who reads it goes on, nobody else finds it
    await create(engine, new_header(), [text(1)], key("ended"))
    await attach(engine, key("running"))
    assert (await engine.get(kept.stream.header.id, "ann")).ended


@pytest.mark.parametrize("jump", [86_400, -86_400])
async def test_a_clock_that_is_set_another_day_makes_no_stream_old(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    real = time.time
    for moved in (0, jump):
        monkeypatch.setattr(time, "time", lambda moved=moved: real() + moved)
        await (await begin(engine)).finish([DONE])
        await begin(engine)  # commits after all that was asked for before
    assert await engine.expire(3600) == 0
    assert await engine.expire(-1) == 2


async def test_many_streams_expire_in_one_go(engine: Engine) -> None:
    for _ in range(450):
        await (await begin(engine)).finish([DONE])
    await begin(engine)
    assert await engine.expire(-3600) == 450


# --- several processes: what an engine must distribute


async def test_a_stream_of_another_process_is_read_while_it_grows(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        reading = [asyncio.create_task(whole(copy))]
        for number in range(2, 100):
            writer.append([text(number)])
            if number % 20 == 0:
                await caught_up(copy, number)
                assert await there.get(writer.stream.header.id, "ann") is copy
                reading.append(asyncio.create_task(whole(copy, number)))
        await writer.finish([DONE])
        everything = [*map(text, range(1, 100)), DONE]
        assert await reading[0] == everything
        for number, later in zip(range(20, 100, 20), reading[1:], strict=True):
            assert await later == everything[number:]


async def test_a_stream_that_has_ended_in_another_process_is_whole_and_its_owners_alone(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        await writer.finish([DONE])
        assert await whole(await there.get(writer.stream.header.id, "ann")) == [text(1), DONE]
        with pytest.raises(UnknownStream):
            await there.get(writer.stream.header.id, "bob")


async def test_a_cursor_from_another_process_is_reached_at_once(store: Store) -> None:
    """The reader was shown these entries there; here they are yet to be seen."""
    async with two(store) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        for number in range(2, 10):
            writer.append([text(number)])
            await caught_up(writer.stream, number)
            assert await there.reach(copy, number)
            assert copy.read(0)[:number] == [*map(text, range(1, number + 1))]
        assert not await there.reach(copy, 10)
        await writer.finish([DONE])
        assert await there.reach(copy, 10)
        assert (copy.read(9), copy.ended) == ([DONE], True)


async def test_many_streams_of_another_process_are_read_side_by_side(store: Store) -> None:
    async with two(store) as (here, there):
        writers = [await begin(here, text(1, str(number))) for number in range(50)]
        copies = await asyncio.gather(*(there.get(writer.stream.header.id, "ann") for writer in writers))
        reading = [asyncio.create_task(whole(copy)) for copy in copies]
        for number in range(2, 10):
            for name, writer in enumerate(writers):
                writer.append([text(number, str(name))])
            await asyncio.sleep(0)
        await asyncio.gather(*(writer.finish([DONE]) for writer in writers))
        for name, entries in enumerate(await asyncio.gather(*reading)):
            assert entries == [*(text(number, str(name)) for number in range(1, 10)), DONE]


async def test_one_key_makes_one_stream_in_all_processes(store: Store) -> None:
    async with two(store) as (here, there):
        engines = [here, there] * 25
        made = await asyncio.gather(*(each.create(new_header(), [text(1)], key()) for each in engines))
        (writer,) = (one for one in made if isinstance(one, StreamWriter))
        streams = [one for one in made if isinstance(one, Stream)]
        assert len(streams) == len(made) - 1
        assert {stream.header.id for stream in streams} == {writer.stream.header.id}
        for each in (here, there):
            found = await each.keyed("ann", key())
            assert found is not None
            assert found.header == writer.stream.header
            with pytest.raises(KeyReused):
                await each.create(new_header(), [text(1)], key(digest=b"another"))
        await writer.finish([DONE])
        for stream in streams:
            assert await whole(stream) == [text(1), DONE]


async def test_a_stop_reaches_the_producer_in_another_process(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        await there.cancel(copy)
        await there.cancel(copy)
        await stopped(writer)
        await writer.finish([DONE])
        assert await whole(copy) == [text(1), DONE]
        await there.cancel(copy)


async def test_a_place_in_the_line_is_known_in_another_process_and_none_to_who_has_text(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        writer.set_place(2)
        copy = await there.get(writer.stream.header.id, "ann")
        for place in (2, 1):
            writer.set_place(place)
            while copy.queued != place:
                await copy.wait(1)
        seen: list[tuple[int, int]] = []
        copy.listen(lambda: seen.append((len(copy.entries), copy.queued)))
        writer.set_place(0)
        writer.append([text(2)])
        await caught_up(copy, 2)
        assert all(not queued for size, queued in seen if size > 1), "text came to one who waits in line"
        await writer.finish([DONE])
        await whole(copy)
        assert copy.queued == 0


async def test_readers_in_another_process_count_and_those_who_have_left_do_not(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        copy.enter()
        await until(lambda: writer.attended(0))
        copy.leave()

        async def left() -> bool:
            return not await writer.attended(0)

        await until(left)
        await writer.finish([DONE])


async def test_what_is_deleted_in_another_process_is_unknown_here(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await create(here, new_header(), [text(1)], key())
        stream_id = writer.stream.header.id
        copy = await there.get(stream_id, "ann")
        assert await there.delete([stream_id]) == [stream_id], "it runs"
        await writer.finish([DONE])
        assert await whole(copy) == [text(1), DONE]
        await begin(here)  # commits after all that was asked for before
        assert await there.delete([stream_id]) == []
        for each in (here, there):
            with pytest.raises(UnknownStream):
                await each.get(stream_id, "ann")
            assert await each.keyed("ann", key()) is None
        assert copy.read(0) == [text(1), DONE], "who reads it goes on"


async def test_what_has_ended_expires_by_its_age_in_whatever_process_it_ended(store: Store) -> None:
    async with two(store) as (here, there):
        for each in (here, there):
            await (await begin(each)).finish([DONE])
            await begin(each)  # commits after all that was asked for before
        assert await there.expire(3600) == 0
        assert await there.expire(-1) == 2


# --- several processes: epochs


async def test_who_opens_the_store_later_has_a_larger_epoch(store: Store) -> None:
    async with two(store) as (here, there):
        first, second = await begin(here), await begin(there)
        assert first.epoch < second.epoch
        assert (await begin(here)).epoch == first.epoch


async def test_a_writer_with_an_old_epoch_is_refused_and_its_process_goes_on_with_a_new_one(store: Store) -> None:
    """It stood still, was taken for dead, and does not know it yet."""
    async with two(store) as (here, there):
        writer = await begin(here)
        copy = await there.get(writer.stream.header.id, "ann")
        await take_for_dead(store, there, writer.epoch)
        with suppress(EngineError):  # told at once, or with the commit
            writer.append([text(2)])
        await broken_off(writer)
        with pytest.raises(EngineError):
            writer.append([text(3)])
        with suppress(EngineError):
            await writer.finish([text(4), DONE])
        await writer.fail(FAILED)
        assert await whole(copy) == [text(1), LOST]
        assert await whole(writer.stream) == [text(1), LOST], "live readers see the end that is in the store"
        again = await begin(here)
        assert again.epoch > writer.epoch
        await again.finish([DONE])
        assert await whole(await there.get(again.stream.header.id, "ann")) == [text(1), DONE]


async def test_a_process_with_an_old_epoch_learns_it_though_it_has_nothing_to_append(store: Store) -> None:
    async with two(store) as (here, there):
        writer = await begin(here)
        told = asyncio.Event()
        writer.on_stop = told.set
        await take_for_dead(store, there, writer.epoch)
        await told.wait()
        await writer.fail(FAILED)
        assert await whole(writer.stream) == [text(1), LOST]


async def test_reap_ends_the_streams_of_the_dead_alone_and_once(store: Store) -> None:
    async with two(store) as (here, there):
        dead, alive = [await begin(here), await begin(here)], await begin(there)
        ended = await begin(here)
        await ended.finish([DONE])
        reaped = 0
        while not reaped:
            await store.end_lease(dead[0].epoch)
            reaped = await there.reap()
        assert (reaped, await there.reap()) == (2, 0)
        for writer in dead:
            assert await whole(await there.get(writer.stream.header.id, "ann")) == [text(1), LOST]
        assert await whole(await there.get(ended.stream.header.id, "ann")) == [text(1), DONE]
        await alive.finish([DONE])
        assert alive.stream.read(0) == [text(1), DONE]


# --- what lasts


async def reopened(store: Store) -> Engine:
    """Return a handle that comes after all others were closed."""
    if not store.lasting:
        pytest.skip("this store keeps nothing once it is closed")
    return store.handle()


async def test_what_has_ended_is_the_same_when_the_store_is_opened_again(store: Store) -> None:
    async with store.handle() as before:
        writer = await create(before, new_header(), [text(1)], key())
        writer.append([text(2)])
        await writer.finish([text(3), DONE])
        header = writer.stream.header
    async with await reopened(store) as after:
        again = await after.get(header.id, "ann")
        assert (again.header, again.read(0), again.ended) == (header, [*map(text, range(1, 4)), DONE], True)
        assert (await attach(after, key())).header == header


async def test_what_still_ran_when_the_store_was_closed_is_lost_after_what_was_appended(store: Store) -> None:
    async with store.handle() as before:
        writer = await begin(before)
        for number in range(2, 100):
            writer.append([text(number)])
        header = writer.stream.header
    async with await reopened(store) as after:
        again = await after.get(header.id, "ann")
        assert (again.read(0), again.ended) == ([*map(text, range(1, 100)), LOST], True)
