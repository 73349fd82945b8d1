"""The service: conversations and their answers. It joins the store with the streams and the generations.

A request is committed before its answer starts, with the id of the stream that is to come. What can happen then:

* The answer ends. The process that produced it puts the text into the message (`_on_end`).
* The process dies. Its stream ends as lost; whoever reads the conversation next finalizes the message
  (`finalize_ended`).
* The process dies between the commit and the start of the stream. No engine knows the stream, and the message ends as
  lost.
* The text cannot be put into the message, because the disk is full. It stays in the stream until it can: `expire`
  deletes nothing before `finalize_ended` has succeeded.

Everything runs on the event loop; only the store's calls run in threads (`async_store.py`). The owner is the caller's
word: whoever calls the service has authenticated it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.conversations.models import (
    AnswerOptions,
    ConversationUpdate,
    Outcome,
    SegmentState,
    new_id,
)
from tickertape.deltas import End, State
from tickertape.errors import (
    ConversationConflict,
    ConversationError,
    ConversationLimitExceeded,
    EngineError,
    InvalidRequest,
    StreamDamaged,
    TickertapeError,
    UnknownStream,
    error_object,
    to_api_error,
)
from tickertape.generation import LOST, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.streams.contract import Key
from tickertape.transcript import Transcript
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.conversations.models import (
        Conversation,
        ConversationLimits,
        ConversationPage,
        ConversationSummary,
        MessageRequest,
        PreparedAnswer,
        Segment,
    )
    from tickertape.generation import Generations
    from tickertape.providers.base import Provider
    from tickertape.providers.catalog import Catalog
    from tickertape.streams.contract import Engine, Stream

logger = logging.getLogger("tickertape")

START = 10.0
"""Seconds that another process gets between the commit of a request and the start of its stream."""

MODEL_NAME = 255
"""Characters of a model's name."""


class AnswerNotStarted(TickertapeError):
    """The request was committed, but its answer could not start; ``prepared`` is its place, ``error`` the reason."""

    def __init__(self, prepared: PreparedAnswer, error: TickertapeError) -> None:
        super().__init__(str(error))
        self.prepared = prepared
        self.error = error


