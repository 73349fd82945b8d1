"""All generations of one process: beginning, limits, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING

from tickertape.errors import ApiError
from tickertape.generation.batching import BatchClock
from tickertape.generation.generation import Generation, GenerationSpec
from tickertape.generation.limits import Limits
from tickertape.generation.queue import ProviderQueue
from tickertape.streams.contract import Engine, Header, Key, Stream

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
        self._clock = BatchClock(self._loop)
        self._running: set[Generation] = set()
        self._accepted = 0  # answers that run, or are about to
        self._owners: Counter[str] = Counter()  # of these, by owner
        self._queues: dict[Provider, ProviderQueue] = {}
        self.tally = Tally()
        self.closed = False

    @property
    def running(self) -> int:
        """How many answers are produced or wait in line."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many answers wait in line."""
        return sum(queue.waiting for queue in self._queues.values())

    async def begin(self, spec: GenerationSpec, *, owner: str, key: Key | None = None) -> Stream:
        """Begin an answer and return its stream, or the stream that this Idempotency-Key has begun before.

        Raises InvalidRequest for parameters that the provider does not take, KeyReused and EngineUnavailable; ApiError
        (429) when the server is busy, (503) when it is about to exit. Errors of the provider end the stream. A caller
        who gives up meanwhile ends nothing.
        """
        if self.closed:
            raise ApiError("This server is about to exit; ask again in a moment.", status=503, retry_after=1)
        spec.provider.check(spec.request)
        queue = self._queue_of(spec.provider)
        try:
            self._check(owner, queue)
        except ApiError:
            begun = await self._begun(owner, key)
            if begun is None:
                raise
            return begun
        self._accept(owner, queue, 1)
        stream_id = spec.stream or secrets.token_hex(16)
        header = Header(id=stream_id, owner=owner, model=spec.request.model, created=int(time.time()))
        generation = Generation(
            self._engine,
            header,
            key,
            spec,
            queue,
            self._limits,
            self._clock,
            # Who has seen the end may ask again at once: the place is free by then.
            produced=lambda: self._accept(owner, queue, -1),
        )
        self._running.add(generation)
        generation.task.add_done_callback(lambda _task: self._done(generation))
        # Shielded: the stream of a caller who is cancelled is created all the same, and has its end.
        return await asyncio.shield(generation.created)

    async def _begun(self, owner: str, key: Key | None) -> Stream | None:
        """Return the stream that a repeated request has begun before: it asks for no more than there is."""
        if key is None:
            return None
        beginning = [generation.created for generation in self._running if not generation.created.done()]
        if beginning:
            await asyncio.wait(beginning)  # it may be among these
        return await self._engine.keyed(owner, key)

    def _done(self, generation: Generation) -> None:
        self._running.discard(generation)
        if generation.end is not None:
            self.tally.add(generation.end)
            if generation.spec.ended is not None:
                generation.spec.ended(generation.created.result())

    def _accept(self, owner: str, queue: ProviderQueue, count: int) -> None:
        """Accept an answer, or take that back."""
        self._accepted += count
        queue.accepted += count
        self._owners[owner] += count
        if not self._owners[owner]:
            del self._owners[owner]

    def _queue_of(self, provider: Provider) -> ProviderQueue:
        if provider not in self._queues:
            self._queues[provider] = ProviderQueue(provider.capacity or self._limits.running)
        return self._queues[provider]

    def _check(self, owner: str, queue: ProviderQueue) -> None:
        """Refuse what the limits do not allow."""
        limits = self._limits
        if self._owners[owner] >= limits.per_owner:
            raise _busy(f"You have {self._owners[owner]:,} answers running, of {limits.per_owner:,} allowed.")
        if self._accepted >= limits.running + limits.waiting:
            raise _busy(f"This server has {self._accepted:,} answers running, all that it takes on.")
        waiting = queue.accepted - queue.capacity
        if waiting >= limits.waiting:
            raise _busy(f"{waiting:,} answers wait for this model already, of {limits.waiting:,} allowed.")

    async def close(self, grace: float = 0) -> None:
        """Begin no more, let the running answers finish for ``grace`` seconds, then end what is left as lost."""
        self.closed = True
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


def _busy(what: str) -> ApiError:
    return ApiError(
        f"{what} Try again in a few seconds.",
        status=429,
        type="rate_limit_error",
        code="too_many_answers",
        retry_after=COME_AGAIN,
    )
