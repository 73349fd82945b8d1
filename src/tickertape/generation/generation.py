"""Provider to log: the running production of one stream, and the only writer of it.

A generation belongs to the process, not to a connection: readers come and go. It ends in one of the five terminal
states, and the terminal entry is committed together with whatever text came last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tickertape.deltas import (
    Begins,
    Continues,
    Delta,
    End,
    Finish,
    Opens,
    Reasoning,
    Refusal,
    State,
    Stopped,
    Text,
    Usage,
    decode_delta,
    encode_delta,
)
from tickertape.errors import AnswerUnfinished, LogError, ProviderError
from tickertape.generation.pace import FEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickertape.generation.limits import Limits
    from tickertape.generation.pace import Pace
    from tickertape.generation.turns import Turns
    from tickertape.providers.base import ChatRequest, Provider
    from tickertape.streams.contract import Stream, StreamWriter

logger = logging.getLogger("tickertape")

OPENING = encode_delta(Begins())
"""The first entry of every stream: sent before the first token, so that a cut at any moment can be resumed."""

_JOINED = (Text, Reasoning, Refusal)
"""Deltas of which several that come together are one."""

ARRIVAL = 5.0
"""Seconds that the first reader gets on top of the policy's: it asks, then it attaches."""

AGAIN = 1.0
"""Seconds, on top of the policy's, until a stream that is read in another process is looked at again."""


def _error(
    state: State,
    status: int,
    message: str,
    type_: str = "server_error",
    code: str | None = None,
    param: str | None = None,
) -> End:
    """Return the end that carries an OpenAI error object."""
    error = {"message": message, "type": type_, "code": code or str(state), "param": param}
    return End(state, error=error, status=status)


def _failure(error: Exception) -> End:
    """Return the end of an answer that failed with this error. Of one that nobody foresaw, no detail is shown."""
    if isinstance(error, ProviderError):
        state = State.INCOMPLETE if isinstance(error, AnswerUnfinished) else State.FAILED
        end = _error(state, error.status, error.message, error.type, error.code, error.param)
        return msgspec.structs.replace(end, retry_after=error.retry_after)
    if isinstance(error, LogError):
        return _error(State.FAILED, 503, error.shown)
    logger.error("A generation failed", exc_info=error)
    return _error(State.FAILED, 500, "The server failed while it produced this answer; its own log says why.")


def _last(run: Iterable[Delta]) -> Delta | End:
    """Return the last of these as its entry will say it: what is kept for the end must be known to have an entry."""
    *_, last = run
    return decode_delta(encode_delta(last))


def too_long(what: str) -> ProviderError:
    """Return the error of an answer that was ended by a limit; what had come is kept."""
    return ProviderError(
        f"The answer took {what}, the limit of this server, and was ended there.",
        status=500,
        type="server_error",
        code="answer_too_long",
    )


LOST = _error(State.LOST, 503, "The server that was writing this answer stopped; this is what was written.")
DAMAGED = _error(State.LOST, 500, "The rest of this answer is damaged on the server's disk; this is what can be read.")


class Order(msgspec.Struct, frozen=True):
    """What is to be produced, and what becomes of it when nobody reads.

    The answer is cancelled once nobody has read it for ``abandon_after`` seconds; None lets it go on. ``show_usage``
    puts the token counts into the stream. ``continues`` names the stream whose partial answer it goes on from.
    ``place`` says where in a conversation the answer belongs. ``stream`` is the id of the stream to be made, 32
    hexadecimal digits, when the caller has to know it before. ``ended`` is called on the event loop with the stream
    once its end is in the log; it must be quick and not raise.
    """

    provider: Provider
    request: ChatRequest
    show_usage: bool = False
    abandon_after: float | None = None
    continues: str | None = None
    place: dict[str, Any] | None = None
    stream: str | None = None
    ended: Callable[[Stream], object] | None = None

    @property
    def opening(self) -> list[bytes]:
        """The first entries of the stream."""
        first = OPENING if self.place is None else encode_delta(Opens(self.place))
        return [first, encode_delta(Continues(self.continues))] if self.continues else [first]


