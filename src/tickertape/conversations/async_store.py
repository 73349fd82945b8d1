"""The store on the event loop: opened at the first use, its calls run in threads of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tickertape.conversations.models import ConversationLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.conversations.store import Clock, Database, Store

T = TypeVar("T")


class AsyncStore:
    """Calls the store off the event loop: one call that reads and one that writes at a time.

    The database is created, and SQLAlchemy imported, when the first conversation begins. ``changed``, if set, is called
    on the event loop after every call that may have changed something.
    """

    def __init__(
        self, database: Database, limits: ConversationLimits | None = None, *, clock: Clock = time.time
    ) -> None:
        self._database = database
        self._clock = clock
        self.limits = limits or ConversationLimits()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tickertape-conversations-read")  # searches take long
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tickertape-conversations-write")
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._maintenance = database.maintenance(self._reclaim_space)
        self.changed: Callable[[], object] | None = None

    @property
    def exists(self) -> bool:
        """Whether there are conversations at all: nothing need be opened where there are none."""
        return self._store is not None or self._database.exists

    async def read(self, call: Callable[[Store], T]) -> T:
        """Return the result of a call that reads.

        Raises what it raises, and ConversationsUnavailable when the database cannot be used.
        """
        return await self._run(self._reader, call)

    async def write(self, call: Callable[[Store], T]) -> T:
        """Return the result of a call that may change something; it is finished even if the caller is cancelled."""
        task = asyncio.ensure_future(self._run(self._writer, call))
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    async def probe(self) -> None:
        """Raise ConversationsUnavailable if nothing can be written now. Nothing is done before the first use."""
        if self._store is not None:
            await self._run(self._writer, lambda store: store.probe())

    def hard_deleted(self) -> None:
        """Say that something was deleted for good: nothing of it may be left, and its space is given back."""
        self._maintenance.deleted()

    async def close(self) -> None:
        """Finish the calls that were made, and close the database."""
        await self._maintenance.close()
        loop = asyncio.get_running_loop()
        for thread in (self._reader, self._writer):
            await loop.run_in_executor(None, thread.shutdown)
        if self._store is not None:
            await loop.run_in_executor(None, self._store.close)

    async def _run(self, thread: Executor, call: Callable[[Store], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, lambda: call(self._opened()))

    async def _reclaim_space(self) -> bool:
        return await self._run(self._writer, lambda store: store.reclaim_space())

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                self._store = self._database.open(self.limits, self._clock)
            return self._store

    def _written(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._maintenance.written()
            if self.changed is not None:
                self.changed()
