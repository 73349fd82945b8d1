"""The conversations as the server holds them: opened with the first use, in threads of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from tickertape.conversations.models import ConversationLimits
from tickertape.conversations.sqlite import check, upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.conversations.sql_store import Clock, SqlStore

T = TypeVar("T")


class AsyncStore:
    """Calls the store off the event loop: one call that reads and one that writes at a time.

    The file is made, and SQLAlchemy imported, when the first conversation begins. ``changed``, if set, is called on
    the event loop after every call that may have changed something. ``synchronous`` is SQLite's.
    """

    def __init__(
        self,
        path: Path,
        limits: ConversationLimits | None = None,
        *,
        synchronous: str = "NORMAL",
        clock: Clock = time.time,
    ) -> None:
        self._path = path
        self._options: Any = {"synchronous": synchronous, "clock": clock}
        self.limits = limits or ConversationLimits()
        self._reader = ThreadPoolExecutor(
            1, thread_name_prefix="tickertape-conversations-read"
        )  # a search holds no question up
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="tickertape-conversations-write")
        self._opening = threading.Lock()
        self._store: SqlStore | None = None
        self._upkeep = upkeep(path, self._shrink)
        self.changed: Callable[[], object] | None = None

    @property
    def begun(self) -> bool:
        """Whether there are conversations at all: nothing need be opened where there are none."""
        return self._store is not None or self._path.exists()

    async def read(self, call: Callable[[SqlStore], T]) -> T:
        """Return what the store says. Raises what it raises, ConversationsUnavailable when the file cannot be used."""
        return await self._run(self._reader, call)

    async def write(self, call: Callable[[SqlStore], T]) -> T:
        """Do the same for a call that changes something; it is finished even if the caller gives up."""
        task = asyncio.ensure_future(self._run(self._writer, call))
        task.add_done_callback(self._wrote)
        return await asyncio.shield(task)

    async def probe(self) -> None:
        """Raise ConversationsUnavailable if nothing can be written now. Nothing is done before the file is open."""
        if self._store is not None:
            await self._run(self._writer, lambda store: store.probe())

    def purged(self) -> None:
        """Say that something was deleted for good: let nothing of it be left in the file, and give the space back."""
        self._upkeep.deleted()

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        await self._upkeep.close()
        loop = asyncio.get_running_loop()
        for thread in (self._reader, self._writer):
            await loop.run_in_executor(None, thread.shutdown)
        if self._store is not None:
            await loop.run_in_executor(None, self._store.close)

    async def _run(self, thread: Executor, call: Callable[[SqlStore], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, lambda: call(self._opened()))

    async def _shrink(self) -> bool:
        return await self._run(self._writer, lambda store: store.shrink())

    def _opened(self) -> SqlStore:
        with self._opening:
            if self._store is None:
                from tickertape.conversations.sql_store import SqlStore

                check(self._path)
                self._store = SqlStore(self._path, self.limits, **self._options)
            return self._store

    def _wrote(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._upkeep.written()
            if self.changed is not None:
                self.changed()
