"""The server as an ASGI app: access log → access control → the API of `tickertape.asgi`, the page and the probes."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape import asgi
from tickertape.asgi.options import AppOptions
from tickertape.core import Core
from tickertape.errors import TickertapeError
from tickertape.server.access_log import AccessLog
from tickertape.server.auth import AccessControl
from tickertape.server.metrics import PUBLISH
from tickertape.server.routes import ServerRoutes
from tickertape.server.settings import shared
from tickertape.stream_core import CoreOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.providers.catalog import Catalog
    from tickertape.server.metrics import SharedFigures
    from tickertape.server.settings import Settings

YOUNG = 20_000
"""Objects more than at the last collection, before the next. At Python's 700 every wait of every stream is taken for
long-lived, and all streams are walked through about once a second."""


class App:
    """The server as an ASGI app. `drain` before the ASGI server closes its connections, else SIGTERM hangs.

    ``core`` is what it serves; ``failure`` is what kept it from starting.
    """

    def __init__(self, settings: Settings, catalog: Catalog, figures: SharedFigures | None = None) -> None:
        self.failure: TickertapeError | None = None
        self.core = make_core(settings, catalog)
        self._routes = ServerRoutes(settings, self.core, figures)
        self._api = asgi.App(
            self.core,
            owner=_owner,
            options=AppOptions(
                disconnect=settings.disconnect,
                conversation_disconnect=settings.page_disconnect,
                patience=settings.patience,
                max_body=settings.max_body,
                max_messages=settings.max_messages,
            ),
            pages=self._routes.paths,
            signals=False,  # `tickertape.server.run` drains
            lifespan=self._lifespan,
        )
        self._app = AccessLog(AccessControl(self._api, settings), settings)
        self.refused = self._app.refused

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        await self._app(scope, receive, send)

    async def drain(self) -> None:
        """Cut the readers, so that they reconnect elsewhere, and let the answers end within the grace period."""
        await self.core.drain()

    def hurry(self) -> None:
        """End the running answers as lost, now; safe in a signal handler."""
        self.core.hurry()

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        """Run the API, in a process that is ours."""
        try:
            await self._api.start()
        except TickertapeError as error:
            self.failure = error
            raise
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked at again by every collection
        gc.set_threshold(YOUNG)
        publishing = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            publishing.cancel()
            await self._api.stop()

    async def _publish(self) -> None:
        """Let the other workers know this one's figures."""
        while self._routes.shares_figures:
            self._routes.figures()
            await asyncio.sleep(PUBLISH)


def make_core(settings: Settings, catalog: Catalog) -> Core:
    """Return the core of a server with these settings, not started."""
    return Core.on_disk(
        settings.data,
        catalog,
        CoreOptions(**{name: getattr(settings, name) for name in CoreOptions.__struct_fields__}),
        synchronous=settings.synchronous,
        settings=msgspec.json.encode(shared(settings)).decode(),
        conversation_limits=settings.conversations,
    )


def _owner(request: Request) -> str | None:
    """Return the owner that `AccessControl` has found."""
    found: Any = request.scope.get("owner")
    return None if found is None else str(found)
