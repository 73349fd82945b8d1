"""The conversations as the server holds them: opened with the first use, in a thread of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tickertape.chats.place import check
from tickertape.chats.values import ChatLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.chats.store import Store

T = TypeVar("T")


class Chats:
    """Calls the store off the event loop, one call at a time.

    The file is made, and SQLAlchemy imported, when the first conversation begins. ``changed``, if set, is called on
    the event loop after every call that may have changed something.
    """

    def __init__(self, path: Path, limits: ChatLimits | None = None) -> None:
        self._path = path
        self._limits = limits or ChatLimits()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tickertape-chats")
        self._store: Store | None = None
        self.changed: Callable[[], object] | None = None

    @property
    def limits(self) -> ChatLimits:
        """The limits on conversations."""
        return self._limits

    @property
    def begun(self) -> bool:
        """Whether there are conversations at all: nothing need be opened where there are none."""
        return self._store is not None or self._path.exists()

    async def read(self, call: Callable[[Store], T]) -> T:
        """Return what the store says. Raises what it raises, ChatsUnavailable when the file cannot be used."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(self._opened()))

    async def write(self, call: Callable[[Store], T]) -> T:
        """Do the same for a call that changes something; it is finished even if the caller gives up."""
        task = asyncio.ensure_future(self.read(call))
        task.add_done_callback(self._wrote)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _wrote(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None and self.changed is not None:
            self.changed()

    def _opened(self) -> Store:
        if self._store is None:
            from tickertape.chats.store import Store

            check(self._path)
            self._store = Store(self._path, self._limits)
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
