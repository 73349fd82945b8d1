"""A reader that moves from one worker to another goes on at its cursor, whatever the next one knows yet."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from streams.faults import Connections
from streams.test_single_flight import untold
from tickertape.asgi.endpoint import OWNER
from tickertape.asgi.routes import get_stream
from tickertape.delivery.fanout import Fanout
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, text

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_reader_that_knows_more_than_its_next_worker_gets_what_follows_and_nothing_again(
    tmp_path: Path,
) -> None:
    """The producer's thread has committed entry 2, another worker has shown it, its own loop is yet to know."""

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            left.set()

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []
    left = asyncio.Event()
    connections = Connections()
    async with SqliteEngine(tmp_path / "tape.db", lost=LOST, connect=connections) as log:
        core = SimpleNamespace(engine=log, fanout=Fanout(), find=log.get)
        app: Any = SimpleNamespace(core=core, location=lambda *_stream: [])
        writer = await begin(log, text(1))
        name = writer.stream.header.id
        scope: Any = {
            "method": "GET",
            "path_params": {"id": name},
            OWNER: "ann",
            "headers": [(b"last-event-id", f"{name}.2".encode())],
            "query_string": b"",
        }
        async with untold(connections.writer) as committed:
            writer.append([text(2)])
            await committed.wait()
            serving = asyncio.create_task(get_stream(app, scope, receive, send))
            for _ in range(20):
                await asyncio.sleep(0)
        await caught_up(writer.stream, 2)
        await writer.finish([text(3), DONE])
        await serving
        core.fanout.close()
    start, body = sent[0], b"".join(message["body"] for message in sent[1:])
    assert start["status"] == 200
    assert b"tickertape-cursor" not in dict(start["headers"]), "its cursor is valid"
    assert [line for line in body.splitlines() if line.startswith(b"id: ")] == [
        f"id: {name}.{number}".encode() for number in (3, 4)
    ]
