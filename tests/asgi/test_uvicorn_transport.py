"""Past ``send`` to uvicorn's socket: the same bytes, and only where that is safe."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi import Response as FastAPIResponse
from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from delivery.test_fanout import Plain, a_stream, text, until
from tickertape.asgi import subscriber, uvicorn_transport
from tickertape.asgi.connection import below
from tickertape.asgi.subscriber import deliver, serve
from tickertape.asgi.uvicorn_transport import END, MOST_AHEAD, Connection, ConnectionSubscriber, take_over
from tickertape.delivery.fanout import HEARTBEAT, Fanout
from tickertape.server.http_protocol import ConnectionLimits, Connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.streams.contract import Stream

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def wrapped(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        await send(message)

    return wrapper


class Site:
    """uvicorn with one stream; ``/serve`` keeps to `Fanout.serve`, ``/wrapped`` has middleware around ``send``."""

    def __init__(self, fanout: Fanout, stream: Stream) -> None:
        self.fanout, self.stream = fanout, stream
        self.config = Config(self.app, interface="asgi3", http="httptools", ws="none", lifespan="off", log_config=None)
        self.state = ServerState()
        self.taken: list[bool] = []

    async def app(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wrapped":
            send = wrapped(send)
        if scope["path"] == "/unread":
            response = send.__self__  # type: ignore[attr-defined]  # a bound method
            await until(lambda: not response.more_body)
        else:
            while (await receive())["more_body"]:
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.taken.append(take_over(send) is not None)
        way = serve if scope["path"] == "/serve" else deliver
        await way(self.fanout, self.stream, 0, Plain, send, receive)

    def protocol(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(self.config, self.state, {})

    async def connect(self, request: bytes = GET) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and ask."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**25)
        self.writers.append(writer)
        writer.write(request)
        return reader, writer

    async def __aenter__(self) -> Site:
        self.writers: list[asyncio.StreamWriter] = []
        self.server = await asyncio.get_running_loop().create_server(self.protocol, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.server.close()
        self.fanout.close()
        for writer in self.writers:
            writer.close()
            await writer.wait_closed()
        await until(lambda: not self.state.connections and not self.state.tasks)

    @property
    def wires(self) -> list[Any]:
        return [reader for channel in self.fanout._channels.values() for reader in channel.subscribers]


class LimitedSite(Site):
    """With deadlines for its connections."""

    def __init__(self, fanout: Fanout, stream: Stream) -> None:
        super().__init__(fanout, stream)
        timeouts = dict.fromkeys(("head_timeout", "body_timeout", "keep_alive", "send_timeout"), 0.1)
        limits = ConnectionLimits(max_head=65536, max_headers=100, connections=9, **timeouts)
        self.connections = Connections(self.config, self.state, {}, limits)

    def protocol(self) -> HttpToolsProtocol:
        self.connections.open += 1
        return self.connections.protocol()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(Fanout(), a_stream(b"e1")) as site:
        yield site


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def chunk(reader: asyncio.StreamReader) -> bytes:
    """Return one chunk's body, nothing for the last."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def body(reader: asyncio.StreamReader) -> bytes:
    """Return a whole response's body."""
    await head(reader)
    whole = b""
    while piece := await chunk(reader):
        whole += piece
    return whole


