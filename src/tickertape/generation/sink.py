"""Where a provider's deltas become entries: encoded once, counted against the limits, appended to the stream."""

from __future__ import annotations

import asyncio
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING, cast

from tickertape.deltas import Delta, End, Finish, Reasoning, Refusal, Text, Usage, decode_delta, encode_delta
from tickertape.generation.batching import FEW
from tickertape.generation.ends import too_long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickertape.generation.batching import BatchClock
    from tickertape.generation.limits import Limits
    from tickertape.streams.contract import StreamWriter

EARLY = 1_000
"""Entries that are kept until the stream is created; with more the provider has to wait."""

_JOINED = (Text, Reasoning, Refusal)
"""Deltas of which several that come together are one."""


class AnswerSink:
    """A generation's side of `providers.base.Sink`.

    `open` gives it the writer once the stream is created; what comes before is kept. `close` appends what is still kept
    back, after that nothing is taken. ``finish`` and ``usage`` are the last ones that came: they belong to the end of
    the stream. ``failed`` is called once, with the sink closed, with the error for which a delta could not be taken.
    """

    __slots__ = (
        "_appended",
        "_bytes",
        "_clock",
        "_closed",
        "_early",
        "_events",
        "_failed",
        "_held",
        "_limits",
        "_opened",
        "_writer",
        "finish",
        "usage",
    )

    def __init__(self, limits: Limits, clock: BatchClock, failed: Callable[[Exception], object]) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self._limits, self._clock, self._failed = limits, clock, failed
        self._writer: StreamWriter | None = None
        self._early: list[bytes] = []
        self._opened: asyncio.Future[None] | None = None
        self._events, self._bytes = limits.events, limits.size  # that may still come
        self._held: list[Delta] = []
        self._appended = -inf  # when something was, by the clock
        self._closed = False

    @property
    def behind(self) -> bool:
        """Whether the log is far behind the provider."""
        return len(self._early) > EARLY if self._writer is None else self._writer.behind

    async def drained(self) -> None:
        """Return once it is not."""
        if self._writer is None:
            if self._opened is None:
                self._opened = asyncio.get_running_loop().create_future()
            await self._opened
        if self._writer is not None:
            await self._writer.drained()

    def push(self, deltas: list[Delta]) -> None:
        """Take deltas that are ready together, from whatever callback."""
        if self._closed:
            return
        try:
            window = self._clock.window
            if window and self._holds(deltas, window):
                return
            self._append(deltas)
        except Exception as error:
            self._fail(error)

    def open(self, writer: StreamWriter) -> None:
        """Append what was kept, and from now on what comes."""
        self._writer = writer
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
        if self._early:
            early, self._early = self._early, []
            try:
                writer.append(early)
            except Exception as error:
                self._fail(error)

    def close(self) -> None:
        """Append what is held and take nothing more."""
        self._flush()
        self._closed = True

    def _fail(self, error: Exception) -> None:
        if not self._closed:
            self._closed = True
            self._failed(error)

    def _holds(self, deltas: list[Delta], window: float) -> bool:
        """Hold deltas back, under load, if others of this answer were appended less than a window ago."""
        if len(deltas) >= FEW or self.finish is not None:
            self._flush()
            return self._closed
        now = self._clock.time()
        if not self._held:
            if now - self._appended >= window:
                self._appended = now
                return False
            self._clock.hold(self._flush)
        self._held += deltas
        return True

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._closed:
            self._appended = self._clock.time()
            try:
                self._append(held)
            except Exception as error:
                self._fail(error)

    def _append(self, deltas: list[Delta]) -> None:
        """Append deltas; raise what speaks against it."""
        if len(deltas) == 1 and type(deltas[0]) is Text:
            entries = [encode_delta(deltas[0])]
            self._bytes -= len(entries[0])
        else:
            entries = self._encoded(deltas)
            if not entries:
                return
            self._bytes -= sum(map(len, entries))
        self._events -= len(entries)
        if self._events < 0:
            raise too_long(f"more than {self._limits.events:,} events")
        if self._bytes < 0:
            raise too_long(f"more than {self._limits.size:,} bytes")
        if self._writer is not None:
            self._writer.append(entries)
        else:
            self._early += entries

    def _encoded(self, deltas: list[Delta]) -> list[bytes]:
        """Encode what came together. Neighbouring pieces of text share an entry; the end's deltas wait for the end."""
        entries: list[bytes] = []
        for kind, run in groupby(deltas, type):
            if kind is Finish:
                self.finish = cast("Finish", _last(run))
            elif kind is Usage:
                self.usage = cast("Usage", _last(run))
            elif kind in _JOINED:
                entries.append(encode_delta(kind("".join(delta.text for delta in cast("Iterable[Text]", run)))))
            else:
                entries += map(encode_delta, run)
        return entries


def _last(run: Iterable[Delta]) -> Delta | End:
    """Return the last of these as its entry will say it: what is kept for the end must be known to have an entry."""
    *_, last = run
    return decode_delta(encode_delta(last))
