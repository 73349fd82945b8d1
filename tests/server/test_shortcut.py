"""Past ``send`` to uvicorn's socket: the same bytes, and only where that is safe."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.test_fanout import Plain, a_tape, until
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tickertape.server.fanout import Fanout
from tickertape.server.shortcut import chunk, shortcut

if TYPE_CHECKING:
    from tickertape.server.asgi import Message


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def a_cycle(method: str = "POST") -> tuple[RequestResponseCycle, Wire]:
    wire: Any = Wire()
    logger = logging.getLogger("test")
    cycle = RequestResponseCycle(
        scope={"method": method},  # type: ignore[typeddict-item]
        transport=wire,
        flow=FlowControl(wire),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    return cycle, wire


async def started(method: str = "POST", *headers: tuple[bytes, bytes]) -> tuple[RequestResponseCycle, Wire]:
    cycle, wire = a_cycle(method)
    await cycle.send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    wire.written = b""
    return cycle, wire


@pytest.mark.parametrize("size", [1, 15, 16, 4096, 100_000])
async def test_a_chunk_past_send_is_the_one_that_send_writes(size: int) -> None:
    cycle, wire = await started()
    await cycle.send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
    assert chunk(b"x" * size) == wire.written


async def test_the_way_is_open_while_a_chunked_response_streams() -> None:
    cycle, wire = await started()
    way = shortcut(cycle.send)  # type: ignore[arg-type]
    assert way is not None
    assert way.open
    way.write(chunk(b"hello"))
    assert wire.written == b"5\r\nhello\r\n"


async def test_there_is_no_way_before_the_start_nor_around_other_framings() -> None:
    assert shortcut(a_cycle()[0].send) is None  # type: ignore[arg-type]
    assert shortcut((await started("HEAD"))[0].send) is None  # type: ignore[arg-type]
    assert shortcut((await started("POST", (b"content-length", b"5")))[0].send) is None  # type: ignore[arg-type]


async def test_there_is_no_way_around_another_servers_or_a_middlewares_send() -> None:
    cycle, _wire = await started()

    async def send(message: Message) -> None:
        await cycle.send(message)  # type: ignore[arg-type]

    assert shortcut(send) is None


async def test_a_paused_or_closed_connection_is_left_to_send() -> None:
    cycle, _wire = await started()
    way = shortcut(cycle.send)  # type: ignore[arg-type]
    assert way is not None
    cycle.flow.pause_writing()
    assert not way.open
    cycle.flow.resume_writing()
    assert way.open
    cycle.disconnected = True
    assert not way.open


async def test_what_is_written_both_ways_comes_once_and_in_order() -> None:
    cycle, wire = await started()
    fanout, tape = Fanout(), a_tape(b"e1")
    serving = asyncio.create_task(fanout.serve(tape, 0, Plain, cycle.send, cycle.receive))  # type: ignore[arg-type]
    await until(lambda: wire.written == chunk(b"1:e1\n"))
    cycle.flow.pause_writing()
    tape.extend([b"e2"])
    await until(lambda: any(reader.parked for reader in next(iter(fanout._channels.values())).readers))
    tape.extend([b"e3"])
    cycle.flow.resume_writing()
    await until(lambda: wire.written.endswith(chunk(b"3:e3\n")))
    tape.extend([b"e4"], ended=True)
    await serving
    fanout.close()
    assert wire.written == b"".join(map(chunk, (b"1:e1\n", b"2:e2\n", b"3:e3\n", b"4:e4\n"))) + b"0\r\n\r\n"


async def test_a_write_that_fails_ends_its_reader_and_no_other() -> None:
    (broken, torn), (cycle, wire) = await started(), await started()
    fanout, tape = Fanout(), a_tape(b"e1")
    serving = [
        asyncio.create_task(fanout.serve(tape, 0, Plain, each.send, each.receive))  # type: ignore[arg-type]
        for each in (broken, cycle)
    ]
    await until(lambda: wire.written == torn.written == chunk(b"1:e1\n"))

    def fail(_data: bytes) -> None:
        raise RuntimeError("the transport is closed")

    for reader in next(iter(fanout._channels.values())).readers:
        if reader.send == broken.send and reader.shortcut is not None:
            reader.shortcut.write = fail
    tape.extend([b"e2"])
    await serving[0]
    await until(lambda: wire.written.endswith(chunk(b"2:e2\n")))
    tape.extend([b"e3"], ended=True)
    await serving[1]
    fanout.close()
    assert torn.written == chunk(b"1:e1\n")
    assert wire.written.endswith(chunk(b"3:e3\n") + b"0\r\n\r\n")