async def begun(site: Site, request: bytes = GET) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that has had the first event."""
    reader, writer = await site.connect(request)
    await head(reader)
    assert await chunk(reader) == text(1)
    return reader, writer


async def test_the_bytes_are_those_that_send_writes(site: Site) -> None:
    readers = [(await site.connect(GET.replace(b"/", path, 1)))[0] for path in (b"/", b"/serve", b"/wrapped")]
    await until(lambda: site.fanout.subscribers == 3)
    site.stream.extend([b"e2"])
    await until(lambda: site.fanout.sent == 6)
    site.stream.extend([b"e3", b"e4"], ended=True)
    first, *others = [await reader.readuntil(END) for reader in readers]
    assert others == [first, first]
    assert site.taken == [True, True, False]


async def test_the_request_is_over_while_its_stream_flows(site: Site) -> None:
    await begun(site)
    await until(lambda: not site.state.tasks)
    assert not site.state.connections
    assert site.fanout.subscribers == site.stream.readers == 1


async def test_the_connection_takes_the_next_request(site: Site) -> None:
    reader, writer = await begun(site)
    site.stream.extend([b"e2"], ended=True)
    assert (await chunk(reader), await chunk(reader)) == (text(2), b"")
    assert (site.fanout.subscribers, site.stream.readers) == (0, 0)
    (protocol,) = site.state.connections
    assert protocol.timeout_keep_alive_task is not None, "an idle connection would stay for ever"
    writer.write(GET)
    assert await body(reader) == text(1, 2)
    assert site.state.total_requests == 2


@pytest.mark.parametrize("when", ["at once", "while the stream flows", "in two parts"])
async def test_a_request_that_comes_early_is_answered_afterwards(site: Site, when: str) -> None:
    early = {"at once": GET, "while the stream flows": b"", "in two parts": GET[:9]}[when]
    reader, writer = await begun(site, GET + early)
    assert site.taken == [not early]
    writer.write((GET * 2)[len(early) :])
    site.stream.extend([b"e2"])
    assert await chunk(reader) == text(2)
    site.stream.extend([b"e3"], ended=True)
    assert (await chunk(reader), await chunk(reader)) == (text(3), b"")
    assert await body(reader) == text(1, 2, 3)
    if not early:
        assert await body(reader) == text(1, 2, 3)


async def test_what_is_sent_ahead_is_taken_only_up_to_a_limit(site: Site) -> None:
    reader, writer = await begun(site)
    (wire,) = site.wires
    writer.write(GET * 100_000)
    await until(lambda: not wire._transport.is_reading())
    assert MOST_AHEAD < len(wire._ahead) < MOST_AHEAD + 1_000_000  # and one read
    site.stream.extend([b"e2"], ended=True)
    assert (await chunk(reader), await chunk(reader)) == (text(2), b"")
    assert await body(reader) == text(1, 2)
    writer.transport.abort()


async def test_a_connection_that_is_not_kept_alive_is_closed_after_the_end(site: Site) -> None:
    reader, _writer = await begun(site, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    site.stream.extend([b"e2"], ended=True)
    assert await reader.read() == b"5\r\n2:e2\n\r\n" + END
    assert not site.state.connections


async def test_no_protocol_is_made_for_a_connection_on_which_no_request_comes_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _writer = await begun(site, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    made: list[Connection] = []
    protocol = Connection.protocol
    monkeypatch.setattr(Connection, "protocol", lambda self: made.append(self) or protocol(self))
    site.stream.extend([b"e2"], ended=True)
    assert (await reader.read()).endswith(END)
    assert not made


async def test_a_client_that_does_not_take_the_last_bytes_does_not_keep_a_connection_that_is_to_be_closed() -> None:
    async with LimitedSite(Fanout(), a_stream(b"e1")) as site:
        _reader, writer = await begun(site, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has it for what reads only
        (wire,) = site.wires
        wire._transport.set_write_buffer_limits(2**30)  # the rest fits into asyncio's buffer
        site.stream.extend([b"x" * 16_000_000], ended=True)  # more than the kernel takes
        await until(lambda: site.fanout.subscribers == 0)
        await until(lambda: not site.state.connections)
        assert site.connections.open == 0


async def test_a_head_request_is_left_to_send(site: Site) -> None:
    reader, _writer = await site.connect(GET.replace(b"GET", b"HEAD"))
    await head(reader)
    await until(lambda: site.taken)
    assert site.taken == [False]
    site.stream.extend([b"e2"], ended=True)


async def test_there_is_nothing_to_take_over_of_another_server() -> None:
    async def send(_message: Message) -> None:
        pass

    assert take_over(send) is None


async def test_a_full_connection_gets_no_more_until_it_takes_it_and_then_all_of_it(site: Site) -> None:
    slow, _writer = await begun(site)
    (wire,) = site.wires
    wire.pause_writing()
    quick, _writer = await begun(site)
    site.stream.extend([b"e2"])
    assert await chunk(quick) == text(2)
    site.stream.extend([b"e3"])
    assert await chunk(quick) == text(3)
    wire.resume_writing()
    assert await chunk(slow) == text(2, 3)
    site.stream.extend([b"e4"], ended=True)
    assert (await chunk(slow), await chunk(slow)) == (text(4), b"")


async def test_what_is_not_sent_at_the_end_is_sent_before_the_next_answer(site: Site) -> None:
    large = b"x" * 16_000_000  # more than the kernel takes
    reader, writer = await begun(site)
    site.stream.extend([large], ended=True)
    writer.write(GET)
    await until(lambda: site.fanout.subscribers == 0)
    assert (await chunk(reader), await chunk(reader)) == (b"2:%b\n" % large, b"")
    assert await body(reader) == text(1) + b"2:%b\n" % large


@pytest.mark.parametrize("path", [b"/", b"/serve"])
async def test_a_reader_that_takes_nothing_is_cut_after_the_send_timeout(path: bytes) -> None:
    fanout = Fanout(heartbeat=0.02, send_timeout=0.05)
    async with Site(fanout, a_stream(b"e1")) as site:
        reader, writer = await begun(site, GET.replace(b"/", path, 1))
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has it for what reads only
        site.stream.extend([b"x" * 16_000_000])  # more than the kernel takes
        await until(lambda: fanout.subscribers == 0)
        await until(lambda: not site.state.connections)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await chunk(reader)


async def test_a_request_that_is_cancelled_while_its_client_takes_nothing_keeps_no_connection(site: Site) -> None:
    _reader, writer = await begun(site, GET.replace(b"/", b"/serve", 1))
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    site.stream.extend([b"x" * 16_000_000])  # more than the kernel takes
    (request,) = site.state.tasks
    (reader,) = site.wires
    await until(lambda: not reader.open)
    request.cancel()
    await until(lambda: not site.state.connections)


async def test_a_slow_reader_that_has_caught_up_gets_no_heartbeat_before_it_is_due(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _writer = await begun(site)
    (wire,) = site.wires
    loop, fanout = asyncio.get_running_loop(), site.fanout
    wire.pause_writing()
    later = loop.time
    monkeypatch.setattr(loop, "time", lambda: later() + 30)  # two heartbeats, half of the send timeout
    wire.resume_writing()
    sweep = fanout._sweeping
    await until(lambda: fanout._sweeping is not sweep)
    site.stream.extend([b"e2"])
    assert await chunk(reader) == text(2)


async def test_silence_is_bridged_by_whole_chunks() -> None:
    async with Site(Fanout(heartbeat=0.02), a_stream(b"e1")) as site:
        reader, _writer = await begun(site)
        assert [await chunk(reader) for _ in range(3)] == [HEARTBEAT] * 3


async def test_a_reader_whose_large_body_was_not_read_is_noticed_when_it_leaves() -> None:
    async with Site(Fanout(heartbeat=3600), a_stream(b"e1")) as site:  # writing would notice it too
        size = 65_537  # beyond 65 536 uvicorn reads no further
        head = b"POST /unread HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
        _reader, writer = await begun(site, head + b"x" * size)
        assert site.taken == [True]
        writer.close()
        await until(lambda: site.fanout.subscribers == 0)


async def test_a_reader_that_has_sent_its_next_request_is_noticed_when_it_leaves() -> None:
    async with LimitedSite(Fanout(), a_stream(b"e1")) as site:
        _reader, writer = await begun(site, GET + GET)
        assert site.taken == [False], "the second request has begun: the connection is not the first one's alone"
        writer.close()
        await until(lambda: site.fanout.subscribers == 0)


async def test_a_reader_that_leaves_is_forgotten(site: Site) -> None:
    _reader, writer = await begun(site)
    await begun(site)
    assert (site.fanout.subscribers, site.stream.readers) == (2, 2)
    writer.close()
    await until(lambda: site.fanout.subscribers == 1)
    assert site.stream.readers == 1


async def test_closing_cuts_every_reader_without_an_end(site: Site) -> None:
    reader, _writer = await begun(site)
    site.fanout.close()
    assert await reader.read() == b""
    assert site.fanout.subscribers == 0
    late, _writer = await site.connect()
    assert END not in await late.read(), "a reader who comes after the close is cut too"


async def test_a_write_that_fails_ends_its_reader_and_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    torn, _writer = await begun(site)
    (broken,) = site.wires
    sound, _writer = await begun(site)
    write = ConnectionSubscriber.write

    def fail(wire: ConnectionSubscriber, framed: bytes, last: bool) -> None:
        if wire is broken:
            raise RuntimeError("the transport is closed")
        write(wire, framed, last)

    monkeypatch.setattr(ConnectionSubscriber, "write", fail)
    site.stream.extend([b"e2"])
    assert await chunk(sound) == text(2)
    assert await torn.read() == b""
    assert site.fanout.subscribers == 1


# --- behind Starlette and FastAPI, and with a uvicorn that is another one


class Streaming:
    """A response as an app of one's own would return it."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await deliver(self.site.fanout, self.site.stream, 0, Plain, send, receive)