class Generation:
    """One answer on its way from a provider into the log."""

    def __init__(
        self,
        writer: StreamWriter,
        order: Order,
        turns: Turns,
        limits: Limits,
        pace: Pace,
    ) -> None:
        self.stream = writer.stream
        self._writer = writer
        self._order = order
        self._turns = turns
        self._limits = limits
        self._pace = pace
        self.end: End | None = None
        self.on_produced: Callable[[], object] | None = None  # called before the end is shown
        self._events = self._size = 0
        self._stopped_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._cancelled_by = "request"
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._abandoned = False
        self._pumping = False
        self.task = asyncio.create_task(self._run())

    def abandon(self) -> None:
        """End the answer as lost: this process is about to exit."""
        self._abandoned = True
        self._interrupt()

    async def _run(self) -> None:
        self._writer.on_stop = self._interrupt
        self._writer.on_leave = self._left
        self._left(ARRIVAL)
        try:
            end = self.end = await self._outcome()
        finally:
            self._writer.on_stop = self._writer.on_leave = None
            self._forget_timer()
            if self.on_produced is not None:
                self.on_produced()
        last = {State.COMPLETED: self._finish, State.CANCELLED: Stopped()}.get(end.state)
        entries = [encode_delta(last)] if last else []
        if self._usage and self._order.show_usage:
            entries.append(encode_delta(self._usage))
        try:
            await self._writer.finish([*entries, encode_delta(end)])
        except LogError as error:  # whatever the provider said, the answer is not whole if the log is not
            await self._writer.fail(encode_delta(_failure(error)))

    def _left(self, more: float = 0) -> None:
        """Begin to wait for another reader, if the policy says so and none is left."""
        if self._order.abandon_after is not None and not self.stream.readers:
            self._forget_timer()
            seconds = self._order.abandon_after + more
            self._timer = asyncio.get_running_loop().call_later(seconds, self._unread, self._order.abandon_after)

    def _unread(self, seconds: float) -> None:
        if not self.stream.readers:
            self._leaving = asyncio.create_task(self._leave(seconds))

    async def _leave(self, seconds: float) -> None:
        """Cancel the answer unless somebody reads it in another process."""
        try:
            attended = await self._writer.attended(seconds)
        except LogError:
            attended = True  # nobody knows; asked again
        if self.task.done():
            return
        if attended or self.stream.readers:
            self._left(AGAIN)
        else:
            self._cancelled_by = "disconnect"
            self._writer.request_stop()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _interrupt(self) -> None:
        """Cancel the pumping, never the terminal entry; a task that has not begun looks by itself."""
        if self._pumping:
            self._pumping = False
            self._stopped_at = time.monotonic()
            self.task.cancel()

    async def _outcome(self) -> End:
        """Pump until the answer has ended, and return how it ended."""
        limit: asyncio.Timeout | None = None
        try:
            self._pumping = True
            if self._writer.stop_requested or self._abandoned:
                raise asyncio.CancelledError
            async with (
                self._turns.take(self._writer),
                asyncio.timeout(self._limits.seconds) as limit,
                aclosing(self._order.provider.stream(self._order.request)) as batches,
            ):
                pace, looked = self._pace, 0.0
                async for batch in batches:
                    entries = self._entries(batch)
                    if entries:
                        self._count(entries)
                        self._writer.append(entries)
                        if self._writer.behind:
                            await self._writer.drained()
                    now = pace.look()
                    rests = now - looked < pace.rest and len(batch) < FEW and self._finish is None
                    looked = await pace.wait(now) if rests else now
            if self._finish is None:
                return _error(State.INCOMPLETE, 502, "The model's server ended the answer without saying it was done.")
            return End(State.COMPLETED, finish_reason=self._finish.reason, usage=self._counts)
        except asyncio.CancelledError:
            return self._interruption()
        except Exception as error:
            if limit is not None and limit.expired():
                return _failure(too_long(f"more than {self._limits.seconds:g} seconds"))
            # An upstream call that was cancelled may say so with an error of its own.
            return _failure(error) if self._pumping else self._interruption()
        finally:
            self._pumping = False

    def _interruption(self) -> End:
        """Return the end of an answer that was interrupted by us."""
        self.task.uncancel()
        if self._writer.stop_requested:
            closed = round((time.monotonic() - self._stopped_at) * 1000, 1) if self._stopped_at else 0.0
            logger.debug("Stream %s: upstream closed %g ms after stop", self.stream.header.id, closed)
            return End(State.CANCELLED, usage=self._counts, cancelled_by=self._cancelled_by, closed_after_ms=closed)
        return LOST if self._writer.error is None else _failure(self._writer.error)

    @property
    def _counts(self) -> dict[str, Any] | None:
        return self._usage.usage if self._usage else None

    def _count(self, entries: list[bytes]) -> None:
        """Raise ProviderError when the stream grows beyond its limits."""
        self._events += len(entries)
        for entry in entries:
            self._size += len(entry)
        if self._events > self._limits.events:
            raise too_long(f"more than {self._limits.events:,} events")
        if self._size > self._limits.size:
            raise too_long(f"more than {self._limits.size:,} bytes")

    def _entries(self, batch: list[Delta]) -> list[bytes]:
        """Encode what came together. Neighbouring pieces of text share an entry; the end's deltas wait for the end."""
        if len(batch) == 1 and type(batch[0]) is Text:
            return [encode_delta(batch[0])]
        entries: list[bytes] = []
        for kind, run in groupby(batch, type):
            if kind is Finish:
                self._finish = cast("Finish", _last(run))
            elif kind is Usage:
                self._usage = cast("Usage", _last(run))
            elif kind in _JOINED:
                entries.append(encode_delta(kind("".join(delta.text for delta in cast("Iterable[Text]", run)))))
            else:
                entries += map(encode_delta, run)
        return entries
