"""Streams, generations and delivery without HTTP, and the life that they share.

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
from typing import TYPE_CHECKING

import msgspec

from tickertape.delivery.fanout import Fanout
from tickertape.errors import ConversationError, EngineError, NotRunning, TickertapeError
from tickertape.generation import Generations, Limits

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Any, Self

    from tickertape.streams.contract import Engine, Stream

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
    """Options of a core. Times are in seconds."""

    heartbeat: float = 15.0
    """Silence before a comment: proxies commonly close after 30 to 60."""
    send_timeout: float = 60.0
    """After this a reader that takes nothing is cut."""
    retention: float = 24 * 3600.0
    """For so long a stream is kept after its end."""
    grace: float = 8.0
    """Running answers get this when the core stops, before they end as lost."""
    limits: Limits = Limits()


class StreamCore:
    """Streams, generations and delivery. Use it with ``async with``, or `start` and `stop`.

    ``engine`` is there from the beginning, ``generations`` and ``fanout`` once it has started. Whoever adds to it
    overrides `_opened`, `_closing` and `_expire`.
    """

    generations: Generations
    fanout: Fanout

    def __init__(self, engine: Engine, options: CoreOptions | None = None) -> None:
        self.engine = engine
        self.options = options or CoreOptions()
        self.state = CoreState.MADE
        self.loop: asyncio.AbstractEventLoop | None = None
        self.process = 0
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._draining = False
        self._chores: set[asyncio.Task[None]] = set()

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
        self._chores = {asyncio.create_task(chore) for chore in self._opened()}
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
            await self._closing()
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

    async def find(self, stream_id: str, owner: str) -> Stream:
        """Return an owner's stream. Raises UnknownStream."""
        return await self.engine.get(stream_id, owner)

    def _opened(self) -> list[Coroutine[Any, Any, None]]:
        """Make what else there is once the engine is open, and return what is to be done in the background."""
        return [self._sweep()]

    async def _closing(self) -> None:
        """Close what `_opened` has made; the engine is still open."""

    @property
    def _sweep_pause(self) -> float:
        """Seconds between two retention sweeps."""
        return min(self.options.retention, SWEEP)

    async def _expire(self, retention: float) -> None:
        """Delete what ended so many seconds ago."""
        await self.engine.expire(retention)

    async def _sweep(self) -> None:
        """Every so often, delete what ended long ago."""
        while True:
            try:  # again in the next round, whatever happens in this one
                await self._expire(self.options.retention)
            except (EngineError, ConversationError) as error:
                logger.info("Retention sweep failed, it is tried again: %s", error)  # a full or busy disk
            except Exception:
                logger.exception("Retention sweep failed, it is tried again")
            await asyncio.sleep(self._sweep_pause)


def _note_failure(starting: asyncio.Task[None]) -> None:
    """Have asyncio know that a failure was seen: whoever waits for the start has it, and whoever starts again."""
    if not starting.cancelled():
        starting.exception()