def starlette(site: Site) -> Any:
    async def endpoint(_request: Any) -> Any:
        return Streaming(site)

    return Starlette(routes=[Route("/", endpoint)])


def fastapi(site: Site) -> Any:
    class Response(FastAPIResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await Streaming(site)(scope, receive, send)

    async def endpoint() -> Any:
        return Response()

    app = FastAPI()
    app.add_api_route("/", endpoint, response_model=None)
    return app


@asynccontextmanager
async def hosted(make: Callable[[Site], Any]) -> AsyncIterator[Site]:
    site = Site(Fanout(), a_stream(b"e1"))
    site.config.app = make(site)
    async with site:
        yield site


@pytest.mark.parametrize("make", [starlette, fastapi])
async def test_a_stream_in_an_app_of_starlette_or_fastapi_has_its_connection_to_itself(
    make: Callable[[Site], Any],
) -> None:
    async with hosted(make) as site:
        reader, writer = await begun(site)
        assert [type(one) for one in site.wires] == [ConnectionSubscriber]
        await until(lambda: not site.state.tasks)
        site.stream.extend([b"e2"], ended=True)
        assert (await chunk(reader), await chunk(reader)) == (text(2), b"")
        writer.write(GET)
        assert await body(reader) == text(1, 2)


def counting(send: Send) -> Send:
    response_started = True

    async def layer(message: Message) -> None:
        nonlocal response_started
        response_started = bool(message.get("more_body"))
        await send(message)

    return layer


def telling(send: Send) -> Send:
    response_started = True

    async def layer(message: Message) -> None:
        nonlocal response_started
        response_started = True
        print(message)
        await send(message)

    return layer


@pytest.mark.parametrize("layer", [counting, telling])
def test_a_layer_that_may_do_more_than_starlettes_is_not_passed_by(layer: Callable[[Send], Send]) -> None:
    async def innermost(message: Message) -> None:
        pass

    wrapped_once = layer(innermost)
    wrapped_once.__module__ = "starlette.middleware.errors"
    assert below(wrapped_once) is wrapped_once


@pytest.mark.parametrize("missing", ["an attribute", "a name that is imported"])
async def test_a_uvicorn_with_other_internals_costs_speed_and_nothing_else(
    missing: str, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if missing == "an attribute":
        monkeypatch.setattr(uvicorn_transport, "_OF_FLOW", ("resume_reading", "renamed"))
    else:
        monkeypatch.setitem(sys.modules, "tickertape.asgi.uvicorn_transport", None)
    for cached in (subscriber._uvicorn_transport, uvicorn_transport._tell_missing):
        cached.cache_clear()
    try:
        readers = [await begun(site) for _ in range(2)]
        assert [type(one) for one in site.wires] == [subscriber.RequestSubscriber] * 2
        site.stream.extend([b"e2"], ended=True)
        for reader, _writer in readers:
            assert (await chunk(reader), await chunk(reader)) == (text(2), b"")
        assert len([record for record in caplog.records if "uvicorn" in record.message]) == 1, "it is told once"
    finally:
        subscriber._uvicorn_transport.cache_clear()
