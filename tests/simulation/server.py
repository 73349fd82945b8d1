"""One process of the server: the real app with its log, generations and fan-out, on a simulated event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tickertape.errors import TickertapeError
from tickertape.providers.catalog import Catalog
from tickertape.server.app import App

from .seams import PLACE
from .upstream import Upstream
from .world import Process

if TYPE_CHECKING:
    from tickertape.server.settings import Settings

    from .network import Exchange
    from .upstream import Call
    from .world import World


class Server(Process):
    """``listening`` from its start to its stop; ``frozen`` says when it stood still, ``died`` when it was killed."""

    def __init__(
        self, world: World, name: str, settings: Settings, calls: dict[str, list[Call]], capacity: int | None = None
    ) -> None:
        super().__init__(world, name)
        self.listening = False
        self.epoch = 0  # how many power cuts before its start took something from the log
        self.failed = ""
        self.opened: float | None = None
        self.died: float | None = None
        self.stopping: float | None = None
        self.frozen: list[tuple[float, float]] = []
        self.exchanges: list[Exchange] = []
        self.state: dict[str, Any] = {}
        self.app = self.act(lambda: App(settings, Catalog([Upstream(world, self, calls, capacity)])))
        self._stop = asyncio.Event()
        world.log(name, "starts")
        self.act(lambda: self.create_task(self._live()))

    async def _live(self) -> None:
        asked = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> dict[str, Any]:
            word = next(asked)
            if word == "lifespan.shutdown":
                await self._stop.wait()
                self.listening = False
                await self.app.drain()
            return {"type": word}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.listening = True
                self.opened = self.world.now
                self.world.log(self.name, "listens")

        try:
            await self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}, receive, send)
        except TickertapeError as error:
            self.failed = str(error)
            self.world.log(self.name, f"cannot start: {PLACE.sub('data', self.failed)}")
        self.exit()

    def stop(self) -> None:
        """Ask for an orderly end, as SIGTERM does."""
        self.stopping = self.world.now
        self.call_soon_threadsafe(self._stop.set)

    def exit(self) -> None:
        """Be gone, one way or the other."""
        self.world.log(self.name, "is gone")
        self.listening = False
        self.died = self.world.now
        self.kill()
        for exchange in self.exchanges:
            if not exchange.over and not exchange.lost:
                exchange.died()

    def freeze(self, seconds: float) -> None:
        self.frozen.append((self.world.now, self.world.now + seconds))
        super().freeze(seconds)
