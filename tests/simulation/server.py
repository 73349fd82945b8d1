"""One process of the server: uvicorn and the app with its log, generations and fan-out, on a simulated event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.providers.catalog import Catalog
from tickertape.server.app import App
from tickertape.server.run import make_server

from .sockets import ListeningSocket
from .upstream import Upstream
from .world import Process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tickertape.server.settings import Settings

    from .network import Exchange
    from .sockets import HttpExchange
    from .upstream import Call
    from .world import World


class Server(Process):
    """``listening`` from its start to its stop; ``frozen`` says when it stood still, ``died`` when it was killed."""

    def __init__(
        self, world: World, name: str, settings: Settings, calls: dict[str, list[Call]], capacity: int | None = None
    ) -> None:
        super().__init__(world, name)
        self.epoch = 0  # how many power cuts before its start took something from the log
        self.failed = ""
        self.opened: float | None = None
        self.died: float | None = None
        self.stopping: float | None = None
        self.frozen: list[tuple[float, float]] = []
        self.exchanges: list[Exchange] = []
        self.socket = ListeningSocket(self)
        self.app = self.act(lambda: App(settings, Catalog([Upstream(world, self, calls, capacity)])))
        self._http = self.act(lambda: make_server(settings, self.app, self._started))
        world.log(name, "starts")
        self.act(lambda: self.create_task(self._live()))

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return self._http.started and not self._http.should_exit and not self.dead

    @property
    def state(self) -> dict[str, Any]:
        """What the app keeps for its requests."""
        return self._http.lifespan.state

    async def _live(self) -> None:
        try:
            await self._http._serve([self.socket])
        except SystemExit:
            self.failed = str(self.app.failure)
            self.world.log(self.name, f"cannot start: {self.failed}")
        self.exit()

    def _started(self) -> None:
        self.opened = self.world.now
        self.world.log(self.name, "listens")

    def stop(self) -> None:
        """Ask for an orderly end, as SIGTERM does."""
        self.stopping = self.world.now
        self._http.end()

    # --- as the event loop of a listener

    def add_reader(self, socket: ListeningSocket, callback: Callable[[], object]) -> None:
        socket.watch(callback)

    def remove_reader(self, socket: ListeningSocket) -> None:
        socket.watch(None)

    async def connect_accepted_socket(self, factory: Callable[[], asyncio.Protocol], sock: HttpExchange) -> None:
        sock.accepted(factory())

    def exit(self) -> None:
        """Be gone, one way or the other."""
        self.world.log(self.name, "is gone")
        self.died = self.world.now
        self.kill()
        for exchange in self.exchanges:
            if not exchange.over:
                exchange.died()

    def freeze(self, seconds: float) -> None:
        self.frozen.append((self.world.now, self.world.now + seconds))
        super().freeze(seconds)
