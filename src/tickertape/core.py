"""The whole without HTTP: streams, providers, generations, delivery and conversations, and the life that they share.

::

    core = Core.on_disk("data", [Echo()])
    async with core:                       # start: opens the files, ends what died before
        stream = await core.generations.begin(GenerationSpec(provider, request), owner="ann")

States: `CoreState`, in their order. While it runs it can be drained: readers are cut, no answer begins, those that run
may finish. A start that fails leaves it as it was made, so that it can be started again. All of it belongs to the event
loop and the process that called `start`, and every method but `hurry` is to be called there. A process that dies in any
state leaves what was committed: whoever opens the engine next ends it as lost.

Nothing here reads settings, sets up logging, handles signals or touches the garbage collector: that is the business of
who owns the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.service import ConversationService
from tickertape.delivery.fanout import Fanout
from tickertape.deltas import encode_delta
from tickertape.errors import ConversationError, EngineError, NotRunning, TickertapeError
from tickertape.generation import DAMAGED, LOST, Generations, Limits
from tickertape.providers.catalog import Catalog
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.conversations.models import ConversationLimits
    from tickertape.providers.base import Provider
    from tickertape.streams.contract import Engine

logger = logging.getLogger("tickertape")

SWEEP = 600.0
"""Seconds between two retention sweeps, at most."""


class CoreState(Enum):
    """What a core is doing."""

    MADE = "nothing yet; no file is open"
    STARTING = "the engine is being opened"
    RUNNING = "everything"
    STOPPED = "nothing any more, for good"


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
        self.state = CoreState.MADE
        self.loop: asyncio.AbstractEventLoop | None = None
        self.process = 0
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._draining = False
        self._chores: set[asyncio.Task[None]] = set()

    @classmethod
    def on_disk(
        cls,
        folder: Path | str,
        providers: Sequence[Provider] | Catalog,
        options: CoreOptions | None = None,
        *,
        synchronous: str = "NORMAL",
        settings: str = "",
        conversation_limits: ConversationLimits | None = None,
    ) -> Core:
        """Return a core whose streams and conversations are in two SQLite files in a folder, which is made if need be.

        ``providers`` answer, side by side. ``synchronous`` is SQLite's; ``settings`` are shown to other processes that
        want to use the folder too. The files are opened by `start`.
        """
        from tickertape.conversations.async_store import AsyncStore  # whoever brings engines loads no SQLite
        from tickertape.conversations.sqlite import SqliteDatabase
        from tickertape.storage.folder import CHATS_FILE, LOG_FILE
        from tickertape.streams.sqlite.engine import SqliteEngine

        engine = SqliteEngine(
            Path(folder) / LOG_FILE,
            lost=encode_delta(LOST),
            damaged=encode_delta(DAMAGED),
            synchronous=synchronous,
            settings=settings,
        )
        store = AsyncStore(SqliteDatabase(Path(folder) / CHATS_FILE, synchronous), conversation_limits, clock=now)
        catalog = providers if isinstance(providers, Catalog) else Catalog(providers)
        return cls(engine, catalog, store, options)

    @property
    def started(self) -> bool:
        """Whether it runs."""
        return self.state is CoreState.RUNNING

    async def start(self) -> None:
        """Open the engine and begin to work; who calls it meanwhile waits too.

        Raises EngineUnavailable with the reason, and can be called again then. Raises NotRunning once this was stopped.
        If the caller is cancelled, it starts all the same: call `stop`.
        """
        if self.state is CoreState.STOPPED:
            raise NotRunning("This was stopped, and cannot be started again; make a new one.")
        if self.state is CoreState.RUNNING:
            raise TickertapeError(f"This runs already, in process {self.process}; start it once.")
        if self._starting is None or self._starting.done():
            self.state = CoreState.STARTING
            self.loop, self.process = asyncio.get_running_loop(), os.getpid()
            # What begins here outlives the request that may be the first: it takes none of its context variables.
            self._starting = self.loop.create_task(self._start(), context=contextvars.Context())
            self._starting.add_done_callback(_note_failure)
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            await self.engine.__aenter__()
        except BaseException:
            self.state = CoreState.MADE
            raise
        options = self.options
        self.fanout = Fanout(heartbeat=options.heartbeat, send_timeout=options.send_timeout)
        self.generations = Generations(self.engine, options.limits)
        self.conversations = ConversationService(self.store, self.engine, self.catalog, self.generations)
        self.change_feed = ChangeFeed(self.store, self.conversations.finalize_ended)
        self._chores = {asyncio.create_task(self._sweep()), asyncio.create_task(self._load_models())}
        self.state = CoreState.RUNNING
        if self._draining:
            await self.drain()

    async def drain(self) -> None:
        """Cut the readers, so that they reconnect elsewhere, and let the answers end within the grace period.

        Again it does nothing more; before the start has ended it is done then. Call it before a server waits for its
        connections to close, else it waits for ever.
        """
        self._draining = True
        if self.started:
            self.fanout.close()
            await self.generations.close(self.options.grace)

    def hurry(self) -> None:
        """End the running answers as lost, now; safe in a signal handler and in other threads."""
        if self.started:
            self.generations.hurry()

    async def stop(self) -> None:
        """Drain, then close everything; who calls it meanwhile waits too.

        Does nothing before `start`, again, or in a process that was forked: the files are those of its parent.
        """
        if self.state in (CoreState.MADE, CoreState.STOPPED) or self.process != os.getpid():
            return
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        assert self._starting is not None  # noqa: S101 - it was started
        await asyncio.wait({self._starting})
        if not self.started:  # that failed
            self._stopping = None
            return
        for chore in self._chores:
            chore.cancel()
        try:
            await self.drain()
            self.state = CoreState.STOPPED
            self.change_feed.close()
            await self.conversations.close()
            await self.catalog.close()
        finally:
            self.state = CoreState.STOPPED
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
            except (EngineError, ConversationError) as error:
                logger.info("Retention sweep failed, it is tried again: %s", error)  # a full or busy disk
            except Exception:
                logger.exception("Retention sweep failed, it is tried again")
            await asyncio.sleep(min(retention, self.conversations.limits.undo, SWEEP))


def _note_failure(starting: asyncio.Task[None]) -> None:
    """Have asyncio know that a failure was seen: whoever waits for the start has it, and whoever starts again."""
    if not starting.cancelled():
        starting.exception()
