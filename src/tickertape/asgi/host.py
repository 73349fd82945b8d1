"""A core in somebody's process: started and stopped with the host, once in each, and drained before the host ends."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tickertape.asgi.requests import complete_path
from tickertape.asgi.signals import DrainOnSignal
from tickertape.asgi.subscriber import transport_of
from tickertape.errors import TickertapeError
from tickertape.stream_core import CoreState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.routing import Router

    from tickertape.asgi.options import AppOptions
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.core import Core
    from tickertape.dialects import Dialect
    from tickertape.stream_core import StreamCore


class StreamHost(ABC):
    """What serves streams: their core, its life in this process, and where the streams are read.

    With ``signals`` SIGTERM and SIGINT drain the core before the host's own handlers are called.
    """

    def __init__(self, core: StreamCore, *, signals: bool = True) -> None:
        self.core = core
        self._signals = DrainOnSignal(core) if signals else None

    @property
    @abstractmethod
    def patience(self) -> float:
        """Seconds that the status line waits for a fast error, and the answer to a stop for the end."""

    @abstractmethod
    def stream_url(self, scope: Message, stream_id: str, dialect: Dialect) -> str | None:
        """Return the URL, without scheme and host, where a stream is read in this dialect; None if there is none."""

    def location(self, scope: Message, stream_id: str, dialect: Dialect) -> Headers:
        """Return the header that says where a stream is read."""
        url = self.stream_url(scope, stream_id, dialect)
        return [] if url is None else [(b"location", url.encode())]

    @asynccontextmanager
    async def lifespan(self, _host: object = None) -> AsyncIterator[None]:
        """Run the core for as long as the context lasts; to be given to a host, or entered in its own lifespan."""
        try:
            await self.start()
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start the core. Raises EngineUnavailable with the reason, and may be called again then."""
        if self._signals is not None:
            self._signals.install()
        try:
            await self.core.start()
        except TickertapeError:
            if self._signals is not None and not self.core.started:
                self._signals.remove()
            raise

    async def stop(self) -> None:
        """Drain and stop the core."""
        if self._signals is not None:
            self._signals.remove()
        await self.core.stop()

    async def ready(self) -> None:
        """Start the core where no lifespan has. Raises RuntimeError where it belongs to somebody else."""
        core = self.core
        if core.process not in (0, os.getpid()):
            raise RuntimeError(
                f"This was started in process {core.process}, of which this one is a fork: its threads and locks "
                "are not here. Start it after the fork: make it at import, and let the lifespan or a request start it."
            )
        if core.loop is not asyncio.get_running_loop() and core.state in (CoreState.STARTING, CoreState.RUNNING):
            raise RuntimeError(
                "This was started in another event loop, and its streams belong to that one. "
                "Enter its lifespan, as `with TestClient(app)` does, or make one for every event loop."
            )
        if not core.started:
            await self.start()


class ApiHost(StreamHost):
    """A host whose core has providers and conversations too: what the routes of the API work with."""

    core: Core
    options: AppOptions


async def dispatch(router: Router, scope: Message, receive: Receive, send: Send) -> None:
    """Have a router answer one request, or run the lifespan."""
    if scope["type"] == "http":
        complete_path(scope)
        if scope.get("http_version") == "1.0" and (transport := transport_of(send)):
            send = transport.without_chunks(send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})  # before it is accepted: servers answer 403
        return
    elif scope["type"] != "lifespan":
        raise ValueError(f"This app answers http, not {scope['type']!r}.")  # as ASGI wants it
    await router(scope, receive, send)