class ConversationService:
    """Conversations of all owners: ask, edit, branch, regenerate, continue, list, search, change, delete.

    One per process and store. `close` it after the generations. Not safe to use from other threads than the loop's.
    """

    def __init__(self, store: AsyncStore, log: Engine, catalog: Catalog, generations: Generations) -> None:
        self.store = store
        self._log = log
        self._catalog = catalog
        self._generations = generations
        self._starting: dict[str, asyncio.Event] = {}  # streams that are about to start; set once they have
        self._ours: set[str] = set()  # streams that this process produces: it knows when they ended
        self._cancel_at_start: set[str] = set()  # of those that are about to start
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def limits(self) -> ConversationLimits:
        """The limits on conversations."""
        return self.store.limits

    # --- asking

    async def ask(
        self, owner: str, request: MessageRequest, options: AnswerOptions | None = None
    ) -> tuple[PreparedAnswer, Stream]:
        """Commit the request and start its answer, or find the answer that this request started before.

        The stream outlives the caller: a request that was committed is answered even if the caller is cancelled.
        Raises what `Store.prepare_answer` raises and InvalidRequest, with nothing changed, and AnswerNotStarted.
        """
        return await asyncio.shield(self._task(self._ask(owner, request, options or AnswerOptions())))

    async def _ask(self, owner: str, request: MessageRequest, options: AnswerOptions) -> tuple[PreparedAnswer, Stream]:
        if request.action == "continue":
            await self._check_continues(owner, request)
        with self._about_to_start(request.stream):
            prepared = await self._prepare(owner, request)
            with self._about_to_start(prepared.stream):
                return prepared, await self._answer(prepared, owner, options)

    @contextmanager
    def _about_to_start(self, stream: str) -> Iterator[None]:
        """Announce that a stream is about to start here, which the log does not know yet."""
        if stream in self._starting:
            yield  # a request that came before is starting it
            return
        started = self._starting[stream] = asyncio.Event()
        try:
            yield
        finally:
            del self._starting[stream]
            self._cancel_at_start.discard(stream)
            started.set()

    async def wait_started(self, stream: str) -> None:
        """Return once a stream that is about to start here has started, or could not; at once for others."""
        if stream in self._starting:
            await self._starting[stream].wait()

    async def _prepare(self, owner: str, request: MessageRequest) -> PreparedAnswer:
        """Commit the request. The answer before it may have ended, and its text be on the way into its message."""
        try:
            return await self.store.write(lambda store: store.prepare_answer(owner, request))
        except ConversationConflict as conflict:
            if conflict.code != "answer_running":
                raise
            await self.try_finalize_ended(owner)
            return await self.store.write(lambda store: store.prepare_answer(owner, request))

    async def _answer(self, prepared: PreparedAnswer, owner: str, options: AnswerOptions) -> Stream:
        """Start the answer, or find it. Raises AnswerNotStarted, after the message was marked as failed."""
        try:
            stream = await self._stream(prepared, owner, options)
            if prepared.stream in self._cancel_at_start:
                await self._log.cancel(stream)
        except Exception as error:
            shown = error if isinstance(error, TickertapeError) else _unexpected(error)
            if prepared.fresh:
                await self._mark_unstarted(prepared.stream, State.FAILED, error_object(to_api_error(shown)))
            raise AnswerNotStarted(prepared, shown) from error
        return stream

    async def _stream(self, prepared: PreparedAnswer, owner: str, options: AnswerOptions) -> Stream:
        if not prepared.fresh:
            try:
                return await self._log.get(prepared.stream, owner)
            except UnknownStream:
                if prepared.segment is SegmentState.FINALIZED:
                    raise ConversationConflict(
                        "This was asked and answered long ago, and its stream is deleted; read the conversation.",
                        code="already_answered",
                    ) from None
        provider, model = await self._catalog.find(prepared.model)
        if prepared.continues is not None:
            _check_prefills(provider, model)
        spec = GenerationSpec(
            provider,
            ChatRequest(model=model, messages=list(prepared.prompt), parameters=options.parameters),
            show_usage=options.show_usage,
            abandon_after=options.abandon_after,
            continues=prepared.continues,
            place=prepared.ids,
            stream=prepared.stream,
            ended=self._on_end,
        )
        self._ours.add(prepared.stream)
        # The key makes it one stream, whoever starts it and however often.
        return await self._generations.begin(spec, owner=owner, key=Key(f"conversation/{prepared.stream}", b""))

    async def _check_continues(self, owner: str, request: MessageRequest) -> None:
        """Refuse what the model cannot do before anything is changed."""
        messages = (await self.store.read(lambda store: store.get(owner, request.conversation))).messages
        asked = next((message.model for message in messages if message.id == request.parent), None)
        provider, model = await self._catalog.find(request.model or asked)
        _check_prefills(provider, model)

    # --- reading and changing

    async def list_page(self, owner: str, query: str = "", offset: int = 0, limit: int = 50) -> ConversationPage:
        """Return a part of the list, the last changed first; with a query, only what holds all its words."""
        await self.try_finalize_ended(owner)
        return await self.store.read(lambda store: store.list_page(owner, query, offset, limit))

    async def get(self, owner: str, conversation_id: str) -> Conversation:
        """Return a conversation with all its messages. Raises UnknownConversation."""
        await self.try_finalize_ended(owner)
        return await self.store.read(lambda store: store.get(owner, conversation_id))

    async def create(
        self,
        owner: str,
        conversation_id: str | None = None,
        *,
        title: str | None = None,
        model: str | None = None,
        system: str | None = None,
    ) -> ConversationSummary:
        """Create an empty conversation, or return the one of this id.

        Raises InvalidRequest, ConversationLimitExceeded, and UnknownConversation for a deleted one.
        """
        named, clean = conversation_id or new_id(), None if title is None else self._clean_title(title)
        self._check_lengths(clean, system, model)
        return await self.store.write(lambda store: store.create(owner, named, title=clean, model=model, system=system))

    async def update(self, owner: str, conversation_id: str, wanted: ConversationUpdate) -> ConversationSummary:
        """Change a conversation. Raises UnknownConversation, InvalidRequest and ConversationLimitExceeded."""
        if wanted.title is not msgspec.UNSET:
            wanted = msgspec.structs.replace(wanted, title=self._clean_title(wanted.title))
        self._check_lengths(wanted.title, wanted.system, wanted.model)
        return await self.store.write(lambda store: store.update(owner, conversation_id, wanted))

    def _clean_title(self, title: str) -> str:
        clean = " ".join(title.split())
        if not clean:
            raise InvalidRequest("title must not be empty.", param="title")
        return clean

    def _check_lengths(
        self,
        title: str | msgspec.UnsetType | None,
        system: str | msgspec.UnsetType | None,
        model: str | msgspec.UnsetType | None,
    ) -> None:
        limits = self.store.limits
        for name, text, most in (
            ("title", title, limits.title),
            ("system", system, limits.system),
            ("model", model, MODEL_NAME),
        ):
            if isinstance(text, str) and len(text) > most:
                raise ConversationLimitExceeded(
                    f"{name} has {len(text):,} characters; at most {most:,} are allowed.", param=name
                )

    # --- ending

    def _on_end(self, stream: Stream) -> None:
        self._task(self._finalize_or_warn(stream))

    async def _finalize_or_warn(self, stream: Stream) -> None:
        try:
            await self._finalize(stream)
        except ConversationError as error:  # its text stays in the stream; whoever reads the conversation tries again
            logger.warning("The text of stream %s is not in its conversation yet: %s", stream.header.id, error)

    async def _finalize(self, stream: Stream) -> None:
        stream_id = stream.header.id
        ended = now() if stream_id in self._ours else None
        await self.store.write(lambda store: store.finalize_message(stream_id, outcome(stream), ended))
        self._ours.discard(stream_id)

    async def finalize_ended(self, owner: str | None = None) -> None:
        """Put the text of streams that have ended into their messages, of one owner or of all.

        Raises ConversationError, and EngineError if a stream cannot be read now: no stream may be deleted then.
        """
        unread: EngineError | None = None
        for segment in await self.store.read(lambda store: store.unfinalized(owner)):
            try:
                await self._finalize_if_ended(segment)
            except EngineError as error:
                unread = error
        if unread is not None:
            raise unread

    async def try_finalize_ended(self, owner: str) -> None:
        """Do the same if it is possible now; if not, the conversations can be read all the same."""
        try:
            await self.finalize_ended(owner)
        except (ConversationError, EngineError) as error:
            logger.warning("Answers that have ended are not in their conversations yet: %s", error)

    async def _finalize_if_ended(self, segment: Segment) -> None:
        try:
            stream = await self._log.get(segment.stream, segment.owner)
        except UnknownStream:
            early = now() - segment.started < START
            if segment.stream not in self._starting and not early:
                await self._mark_unstarted(segment.stream, LOST.state, LOST.error)
        except StreamDamaged as error:
            damage = Outcome(state=State.LOST, error=error_object(to_api_error(error)))
            await self.store.write(lambda store: store.finalize_message(segment.stream, damage))
        else:
            if stream.ended:
                await self._finalize(stream)

    async def _mark_unstarted(self, stream: str, state: State, error: dict[str, Any] | None) -> None:
        self._ours.discard(stream)
        try:
            await self.store.write(lambda store: store.mark_unstarted(stream, Outcome(state=state, error=error)))
        except ConversationError as failure:
            logger.warning("The state of stream %s is not in its conversation yet: %s", stream, failure)

    # --- deleting

    async def delete(self, owner: str, conversation_id: str) -> float:
        """Delete a conversation, cancel its answers, and return until when `update` can restore it."""
        until, streams = await self.store.write(lambda store: store.soft_delete(owner, conversation_id))
        for stream in streams:
            if stream in self._starting:
                self._cancel_at_start.add(stream)
            with suppress(UnknownStream):
                await self._log.cancel(await self._log.get(stream, owner))
        return until

    async def gc(self) -> None:
        """Delete for good what can no longer be restored and has no answer that runs.

        Streams are deleted first: until the last of them is, the conversation is there to name them the next time.
        Raises ConversationError and EngineError.
        """
        while await self._gc_some():
            pass

    async def _gc_some(self) -> int:
        """Do so for some conversations; return how many are gone."""
        pending = await self.store.write(lambda store: store.pending_deletion())
        deleted = set(pending).difference(await self._log.delete(pending))
        total = 0
        while gone := await self.store.write(lambda store: store.hard_delete(deleted)):
            self.store.hard_deleted()
            total += gone
        return total

    async def expire(self, retention: float) -> None:
        """Delete the streams that ended more than ``retention`` seconds ago, after their text is in its messages.

        Deletes for good, too, what `gc` deletes. Raises ConversationError and EngineError; then what is not deleted is
        deleted by the next call.
        """
        if self.store.exists:
            await self.finalize_ended()
            await self.gc()
        await self._log.expire(retention)

    async def close(self) -> None:
        """Put the last answers into their messages, then close the store; the generations have ended before."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    def _task(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller has it, unless it was cancelled: then nobody waits for it


def outcome(stream: Stream) -> Outcome:
    """Return the outcome of a stream that has ended."""
    transcript = Transcript()
    try:
        end = transcript.add_entries(stream.entries) or End(State.LOST)
    except EngineError as error:  # damaged: nobody can read it
        return Outcome(state=State.LOST, error=error_object(to_api_error(error)), model=stream.header.model)
    return Outcome(
        state=end.state,
        text=transcript.text,
        reasoning=transcript.reasoning,
        tool_calls=transcript.message().get("tool_calls"),
        details=_details(transcript),
        usage=end.usage,
        finish_reason=end.finish_reason,
        error=end.error,
        model=stream.header.model,
    )


def _details(transcript: Transcript) -> dict[str, Any] | None:
    """Return what an answer holds besides the fields that a message has of its own."""
    own = ("reasoning_content", "tool_calls")
    rest = {name: value for name, value in transcript.details().items() if name not in own}
    return rest | ({"logprobs": transcript.logprobs} if transcript.logprobs else {}) or None


def _check_prefills(provider: Provider, model: str) -> None:
    if not provider.prefills:
        raise InvalidRequest(
            f"The model {model!r} cannot go on from a partial answer; ask for another answer instead.",
            code="cannot_continue",
            param="model",
        )


def _unexpected(error: Exception) -> TickertapeError:
    logger.error("An answer could not start", exc_info=error)
    return TickertapeError("The server failed to begin this answer; its own log says why.")
