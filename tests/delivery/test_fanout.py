"""From streams to sockets: who gets what, who waits for nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.asgi.subscriber import Cut, serve
from tickertape.delivery.fanout import HEARTBEAT, Fanout
from tickertape.dialects.base import View
from tickertape.errors import EngineUnavailable
from tickertape.streams.contract import Header, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tickertape.asgi.types import Message


class Plain(View):
    """A dialect in which an event is its number and its entry; counts what it is asked to render."""

    stateless = True
    renderings = 0

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self.name = header.id

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        Plain.renderings += 1
        return b"".join(b"%d:%b\n" % (number, entry) for number, entry in enumerate(entries, first))


class Socket:
    """The other side of one response: takes what is sent, unless its gate is shut."""

    def __init__(self) -> None:
        self.body = b""
        self.writes = 0
        self.ended = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.left = asyncio.Event()
        self.error: Exception | None = None
        self.waiting = False
        self.invalid = 0

    async def send(self, message: Message) -> None:
        if not self.gate.is_set():
            self.waiting = True
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        assert not self.ended, "something was sent after the end"
        if message["type"] != "http.response.body" or not isinstance(message["body"], bytes):
            self.invalid += 1
            raise TypeError("no server takes this")
        self.body += message["body"]
        self.writes += 1
        if not message["more_body"]:
            self.ended = True
            self.left.set()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


def a_stream(*entries: bytes, ended: bool = False) -> Stream:
    return Stream(Header(id="s", owner="ann", model="m", created=0), list(entries), ended=ended)


@pytest.fixture
async def fanout() -> AsyncIterator[Fanout]:
    made = Fanout()
    yield made
    made.close()


def attach(
    fanout: Fanout, stream: Stream, socket: Socket, after: int = 0, dialect: type[Plain] = Plain
) -> asyncio.Task[None]:
    return asyncio.create_task(serve(fanout, stream, after, dialect, socket.send, socket.receive))  # type: ignore[arg-type]


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def is_cut(serving: asyncio.Task[None]) -> Cut:
    """Return what a request raised that was cut."""
    with pytest.raises(Cut) as raised:
        await serving
    return raised.value


def text(*numbers: int) -> bytes:
    return b"".join(b"%d:e%d\n" % (number, number) for number in numbers)


async def test_a_reader_gets_what_is_there_what_comes_and_the_end(fanout: Fanout) -> None:
    stream, socket = a_stream(b"e1", b"e2"), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: socket.body == text(1, 2))
    stream.extend([b"e3"])
    await until(lambda: socket.body == text(1, 2, 3))
    stream.extend([b"e4"], ended=True)
    await serving
    assert (socket.body, socket.ended) == (text(1, 2, 3, 4), True)
    assert (fanout.subscribers, stream.readers, fanout.sent) == (0, 0, 4)


@pytest.mark.parametrize("after", range(5))
async def test_a_reader_with_cursor_k_gets_exactly_what_comes_after_k(fanout: Fanout, after: int) -> None:
    stream, socket = a_stream(b"e1", b"e2", b"e3", b"e4", b"e5", ended=True), Socket()
    await attach(fanout, stream, socket, after)
    assert socket.body == text(*range(after + 1, 6))


async def test_a_long_stream_is_replayed_in_slices_and_whole(fanout: Fanout) -> None:
    stream, socket = a_stream(*(b"e%d" % number for number in range(1, 3001)), ended=True), Socket()
    await attach(fanout, stream, socket)
    assert socket.body == text(*range(1, 3001))
    assert socket.writes == 6


async def test_readers_at_the_same_place_share_one_rendering(fanout: Fanout) -> None:
    stream, sockets = a_stream(b"e1"), [Socket() for _ in range(1000)]
    serving = [attach(fanout, stream, socket) for socket in sockets]
    await until(lambda: all(socket.body == text(1) for socket in sockets))
    before = Plain.renderings
    stream.extend([b"e2"], ended=True)
    await asyncio.gather(*serving)
    assert all(socket.body == text(1, 2) for socket in sockets)
    assert Plain.renderings == before + 1


async def test_a_slow_reader_holds_nobody_up_and_catches_up_from_its_index(fanout: Fanout) -> None:
    stream, slow, quick = a_stream(b"e1"), Socket(), Socket()
    serving = [attach(fanout, stream, slow), attach(fanout, stream, quick)]
    await until(lambda: slow.body and quick.body)
    slow.gate.clear()
    for number in range(2, 100):
        stream.extend([b"e%d" % number])
        await until(lambda: quick.body == text(*range(1, number + 1)))  # noqa: B023 - awaited at once
    assert slow.body == text(1)
    slow.gate.set()
    stream.extend([b"e100"], ended=True)
    await asyncio.gather(*serving)
    assert slow.body == quick.body == text(*range(1, 101))
    assert slow.writes <= 4, "what it missed came piece by piece"


async def test_a_reader_that_blocks_on_the_last_write_still_gets_it(fanout: Fanout) -> None:
    stream, socket = a_stream(b"e1"), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: socket.body)
    socket.gate.clear()
    stream.extend([b"e2"], ended=True)
    await asyncio.sleep(0)
    socket.gate.set()
    await serving
    assert (socket.body, socket.ended) == (text(1, 2), True)


async def test_a_reader_that_leaves_is_forgotten(fanout: Fanout) -> None:
    stream, socket, other = a_stream(b"e1"), Socket(), Socket()
    serving = attach(fanout, stream, socket)
    staying = attach(fanout, stream, other)
    await until(lambda: socket.body and other.body)
    assert (stream.readers, fanout.subscribers) == (2, 2)
    socket.left.set()
    await serving
    assert (stream.readers, fanout.subscribers) == (1, 1)
    stream.extend([b"e2"], ended=True)
    await staying
    assert (socket.body, other.body) == (text(1), text(1, 2))


async def test_a_reader_whose_connection_fails_does_not_stop_the_flush(fanout: Fanout) -> None:
    stream, broken, sound = a_stream(b"e1"), Socket(), Socket()
    serving = [attach(fanout, stream, broken), attach(fanout, stream, sound)]
    await until(lambda: broken.body and sound.body)
    broken.error = OSError("gone")
    stream.extend([b"e2"], ended=True)
    await is_cut(serving[0])
    await serving[1]
    assert sound.body == text(1, 2)
    assert not broken.ended


async def test_a_connection_that_fails_while_its_reader_is_slow_is_cut(fanout: Fanout) -> None:
    stream, broken, sound = a_stream(b"e1"), Socket(), Socket()
    serving = [attach(fanout, stream, broken), attach(fanout, stream, sound)]
    await until(lambda: broken.body and sound.body)
    broken.gate.clear()
    stream.extend([b"e2"])
    await until(lambda: sound.body == text(1, 2))
    broken.error = OSError("gone")
    broken.gate.set()
    await is_cut(serving[0])
    stream.extend([b"e3"], ended=True)
    await serving[1]
    assert (broken.body, broken.ended, sound.body) == (text(1), False, text(1, 2, 3))


class Damaged(Plain):
    """A dialect that cannot read one of the entries."""

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        if b"damaged" in entries:
            raise EngineUnavailable("The log holds an entry that this version cannot read.")
        return super().feed(entries, first)


async def test_an_entry_that_cannot_be_read_cuts_its_readers_and_nobody_else(
    fanout: Fanout, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, sound = a_stream(b"e1"), a_stream(b"e1")
    sockets = [Socket() for _ in range(4)]
    streams = [damaged, sound, damaged, sound]
    serving = [attach(fanout, stream, socket, 0, Damaged) for stream, socket in zip(streams, sockets, strict=True)]
    await until(lambda: all(socket.body == text(1) for socket in sockets))
    damaged.extend([b"damaged"])
    sound.extend([b"e2"])  # in the same flush, after the damaged one
    await until(lambda: sockets[1].body == sockets[3].body == text(1, 2))
    for cut in serving[0], serving[2]:
        await is_cut(cut)
    late = Socket()
    await is_cut(attach(fanout, damaged, late, 0, Damaged))
    sound.extend([b"e3"], ended=True)
    await asyncio.gather(serving[1], serving[3])
    assert [socket.ended for socket in sockets] == [False, True, False, True]
    assert (late.body, late.ended) == (b"", False)
    assert "cannot read" in caplog.text


async def test_closing_cuts_every_reader_without_an_end(fanout: Fanout) -> None:
    stream, socket, slow = a_stream(b"e1"), Socket(), Socket()
    serving = [attach(fanout, stream, socket), attach(fanout, stream, slow)]
    await until(lambda: socket.body and slow.body)
    slow.gate.clear()
    stream.extend([b"e2"])
    await until(lambda: socket.body == text(1, 2))
    fanout.close()
    await is_cut(serving[0])
    assert fanout.subscribers == stream.readers == 0
    slow.gate.set()
    await is_cut(serving[1])
    assert not socket.ended
    assert not slow.ended
    late = Socket()
    await is_cut(attach(fanout, stream, late))
    assert not late.ended, "a reader who comes after the close is cut too"


async def test_silence_is_bridged_by_comments_of_one_line() -> None:
    fanout = Fanout(heartbeat=0.02)
    stream, socket = a_stream(b"e1"), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: socket.body.count(HEARTBEAT) >= 3)
    assert HEARTBEAT == b": ping\n"
    stream.extend([b"e2"], ended=True)
    await serving
    assert socket.body.replace(HEARTBEAT, b"") == text(1, 2)
    fanout.close()


async def test_a_reader_that_takes_nothing_is_cut_after_the_send_timeout() -> None:
    fanout = Fanout(heartbeat=0.02, send_timeout=0.05)
    stream, stuck, well = a_stream(b"e1"), Socket(), Socket()
    serving, other = attach(fanout, stream, stuck), attach(fanout, stream, well)
    await until(lambda: stuck.body and well.body)
    stuck.gate.clear()
    stream.extend([b"e2"])
    await until(lambda: fanout.subscribers == stream.readers == 1)
    stuck.gate.set()
    assert "took nothing for 0.05 s" in str(await is_cut(serving))
    assert not stuck.ended
    assert not other.done()
    stream.extend([b"e3"], ended=True)
    await other
    assert well.body.replace(HEARTBEAT, b"") == text(1, 2, 3)
    fanout.close()


async def test_a_reader_is_told_its_place_in_the_line_by_a_comment(fanout: Fanout) -> None:
    stream, socket = a_stream(b"e1"), Socket()
    stream.queued = 3
    serving = attach(fanout, stream, socket)
    await until(lambda: b": queued, 2 before you\n" in socket.body)
    stream.queued = 1
    stream.wake()
    await until(lambda: b": queued, 0 before you\n" in socket.body)
    stream.queued = 0
    stream.extend([b"e2"], ended=True)
    await serving
    assert socket.body.endswith(text(2))


async def test_a_slow_reader_is_told_its_place_once_it_takes_more(fanout: Fanout) -> None:
    stream, slow, quick = a_stream(b"e1"), Socket(), Socket()
    serving = [attach(fanout, stream, slow), attach(fanout, stream, quick)]
    await until(lambda: slow.body and quick.body)
    slow.gate.clear()
    stream.extend([b"e2"])
    await until(lambda: quick.body == text(1, 2))
    stream.queued = 2
    stream.wake()
    await until(lambda: b": queued, 1 before you\n" in quick.body)
    slow.gate.set()
    await until(lambda: b": queued, 1 before you\n" in slow.body)
    stream.queued = 0
    stream.extend([b"e3"], ended=True)
    await asyncio.gather(*serving)
    assert slow.body.count(b"queued") == quick.body.count(b"queued") == 1


async def test_everything_is_sent_by_the_task_of_the_request_and_no_other_outlives_it(fanout: Fanout) -> None:
    stream, socket = a_stream(b"e1"), Socket()
    tasks = set()

    async def send(message: Message) -> None:
        tasks.add(asyncio.current_task())
        await socket.send(message)

    before = asyncio.all_tasks()
    serving = asyncio.create_task(serve(fanout, stream, 0, Plain, send, socket.receive))  # type: ignore[arg-type]
    for number in range(2, 20):
        await until(lambda: socket.body == text(*range(1, number)))  # noqa: B023 - awaited at once
        socket.gate.clear() if number % 3 else socket.gate.set()
        stream.extend([b"e%d" % number])
        await asyncio.sleep(0)
        socket.gate.set()
    stream.extend([b"e20"], ended=True)
    await serving
    assert socket.body == text(*range(1, 21))
    assert tasks == {serving}
    assert asyncio.all_tasks() == before


async def test_a_receive_that_fails_cuts_its_reader_and_the_log_says_why(
    fanout: Fanout, caplog: pytest.LogCaptureFixture
) -> None:
    stream, socket = a_stream(b"e1"), Socket()

    async def receive() -> Message:
        await socket.left.wait()
        raise RuntimeError("this server is broken")

    serving = asyncio.create_task(serve(fanout, stream, 0, Plain, socket.send, receive))  # type: ignore[arg-type]
    await until(lambda: socket.body)
    socket.left.set()
    assert str((await is_cut(serving)).__cause__) == "this server is broken"
    assert "A reader of stream s is cut: receive raised RuntimeError('this server is broken')" in caplog.text
    assert not socket.ended
    assert stream.readers == 0


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_request_that_its_server_cancels_is_left_unfinished_at_once(fanout: Fanout, blocked: bool) -> None:
    stream, socket = a_stream(b"e1"), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: socket.body)
    if blocked:
        socket.gate.clear()
        stream.extend([b"e2"])
        await until(lambda: socket.waiting)
    before = asyncio.all_tasks()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not socket.ended
    assert (socket.invalid, stream.readers) == (0 if blocked else 2, 0)
    assert asyncio.all_tasks() < before


async def test_readers_who_come_and_go_at_any_time_read_exactly_the_log(fanout: Fanout) -> None:
    stream = a_stream()
    sockets: list[tuple[int, Socket, asyncio.Task[None]]] = []
    for number in range(1, 200):
        stream.extend([b"e%d" % number], ended=number == 199)
        for after in {0, number // 2, number} if number < 199 else ():
            socket = Socket()
            sockets.append((after, socket, attach(fanout, stream, socket, after)))
        if number % 3 == 0:
            sockets[number][1].gate.clear()
        if number % 7 == 0:
            sockets[number - 2][1].gate.set()
        await asyncio.sleep(0)
    for _after, socket, _serving in sockets:
        socket.gate.set()
    await asyncio.gather(*(serving for _after, _socket, serving in sockets))
    for after, socket, _serving in sockets:
        assert socket.body == text(*range(after + 1, 200))
        assert socket.ended


async def test_a_fan_out_without_readers_has_nothing_to_wake_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a sweep every second with nobody there."""
    loop = asyncio.get_running_loop()
    timers: list[Any] = []
    real = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda *given, **more: timers.append(real(*given, **more)) or timers[-1])
    fanout = Fanout(heartbeat=0.004)
    assert timers == []
    stream, socket = a_stream(b"e1"), Socket()
    serving = attach(fanout, stream, socket)
    await until(lambda: len(timers) > 2)
    stream.extend([b"e2"], ended=True)
    await serving
    await until(lambda: fanout._sweeping is None)
    assert all(timer.cancelled() or timer.when() <= loop.time() for timer in timers)
    fanout.close()
