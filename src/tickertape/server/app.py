"""Assembles the ASGI app: guard → routes → services."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route, Router

from tickertape.asgi.subscriber import transport_of
from tickertape.clock import now
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.service import ConversationService
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.delivery.fanout import Fanout
from tickertape.deltas import encode_delta
from tickertape.errors import ConversationError, LogError, TickertapeError
from tickertape.generation import DAMAGED, LOST, Generations
from tickertape.server import conversation_routes
from tickertape.server.access_log import AccessLog
from tickertape.server.assets import Assets
from tickertape.server.guard import Guard
from tickertape.server.metrics import PUBLISH
from tickertape.server.readiness import Readiness
from tickertape.server.routes import PATHS, Endpoint, Services, not_found
from tickertape.server.settings import shared
from tickertape.storage.folder import CHATS_FILE, LOG_FILE
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.providers.catalog import Catalog
    from tickertape.server.metrics import SharedFigures
    from tickertape.server.settings import Settings


logger = logging.getLogger("tickertape")

YOUNG = 20_000
"""Objects more than at the last collection, before the next. At Python's 700 every wait of every stream is taken for
long-lived, and all streams are walked through about once a second."""

SWEEP = 600.0
"""Seconds between two retention sweeps, at most."""


class App:
    """The server as an ASGI app. `drain` before the ASGI server closes its connections, else SIGTERM hangs.

    ``failure`` is what kept it from starting.
    """

    def __init__(self, settings: Settings, catalog: Catalog, figures: SharedFigures | None = None) -> None:
        self._settings = settings
        self._catalog = catalog
        self._figures = figures
        self._services: Services | None = None
        self.failure: TickertapeError | None = None
        router = Router(
            [Route(path, Endpoint(methods)) for path, methods in (PATHS | conversation_routes.PATHS).items()],
            default=not_found,  # type: ignore[arg-type]  # Starlette's types are wider than a dict
            redirect_slashes=False,
            lifespan=self._lifespan,
        )
        guard = Guard(router, settings)  # type: ignore[arg-type]  # Starlette's types are wider
        self._app = AccessLog(guard, settings)
        self.refused = self._app.refused

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope.get("http_version") == "1.0" and (transport := transport_of(send)):
            send = transport.without_chunks(send)
        await self._app(scope, receive, send)

    async def drain(self) -> None:
        """Cut the readers, so that they reconnect elsewhere, and let the answers end within the grace period."""
        if self._services is not None:
            self._services.fanout.close()
            await self._services.generations.close(self._settings.grace)

    def hurry(self) -> None:
        """End the running answers as lost, now; safe in a signal handler."""
        if self._services is not None:
            self._services.generations.hurry()

    @asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[dict[str, Any]]:
        settings = self._settings
        log = SqliteEngine(
            settings.data / LOG_FILE,
            lost=encode_delta(LOST),
            damaged=encode_delta(DAMAGED),
            synchronous=settings.synchronous,
            settings=msgspec.json.encode(shared(settings)).decode(),
        )
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(log)
            except TickertapeError as error:
                self.failure = error
                raise
            fanout = Fanout(heartbeat=settings.heartbeat, send_timeout=settings.send_timeout)
            generations = Generations(log, settings.limits)
            database = SqliteDatabase(settings.data / CHATS_FILE, settings.synchronous)
            store = AsyncStore(database, settings.conversations, clock=now)
            conversations = ConversationService(store, log, self._catalog, generations)
            change_feed = ChangeFeed(store, conversations.finalize_ended)
            readiness = Readiness(settings.data, settings.min_free, log, store)
            services = self._services = Services(
                settings,
                log,
                self._catalog,
                generations,
                fanout,
                Assets(),
                conversations,
                change_feed,
                readiness,
                self._figures,
            )
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked at again by every collection
            gc.set_threshold(YOUNG)
            sweeping = _sweep(conversations, settings.retention)
            chores = {asyncio.create_task(sweeping), asyncio.create_task(_warm(self._catalog))}
            if self._figures is not None:
                chores.add(asyncio.create_task(_publish(services)))
            yield {"services": services}
            for chore in chores:
                chore.cancel()
            await self.drain()
            change_feed.close()
            await conversations.close()
            await self._catalog.close()


async def _warm(catalog: Catalog) -> None:
    """Load what takes long to load before the first question comes."""
    try:
        await catalog.start()
    except TickertapeError as error:
        logger.warning("%s", error)  # whoever asks for it is told again


async def _publish(services: Services) -> None:
    """Let the other workers know this one's figures."""
    while True:
        services.figures()
        await asyncio.sleep(PUBLISH)


async def _sweep(conversations: ConversationService, retention: float) -> None:
    """Every so often, delete the streams that ended long ago, and what was deleted for good."""
    while True:
        try:  # again in the next round, whatever happens in this one
            await conversations.expire(retention)
        except (LogError, ConversationError) as error:
            logger.info("Retention sweep failed, it is tried again: %s", error)  # a full or busy disk
        except Exception:
            logger.exception("Retention sweep failed, it is tried again")
        await asyncio.sleep(min(retention, conversations.limits.undo, SWEEP))
