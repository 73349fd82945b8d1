"""The whole without HTTP: streams, providers, generations, delivery and conversations, and the life that they share.

::

    core = Core(SqliteEngine(…), Catalog([…]), AsyncStore(…))
    async with core:                       # start: opens the files, ends what died before
        stream = await core.generations.begin(…)

States: made → running (`start`) → draining (`drain`: readers are cut, no answer begins, those that run may finish) →
stopped (`stop`). All of it belongs to the event loop that called `start`, and every method but `hurry` is to be called
there. A process that dies in any state leaves what was committed: whoever opens the engine next ends it as lost.

Nothing here reads settings, sets up logging, handles signals or touches the garbage collector: that is the business of
who owns the process.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.service import ConversationService
from tickertape.delivery.fanout import Fanout
from tickertape.errors import ConversationError, LogError, TickertapeError
from tickertape.generation import Generations, Limits

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.providers.catalog import Catalog
    from tickertape.streams.contract import Engine

logger = logging.getLogger("tickertape")

SWEEP = 600.0
"""Seconds between two retention sweeps, at most."""


class CoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a core can be told. Times are in seconds."""

    heartbeat: float = 15.0
    """Silence before a comment: proxies commonly close after 30 to 60."""
    send_timeout: float = 60.0
    """After this a reader that takes nothing is cut."""
    retention: float = 24 * 3600.0
    """For so long a stream is kept after its end."""
    grace: float = 8.0
    """Running answers get this when the core stops, before they end as lost."""
    limits: Limits = Limits()


class Core:
    """Streams, providers, generations, delivery and conversations. Use it with ``async with``, or `start` and `stop`.

    ``engine``, ``catalog`` and ``store`` are there from the beginning, ``generations``, ``fanout``, ``conversations``
    and ``change_feed`` once it has started.
    """

    generations: Generations
    fanout: Fanout
    conversations: ConversationService
    change_feed: ChangeFeed

    def __init__(self, engine: Engine, catalog: Catalog, store: AsyncStore, options: CoreOptions | None = None) -> None:
        self.engine = engine
        self.catalog = catalog
        self.store = store
        self.options = options or CoreOptions()
        self.started = False
        self._stopped = False
        self._chores: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the engine and begin to work. Raises LogUnavailable with the reason; once stopped it stays so."""
        if self._stopped:
            raise TickertapeError("This was stopped and cannot be started again; make a new one.")
        await self.engine.__aenter__()
        options = self.options
        self.fanout = Fanout(heartbeat=options.heartbeat, send_timeout=options.send_timeout)
        self.generations = Generations(self.engine, options.limits)
        self.conversations = ConversationService(self.store, self.engine, self.catalog, self.generations)
        self.change_feed = ChangeFeed(self.store, self.conversations.finalize_ended)
        self._chores = {asyncio.create_task(self._sweep()), asyncio.create_task(self._load_models())}
        self.started = True

    async def drain(self) -> None:
        """Cut the readers, so that they reconnect elsewhere, and let the answers end within the grace period.

        Again it does nothing more. Call it before a server waits for its connections to close, else it waits for ever.
        """
        if self.started:
            self.fanout.close()
            await self.generations.close(self.options.grace)

    def hurry(self) -> None:
        """End the running answers as lost, now; safe in a signal handler and in other threads."""
        if self.started:
            self.generations.hurry()

    async def stop(self) -> None:
        """Drain, then close everything. Does nothing before `start`."""
        if not self.started:
            return
        for chore in self._chores:
            chore.cancel()
        try:
            await self.drain()
            self.started, self._stopped = False, True
            self.change_feed.close()
            await self.conversations.close()
            await self.catalog.close()
        finally:
            await self.engine.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _load_models(self) -> None:
        """Load what takes long to load before the first question comes."""
        try:
            await self.catalog.start()
        except TickertapeError as error:
            logger.warning("%s", error)  # whoever asks for it is told again

    async def _sweep(self) -> None:
        """Every so often, delete the streams that ended long ago, and what was deleted for good."""
        retention = self.options.retention
        while True:
            try:  # again in the next round, whatever happens in this one
                await self.conversations.expire(retention)
            except (LogError, ConversationError) as error:
                logger.info("Retention sweep failed, it is tried again: %s", error)  # a full or busy disk
            except Exception:
                logger.exception("Retention sweep failed, it is tried again")
            await asyncio.sleep(min(retention, self.conversations.limits.undo, SWEEP))
