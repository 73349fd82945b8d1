"""Notices that an upstream has gone silent, at the price of a slot in the timer wheel and an assignment a read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.util.timer_wheel import timer_wheel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Stalled(Exception):
    """A read was interrupted because it had waited for too long; the text is the sentence to show."""


class StallTimer:
    """Calls ``interrupt`` with a `Stalled` when nothing came for too long.

    It starts with the time allowed for the first delta, counted from ``begun``; `delta` begins the time allowed between
    events. `pause` stops the clock while the sink is behind: that is not the upstream's fault. The timer is not moved
    with every read: it looks when it fires and sleeps for the rest.
    """

    __slots__ = ("_idle", "_interrupt", "_limit", "_since", "_slot", "_started", "_stopped", "_wheel")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interrupt: Callable[[Stalled], None],
        *,
        begun: float,
        first: float,
        idle: float,
    ) -> None:
        self._wheel, self._interrupt, self._idle = timer_wheel(loop), interrupt, idle
        self._since: float | None = begun
        self._limit = first
        self._started = False
        self._stopped = False
        self._slot = self._wheel.call_after(begun, first, self._look)

    def delta(self) -> None:
        """Count a delta."""
        self._since = self._wheel.loop.time()
        if not self._started:
            self._started = True
            self._limit = self._idle
            self._wheel.cancel(self._slot, self._look)
            self._slot = self._wheel.call_after(self._since, self._idle, self._look)

    def progress(self) -> None:
        """Count an event that holds nothing to show; before the first delta it does not count."""
        if self._started:
            self._since = self._wheel.loop.time()

    def pause(self) -> None:
        """Stop the clock: the upstream is not read."""
        self._since = None

    def resume(self) -> None:
        """Begin to wait for the upstream anew."""
        self._since = self._wheel.loop.time()

    def stop(self) -> None:
        """Never fire again."""
        self._stopped = True
        self._wheel.cancel(self._slot, self._look)

    def _look(self) -> None:
        if self._stopped:
            return
        now = self._wheel.loop.time()
        since = now if self._since is None else self._since
        if since + self._limit > now:
            self._slot = self._wheel.call_after(since, self._limit, self._look)
        elif self._started:
            self._interrupt(Stalled(f"sent nothing for {self._limit:g} s in the middle of the answer."))
        else:
            self._interrupt(Stalled(f"sent no token within {self._limit:g} s. Try again or raise the timeout."))
