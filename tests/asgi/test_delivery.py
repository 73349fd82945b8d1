"""A stream at home in any ASGI stack: whole where it is whole, cut where it is not, nothing outside of its request."""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from asgi.stacks import MIDDLEWARE, SERVERS, around_send, server
from delivery.test_fanout import Plain, a_stream, text, until
from tickertape.asgi.subscriber import Cut, deliver
from tickertape.asgi.waiting import ended
from tickertape.delivery.fanout import Fanout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.streams.contract import Stream

GET = b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"
COUNT = 11
WHOLE = text(*range(1, COUNT + 1))


class Unreadable(Plain):
    """A dialect that cannot render the sixth event."""

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        if first == 6:
            raise RuntimeError("this event cannot be rendered")
        return super().feed(entries, first)


class Streams:
    """An app with one stream of eleven events, of which each is written once its reader was sent the one before."""

    def __init__(self, dialect: type[Plain] = Plain, events: int = COUNT) -> None:
        self.dialect, self.events = dialect, events
        self.stream = a_stream()
        self.fanout: Fanout | None = None
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self.fanout is None:
            self.fanout = Fanout()
            self.producing = asyncio.create_task(self._produce(self.fanout))
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            await deliver(self.fanout, self.stream, 0, self.dialect, send, receive)
        except BaseException as error:
            self.raised.append(error)
            raise

    async def _produce(self, fanout: Fanout) -> None:
        for number in range(1, self.events + 1):
            await until(lambda: self._sent(fanout) == [number - 1])  # noqa: B023 - awaited at once
            self.stream.extend([b"e%d" % number], ended=number == COUNT)

    def _sent(self, fanout: Fanout) -> list[int]:
        """Return how much the reader was sent, if there is one that takes more."""
        return [r.index for channel in fanout._channels.values() for r in channel.subscribers if r.open]

    def close(self) -> None:
        assert self.fanout is not None
        self.producing.cancel()
        self.fanout.close()


async def read(connect: Callable[[], Any], request: bytes = GET) -> tuple[bytes, bool]:
    """Ask, and return what came of the body, and whether it ended properly."""
    reader, writer = await connect()
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = b""
        whole = False
        try:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            whole = await reader.readexactly(2) == b"\r\n"
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        return zlib.decompressobj(31).decompress(body) if b"content-encoding: gzip" in head else body, whole
    finally:
        writer.close()


STACKS = [("uvicorn with httptools", name) for name in MIDDLEWARE] + [
    (name, middleware) for name in SERVERS[1:] for middleware in ("none", "BaseHTTPMiddleware twice")
]
stacks = pytest.mark.parametrize(("host", "middleware"), STACKS)


@stacks
async def test_a_stream_is_whole_in_every_stack(host: str, middleware: str, tmp_path: Path) -> None:
    streams = Streams()
    async with server(host, MIDDLEWARE[middleware](streams), tmp_path) as connect:
        assert await read(connect) == (WHOLE, True)
    assert streams.raised == []
    streams.close()


@stacks
async def test_a_stream_that_cannot_be_rendered_is_cut_in_every_stack(
    host: str, middleware: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    streams = Streams(Unreadable)
    async with server(host, MIDDLEWARE[middleware](streams), tmp_path) as connect:
        body, whole = await read(connect)
    assert WHOLE.startswith(body)
    assert not whole
    assert "this event cannot be rendered" in caplog.text
    streams.close()


@stacks
async def test_the_end_of_the_process_cuts_a_stream_in_every_stack(host: str, middleware: str, tmp_path: Path) -> None:
    streams = Streams(events=5)
    async with server(host, MIDDLEWARE[middleware](streams), tmp_path) as connect:
        reading = asyncio.create_task(read(connect))
        await until(lambda: streams.fanout and streams.fanout.sent == 5 and streams.producing.done())
        streams.close()
        body, whole = await reading
    assert WHOLE.startswith(body)
    assert not whole


@stacks
async def test_a_client_that_leaves_is_noticed_in_every_stack(host: str, middleware: str, tmp_path: Path) -> None:
    streams = Streams(events=5)
    async with server(host, MIDDLEWARE[middleware](streams), tmp_path) as connect:
        _reader, writer = await connect()
        writer.write(GET)
        await until(lambda: streams.fanout and streams.fanout.sent == 5 and streams.producing.done())
        assert streams.stream.readers == 1
        writer.close()
        await until(lambda: streams.stream.readers == 0)
    assert streams.raised == []
    streams.close()


@pytest.mark.parametrize("outer", ["none", "BaseHTTPMiddleware", "BaseHTTPMiddleware twice"])
@pytest.mark.parametrize("host", SERVERS)
async def test_a_middleware_that_fails_cuts_the_stream_and_the_log_says_why(
    host: str, outer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(send: Send) -> Send:
        async def wrapper(message: Message) -> None:
            if b"6:e6\n" in message.get("body", b""):
                raise RuntimeError("the middleware is at fault")
            await send(message)

        return wrapper

    streams = Streams()
    async with server(host, MIDDLEWARE[outer](around_send(failing)(streams)), tmp_path) as connect:
        body, whole = await read(connect)
    assert (body, whole) == (text(*range(1, 6)), False)
    (record,) = [record for record in caplog.records if record.name == "tickertape"]
    assert record.levelno == logging.WARNING
    assert "A reader of stream s is cut: send raised RuntimeError('the middleware is at fault')" in record.getMessage()
    assert record.exc_info
    streams.close()


@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_a_stream_is_whole_and_a_cut_is_an_error_in_starlettes_test_client(middleware: str) -> None:
    wrap = MIDDLEWARE[middleware]
    assert TestClient(wrap(Streams())).get("/").content == WHOLE  # type: ignore[arg-type]  # Starlette's types are wider
    with pytest.raises((Cut, TypeError, AttributeError)):
        TestClient(wrap(Streams(Unreadable))).get("/")  # type: ignore[arg-type]


async def deliver_to_the_end(stream: Stream, receive: Receive) -> None:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message["body"])

    await deliver(Fanout(), stream, 0, Plain, send, receive)
    assert b"".join(sent) == text(1, 2)


async def wait_for_the_end(stream: Stream, receive: Receive) -> None:
    assert await ended(stream, receive)


@pytest.mark.parametrize("way", [deliver_to_the_end, wait_for_the_end])
async def test_a_receive_that_returns_the_body_again_and_again_does_not_stop_the_event_loop(way: Any) -> None:
    """Middleware that has read the body commonly puts such a `receive` in its place."""
    stream = a_stream(b"e1")
    reads = 0

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        assert reads < 100, "it is read without end"
        return {"type": "http.request", "body": b"{}", "more_body": False}

    waiting = asyncio.create_task(way(stream, receive))
    await until(lambda: reads)
    stream.extend([b"e2"], ended=True)
    await waiting
