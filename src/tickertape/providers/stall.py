"""Notices that an upstream has gone silent, at the price of one timer a stream and an assignment a read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Stalled(Exception):
    """A read was interrupted because it had waited for too long; the text is the sentence to show."""


class StallTimer:
    """Calls ``interrupt`` with a `Stalled` when nothing came for too long.

    It starts with the time allowed for the first delta, counted from ``begun``; `resume` begins the time
    allowed between events. In between, while the consumer has the turn, it is paused: a slow reader is not the
    upstream's fault. The timer is not moved with every read: it looks when it fires and sleeps for the rest.
    """

    __slots__ = ("_handle", "_idle", "_interrupt", "_limit", "_loop", "_since", "_started")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        interrupt: Callable[[Stalled], None],
        *,
        begun: float,
        first: float,
        idle: float,
    ) -> None:
        self._loop, self._interrupt, self._idle = loop, interrupt, idle
        self._since: float | None = begun
        self._limit = first
        self._started = False
        self._handle = loop.call_at(begun + first, self._look)

    def pause(self) -> None:
        """Give the turn to the consumer."""
        self._since = None

    def resume(self) -> None:
        """Give the turn back to the upstream, which has sent its first delta."""
        self._since = self._loop.time()
        if not self._started:
            self._started = True
            self._limit = self._idle
            self._handle.cancel()
            self._handle = self._loop.call_at(self._since + self._idle, self._look)

    def progress(self) -> None:
        """Count an event that holds nothing to show; before the first delta it does not count."""
        if self._started:
            self._since = self._loop.time()

    def stop(self) -> None:
        """Never fire again."""
        self._handle.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._since is None else self._since) + self._limit
        if due > now:
            self._handle = self._loop.call_at(due, self._look)
        elif self._started:
            self._interrupt(Stalled(f"sent nothing for {self._limit:g} s in the middle of the answer."))
        else:
            self._interrupt(Stalled(f"sent no token within {self._limit:g} s. Try again or raise the timeout."))
