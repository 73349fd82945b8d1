"""Provider to log: the running production of one stream, and the only writer of it.

A generation belongs to the process, not to a connection: readers come and go. It ends in one of the five terminal
states, and the terminal entry is committed together with whatever text came last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import FINISH_REASONS, Begins, Continues, End, Opens, State, Stopped, encode_delta
from tickertape.errors import EngineError
from tickertape.generation.attendance import Attendance
from tickertape.generation.ends import LOST, UNFINISHED, failure, too_long, unknown_reason
from tickertape.generation.sink import AnswerSink
from tickertape.streams.contract import Stream
from tickertape.util.timer_wheel import timer_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.generation.batching import BatchClock
    from tickertape.generation.limits import Limits
    from tickertape.generation.queue import ProviderQueue
    from tickertape.providers.base import ChatRequest, Provider
    from tickertape.streams.contract import Engine, Header, Key, StreamWriter

logger = logging.getLogger("tickertape")

OPENING = encode_delta(Begins())
"""The first entry of every stream: sent before the first token, so that a cut at any moment can be resumed."""


class GenerationSpec(msgspec.Struct, frozen=True):
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


class Phase(Enum):
    """How far a generation is. It only moves on."""

    BEGINNING = "beginning"  # its stream is being created, which must not be interrupted
    PRODUCING = "producing"  # it waits in line, or for its provider: an interruption cancels that
    ENDING = "ending"  # how it ends is decided, and nothing changes that


class Generation:
    """One answer on its way from a provider into the log.

    ``created`` has the stream once it is committed: a new one, or the one that the same key has begun before, which
    this generation then leaves alone. Without a key, and without a line, the provider is asked while the stream is
    being created; if that fails, the call is cancelled. ``produced`` is called once, when nothing more is produced and
    before anybody can see that. ``end`` is how it ended, None while it runs and if there was nothing to produce.
    """

    def __init__(
        self,
        engine: Engine,
        header: Header,
        key: Key | None,
        spec: GenerationSpec,
        queue: ProviderQueue,
        limits: Limits,
        clock: BatchClock,
        produced: Callable[[], object],
    ) -> None:
        self.spec = spec
        self.end: End | None = None
        self._engine, self._header, self._key = engine, header, key
        self._queue, self._limits, self._clock, self._produced = queue, limits, clock, produced
        self._loop = asyncio.get_running_loop()
        self._sink = AnswerSink(limits, clock, self._interrupt)
        self._writer: StreamWriter | None = None
        self._attendance: Attendance | None = None
        self._phase = Phase.BEGINNING
        self._cause: State | Exception | None = None  # of an interruption; the first one counts
        self._cancelled_by = "request"
        self._interrupted_at = 0.0
        self.created: asyncio.Future[Stream] = self._loop.create_future()
        self.task = asyncio.create_task(self._run())

    def abandon(self) -> None:
        """End the answer as lost: this process is about to exit."""
        self._interrupt(State.LOST)

    async def _run(self) -> None:
        if self._key is None and self._queue.free:
            creating = asyncio.create_task(self._create())
            end = await self._outcome()
            writer = await creating
            if writer is None:
                return
        else:
            writer = await self._create()
            if writer is None:
                return
            end = await self._outcome()
        self.end = end
        writer.on_stop = None
        if self._attendance is not None:
            self._attendance.stop()
        self._produced()
        last = {State.COMPLETED: self._sink.finish, State.CANCELLED: Stopped()}.get(end.state)
        entries = [encode_delta(last)] if last else []
        if self._sink.usage and self.spec.show_usage:
            entries.append(encode_delta(self._sink.usage))
        try:
            await writer.finish([*entries, encode_delta(end)])
        except EngineError as error:  # whatever the provider said, the answer is not whole if the log is not
            await writer.fail(encode_delta(failure(error)))

    async def _create(self) -> StreamWriter | None:
        """Create the stream; return its writer, None if there is none for this generation."""
        try:
            made = await self._engine.create(self._header, self.spec.opening, self._key)
        except Exception as error:
            self._produced()
            self.created.set_exception(error)
            self._interrupt(error)
            return None
        if isinstance(made, Stream):
            self._produced()
            self.created.set_result(made)
            return None
        self._writer = made
        made.on_stop = self._stopped
        if self.spec.abandon_after is not None:
            self._attendance = Attendance(made, self.spec.abandon_after, self._deserted)
        self._sink.open(made)
        self.created.set_result(made.stream)
        return made

    async def _outcome(self) -> End:
        """Have the provider answer, and return how that ended."""
        try:
            if self._cause is None:
                self._phase = Phase.PRODUCING
                await self._queue.take(self._writer)
                try:
                    await self._answer()
                finally:
                    self._queue.release()
        except asyncio.CancelledError:
            self._cause = self._cause or State.LOST
        except Exception as error:
            # An upstream call that was cancelled may say so with an error of its own.
            self._cause = self._cause or error
        if self.task.cancelling():
            self.task.uncancel()
        self._phase = Phase.ENDING
        self._sink.close()
        if self._cause is not None:
            return self._interruption(self._cause)
        if self._sink.finish is None:
            return UNFINISHED
        if self._sink.finish.reason not in FINISH_REASONS:
            return unknown_reason(self._sink.finish.reason)
        return End(State.COMPLETED, finish_reason=self._sink.finish.reason, usage=self._counts)

    async def _answer(self) -> None:
        wheel = timer_wheel(self._loop)
        slot = wheel.call_after(self._loop.time(), self._limits.seconds, self._too_slow)
        self._clock.enter()
        try:
            await self.spec.provider.answer(self.spec.request, self._sink)
        finally:
            self._clock.leave()
            wheel.cancel(slot, self._too_slow)

    def _interrupt(self, cause: State | Exception) -> None:
        """Have the answer end for this cause, unless it has ended, or is about to for another one."""
        if self._phase is Phase.ENDING or self._cause is not None:
            return
        self._cause = cause
        self._interrupted_at = time.monotonic()
        self._sink.close()
        # Not now: this may be called by the task itself, from within its provider.
        self._loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._phase is Phase.PRODUCING:
            self.task.cancel()

    def _stopped(self) -> None:
        """For the writer: somebody asked to stop, or the log cannot be written."""
        assert self._writer is not None  # noqa: S101 - it is the writer who calls
        self._interrupt(self._writer.error or State.CANCELLED)

    def _deserted(self) -> None:
        """For the attendance: stop, as if the last reader had asked for it."""
        assert self._writer is not None  # noqa: S101 - it is the writer's readers who have left
        self._cancelled_by = "disconnect"
        self._writer.request_stop()

    def _too_slow(self) -> None:
        self._interrupt(too_long(f"more than {self._limits.seconds:g} seconds"))

    def _interruption(self, cause: State | Exception) -> End:
        """Return the end for what has interrupted the answer, or gone wrong."""
        if isinstance(cause, Exception):
            return failure(cause)
        if cause is State.LOST:
            return LOST
        closed = round((time.monotonic() - self._interrupted_at) * 1000, 1)
        logger.debug("Stream %s: upstream closed %g ms after stop", self._header.id, closed)
        return End(State.CANCELLED, usage=self._counts, cancelled_by=self._cancelled_by, closed_after_ms=closed)

    @property
    def _counts(self) -> dict[str, Any] | None:
        return self._sink.usage.usage if self._sink.usage else None
