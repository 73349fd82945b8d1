"""Reading again while the log is slow: the head and heartbeats come first, and nothing untrue is ever said."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask
from support.in_loop import InLoop, serve
from tickertape.asgi import replay
from tickertape.delivery.fanout import HEARTBEAT
from tickertape.providers.echo import Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HEARTBEAT_CHUNK = b"%x\r\n%b\r\n" % (len(HEARTBEAT), HEARTBEAT)


class Slow:
    """A server whose log answers once ``gate`` is set; ``whole`` are the bytes of an answer that has ended."""

    def __init__(self, running: InLoop, stream_id: str, whole: bytes) -> None:
        self.running, self.id, self.whole = running, stream_id, whole
        self.gate = asyncio.Event()

    async def get(self, cursor: str = "", stream: str = "") -> asyncio.StreamReader:
        headers = {"Last-Event-ID": cursor} if cursor else {}
        reader, _writer = await self.running.ask("GET", f"/v1/streams/{stream or self.id}", None, headers)
        return reader


async def body(reader: asyncio.StreamReader) -> bytes:
    """Return the rest of a body. Raises IncompleteReadError when it has no proper end."""
    whole = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    return whole


@pytest.fixture(params=["wire", "send"])
async def slow(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Slow]:
    async with serving(tmp_path, monkeypatch) as made:
        if request.param == "send":
            monkeypatch.setattr("tickertape.asgi.subscriber.transport_of", lambda _send: None)
        yield made


@asynccontextmanager
async def serving(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Slow]:
    monkeypatch.setattr(replay, "PATIENCE", 0.01)
    async with serve(data, Echo(0), heartbeat=0.02) as running:
        reader, _writer = await running.ask("POST", "/api/openai/stream", ask("Hello there, world"))
        head = await reader.readuntil(b"\r\n\r\n")
        stream_id = head.partition(b"location: /v1/streams/")[2][:32].decode()
        made = Slow(running, stream_id, await body(reader))
        log: Any = running.core.engine
        get = log.get

        async def wait_and_get(name: str, owner: str) -> Any:
            await made.gate.wait()
            return await get(name, owner)

        monkeypatch.setattr(log, "get", wait_and_get)
        yield made
        monkeypatch.undo()


async def test_the_head_and_heartbeats_come_before_the_log_is_read(slow: Slow) -> None:
    reader = await slow.get()
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"location: /v1/streams/" + slow.id.encode() in head
    for _ in range(3):
        assert await reader.readexactly(len(HEARTBEAT_CHUNK)) == HEARTBEAT_CHUNK
    slow.gate.set()
    assert (await body(reader)).replace(HEARTBEAT, b"") == slow.whole


async def test_a_cursor_is_gone_on_from_when_the_log_was_slow(slow: Slow) -> None:
    reader = await slow.get(f"{slow.id}.2")
    await reader.readuntil(HEARTBEAT_CHUNK)
    slow.gate.set()
    rest = (await body(reader)).replace(HEARTBEAT, b"")
    assert rest.startswith(b"id: %b.3\n" % slow.id.encode())
    assert slow.whole.endswith(rest)


@pytest.mark.parametrize(
    ("cursor", "stream", "then"),
    [
        ("", "0" * 32, b"HTTP/1.1 404 "),
        ("{id}.999999", "", b"tickertape-cursor: reset\r\n"),
        ("{id}.{last}", "", b"HTTP/1.1 204 "),
    ],
)
async def test_what_the_head_could_not_say_is_said_by_the_next_one(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, cursor: str, stream: str, then: bytes
) -> None:
    cursor = cursor.format(id=slow.id, last=slow.whole.count(b"\nid: "))
    reader = await slow.get(cursor, stream)
    await reader.readuntil(HEARTBEAT_CHUNK)
    slow.gate.set()
    with pytest.raises(asyncio.IncompleteReadError):
        await body(reader)
    monkeypatch.setattr(replay, "PATIENCE", 60.0)
    assert then in await (await slow.get(cursor, stream)).readuntil(b"\r\n\r\n")


async def test_a_log_that_fails_behind_the_head_cuts_the_reader_and_says_why(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        await slow.gate.wait()
        raise RuntimeError("the log is at fault")

    monkeypatch.setattr(slow.running.core.engine, "get", fail)
    reader = await slow.get()
    await reader.readuntil(HEARTBEAT_CHUNK)
    slow.gate.set()
    with pytest.raises(asyncio.IncompleteReadError):
        await body(reader)
    assert f"A reader of stream {slow.id} is cut: RuntimeError('the log is at fault')" in caplog.text
