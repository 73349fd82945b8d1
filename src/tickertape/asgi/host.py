"""A core in somebody's process: started and stopped with the host, once in each, and drained before the host ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tickertape.asgi.signals import DrainOnSignal
from tickertape.errors import TickertapeError
from tickertape.stream_core import CoreState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tickertape.stream_core import StreamCore


class StreamHost:
    """What serves streams: their core, and its life in this process.

    With ``signals`` SIGTERM and SIGINT drain the core before the host's own handlers are called.
    """

    def __init__(self, core: StreamCore, *, signals: bool = True) -> None:
        self.core = core
        self._signals = DrainOnSignal(core) if signals else None

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
