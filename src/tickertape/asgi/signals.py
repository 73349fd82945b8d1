"""Draining before the host ends: ASGI servers wait for open streams before they tell an app that they stop.

Streams do not end by themselves, so a server that got SIGTERM would wait for its own timeout, or for ever. While a core
runs in the main thread, SIGTERM and SIGINT cut its readers, which then reconnect elsewhere, let its answers end within
the grace period, and call whatever the host had installed. A second signal ends the answers at once.

The host's handler is never lost: it is called with every signal, and put back by `remove`, unless somebody has
installed another one meanwhile. A host that ignores a signal goes on to ignore it. asyncio's own handlers
(``loop.add_signal_handler``) are told by a file descriptor and go on working. In other threads Python allows no
handlers, and nothing is done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from tickertape.stream_core import StreamCore

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class DrainOnSignal:
    """Chains a core's drain before the host's handlers."""

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        self._before: dict[int, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._draining: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Chain, in the main thread; the event loop must run. Elsewhere this does nothing.

        A signal that is ignored stays so, and one that C code handles stays its own: Python cannot call that.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        for number in SIGNALS:
            if number not in self._before and signal.getsignal(number) not in (None, signal.SIG_IGN):
                self._before[number] = signal.signal(number, self._handle)

    def remove(self) -> None:
        """Put back what was there. Where somebody has chained to this handler since, it stays, and only hands on."""
        self._loop = None
        for number, before in tuple(self._before.items()):
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
                del self._before[number]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        before = self._before.get(number)
        loop = self._loop
        draining = loop is not None and loop.is_running() and os.getpid() == self._process
        if loop is not None and draining:
            loop.call_soon_threadsafe(self._drain, number)
        if callable(before):
            before(number, frame)
        elif not draining:  # the system's default, which would have ended this process
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _drain(self, number: int) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drained(number))
        else:
            self._core.hurry()

    async def _drained(self, number: int) -> None:
        try:
            await self._core.drain()
        finally:
            if self._before.get(number) == signal.SIG_DFL:  # it would have ended this process at once
                self.remove()
                signal.raise_signal(number)
