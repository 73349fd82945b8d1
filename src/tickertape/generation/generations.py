"""All generations of one process: beginning, limits, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING

from tickertape.errors import ProviderError
from tickertape.generation.generation import Generation, Order
from tickertape.generation.limits import Limits
from tickertape.generation.pace import Pace
from tickertape.generation.turns import Turns
from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter

if TYPE_CHECKING:
    from tickertape.deltas import End
    from tickertape.providers.base import Provider

logger = logging.getLogger("tickertape")

COME_AGAIN = 5.0
"""Seconds that a refused caller is asked to wait."""


class Tally:
    """What has been: how answers ended, and how quickly upstream calls closed after a stop."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.closings = 0
        self.closing_seconds = 0.0

    def add(self, end: End) -> None:
        """Count one answer."""
        self.states[end.state] += 1
        if end.closed_after_ms is not None:
            self.closings += 1
            self.closing_seconds += end.closed_after_ms / 1000


class Generations:
    """All generations of this process."""

    def __init__(self, engine: Engine, limits: Limits | None = None) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(self._loop)
        self._running: set[Generation] = set()
        self._taken = 0  # answers that were taken on: they run, or are about to
        self._owners: Counter[str] = Counter()  # of these, by owner
        self._turns: dict[Provider, Turns] = {}
        self.tally = Tally()
        self._beginning: set[asyncio.Task[Stream]] = set()
        self.closed = False

    @property
    def running(self) -> int:
        """How many answers are produced or wait in line."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many answers wait in line."""
        return sum(turns.waiting for turns in self._turns.values())

    async def begin(self, order: Order, *, owner: str, key: Key | None = None) -> Stream:
        """Begin an answer and return its stream, or the stream that this Idempotency-Key has begun before.

        Raises BadRequest for parameters that the provider does not take, KeyReused and LogUnavailable; ProviderError
        (429) when the server is busy, (503) when it is about to exit. Errors of the provider end the stream. A caller
        who gives up meanwhile ends nothing.
        """
        if self.closed:
            raise ProviderError(
                "This server is about to exit; ask again in a moment.", status=503, type="server_error", retry_after=1
            )
        order.provider.check(order.request)
        turns = self._turns_of(order.provider)
        try:
            self._check(owner, turns)
        except ProviderError:
            begun = await self._begun(owner, key)
            if begun is None:
                raise
            return begun
        self._take(owner, turns, 1)
        # Shielded: a stream that was created but has no generation would never end.
        task = asyncio.create_task(self._begin(order, owner, key, turns))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return await asyncio.shield(task)

    async def _begin(self, order: Order, owner: str, key: Key | None, turns: Turns) -> Stream:
        stream_id = order.stream or secrets.token_hex(16)
        header = Header(id=stream_id, owner=owner, model=order.request.model, created=int(time.time()))
        made: StreamWriter | Stream | None = None
        try:
            made = await self._engine.create(header, order.opening, key)
        finally:
            if not isinstance(made, StreamWriter):
                self._take(owner, turns, -1)
        if isinstance(made, Stream):
            return made
        generation = Generation(made, order, turns, self._limits, self._pace)
        self._running.add(generation)
        # Who has seen the end may ask again at once: the place is free by then.
        generation.on_produced = lambda: self._take(owner, turns, -1)
        generation.task.add_done_callback(lambda _task: self._done(generation, order))
        return made.stream

    async def _begun(self, owner: str, key: Key | None) -> Stream | None:
        """Return the stream that a repeated request has begun before: it asks for no more than there is."""
        if key is None:
            return None
        if self._beginning:
            await asyncio.wait(self._beginning)  # it may be among these
        return await self._engine.keyed(owner, key)

    def _done(self, generation: Generation, order: Order) -> None:
        self._running.discard(generation)
        if generation.end is not None:
            self.tally.add(generation.end)
        if order.ended is not None:
            order.ended(generation.stream)

    def _take(self, owner: str, turns: Turns, count: int) -> None:
        """Take an answer on, or off again."""
        self._taken += count
        turns.taken += count
        self._owners[owner] += count
        if not self._owners[owner]:
            del self._owners[owner]

    def _turns_of(self, provider: Provider) -> Turns:
        if provider not in self._turns:
            self._turns[provider] = Turns(provider.capacity or self._limits.running)
        return self._turns[provider]

    def _check(self, owner: str, turns: Turns) -> None:
        """Refuse what the limits do not allow."""
        limits = self._limits
        if self._owners[owner] >= limits.per_owner:
            raise _busy(f"You have {self._owners[owner]:,} answers running, of {limits.per_owner:,} allowed.")
        if self._taken >= limits.running + limits.waiting:
            raise _busy(f"This server has {self._taken:,} answers running, all that it takes on.")
        waiting = turns.taken - turns.capacity
        if waiting >= limits.waiting:
            raise _busy(f"{waiting:,} answers wait for this model already, of {limits.waiting:,} allowed.")

    async def close(self, grace: float = 0) -> None:
        """Begin no more, let the running answers finish for ``grace`` seconds, then end what is left as lost."""
        self.closed = True
        await asyncio.gather(*self._beginning, return_exceptions=True)
        tasks = [generation.task for generation in self._running]
        if tasks and grace:
            logger.info("Waiting up to %g s for %d running answers; a second signal ends them now", grace, len(tasks))
            await asyncio.wait(tasks, timeout=grace)
        self._abandon()
        await asyncio.gather(*tasks)

    def hurry(self) -> None:
        """End the running answers as lost, now. May be called from a signal handler."""
        self._loop.call_soon_threadsafe(self._abandon)

    def _abandon(self) -> None:
        for generation in tuple(self._running):
            generation.abandon()


def _busy(what: str) -> ProviderError:
    return ProviderError(
        f"{what} Try again in a few seconds.",
        status=429,
        type="rate_limit_error",
        code="too_many_answers",
        retry_after=COME_AGAIN,
    )
