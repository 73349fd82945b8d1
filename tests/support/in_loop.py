"""The real server in the event loop of a test: what is inside can be touched, and no thread has to be waited for."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tickertape.providers.catalog import Catalog
from tickertape.server.app import App
from tickertape.server.run import bind, make_server
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.providers.base import Provider

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class InLoop:
    """A running server; `serve` makes it."""

    def __init__(self, app: App, port: int) -> None:
        self.core = app.core
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, version: str = "1.1"
    ) -> Connection:
        """Send a request on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        sent = b"" if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json", "Content-Length": len(sent)} if body is not None else {}
        lines = [f"{name}: {value}" for name, value in {"Host": "localhost", **kind, **(headers or {})}.items()]
        writer.write("\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode() + sent)
        return reader, writer


@asynccontextmanager
async def serve(data: Path, provider: Provider, **settings: Any) -> AsyncIterator[InLoop]:
    """Serve with these settings until the context is left."""
    made = Settings(data=data, **settings)
    app = App(made, Catalog([provider]))
    listener = bind("127.0.0.1", 0)
    started = asyncio.Event()
    server = make_server(made, app, started.set)
    serving = asyncio.create_task(server._serve([listener]))
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({serving, starting}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        starting.cancel()
        serving.result()
    running = InLoop(app, listener.getsockname()[1])
    try:
        yield running
    finally:
        for writer in running._writers:
            writer.close()
        server.end()
        await serving
