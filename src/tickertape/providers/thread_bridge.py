"""One answer of a blocking runtime: it runs in a thread of its own and hands its deltas to the event loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tickertape.deltas import Delta

WAITING = 256
"""Deltas that may wait for the event loop; then the runtime's thread waits."""


class ThreadBridge:
    """A thread that works, and what it has given so far.

    ``work`` is called in the thread with this bridge: it calls `give` with what it has and stops when that returns
    True. What it raises is raised by `take`. ``ended`` is called on the event loop when the thread is done, which may
    be after `cancel`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Callable[[ThreadBridge], None], ended: Callable[[], object]
    ) -> None:
        self._loop, self._work, self._ended = loop, work, ended
        self._lock = threading.Lock()
        self._deltas: list[Delta] = []
        self._room = threading.Event()
        self._room.set()
        self._error: BaseException | None = None
        self._done = False
        self._cancelled = False
        self._waiter: asyncio.Future[None] | None = None
        # A daemon, so that a forgotten answer does not keep the interpreter from exiting.
        self._thread = threading.Thread(target=self._main, name="tickertape-answer", daemon=True)
        self._thread.start()

    async def take(self) -> list[Delta]:
        """Return what has come, at least one delta; nothing when the work is done. Raises what the work raised."""
        while True:
            with self._lock:
                deltas, self._deltas = self._deltas, []
                done = self._done
                self._room.set()
            if deltas:
                return deltas
            if done:
                if self._error is not None:
                    raise self._error
                return []
            self._waiter = self._loop.create_future()
            await self._waiter

    def cancel(self) -> None:
        """Tell the work to stop at its next `give`; do not wait for it."""
        with self._lock:
            self._cancelled = True
            self._room.set()

    def give(self, deltas: list[Delta]) -> bool:
        """Hand over deltas from the thread, and wait while too many are waiting; return whether to stop."""
        with self._lock:
            first = deltas and not self._deltas
            self._deltas += deltas
            if len(self._deltas) >= WAITING and not self._cancelled:
                self._room.clear()
        if first:
            self._call(self._wake)
        self._room.wait()
        return self._cancelled

    def _main(self) -> None:
        try:
            self._work(self)
        except BaseException as error:  # whatever it is belongs to the one who waits
            self._error = error
        with self._lock:
            self._done = True
        self._call(self._wake)
        self._call(self._ended)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
