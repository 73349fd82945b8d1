"""Conversations and their answers: what joins the chats to the generations and the log.

The question is committed before the answer begins, with the id of the stream that is to come. What then can happen:

* The answer ends. The process that produced it takes the text over into the message (`_ended`).
* The process dies. Its stream ends as lost; whoever reads the conversation next takes over what there is (`refresh`).
* The process dies between the two. The stream is unknown to the log, and the message ends as lost.
* The text cannot be taken over, for the disk is full. It stays in the log until it can: nothing expires before.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from tickertape.conversations import Outcome
from tickertape.conversations.models import SegmentState
from tickertape.deltas import End, State
from tickertape.dialects.openai_chat import Answer
from tickertape.errors import (
    BadRequest,
    ConversationConflict,
    ConversationError,
    LogError,
    StreamDamaged,
    TickertapeError,
    UnknownStream,
)
from tickertape.generation import LOST, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.server.responses import as_shown, error_object
from tickertape.streams.contract import Key, now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.conversations import AsyncStore, MessageRequest, PreparedAnswer, Segment
    from tickertape.generation import Generations
    from tickertape.providers.base import Provider
    from tickertape.providers.catalog import Catalog
    from tickertape.streams.contract import Engine, Stream

logger = logging.getLogger("tickertape")

BEGINNING = 10.0
"""Seconds that another process gets between the commit of a question and the beginning of its answer."""


class AnswerOptions(NamedTuple):
    """What a request says of its answer besides the question."""

    parameters: dict[str, Any]
    show_usage: bool
    abandon_after: float | None


class AnswerNotStarted(TickertapeError):
    """The question was kept, but its answer could not begin; ``turn`` says where it belongs, ``error`` why."""

    def __init__(self, turn: PreparedAnswer, error: TickertapeError) -> None:
        super().__init__(str(error))
        self.turn = turn
        self.error = error


class ConversationService:
    """Asks and answers within conversations."""

    def __init__(self, chats: AsyncStore, log: Engine, catalog: Catalog, generations: Generations) -> None:
        self.chats = chats
        self._log = log
        self._catalog = catalog
        self._generations = generations
        self._beginning: dict[str, asyncio.Event] = {}  # streams that are about to begin; set once they have
        self._ours: set[str] = set()  # streams that this process produces: it knows when they ended
        self._doomed: set[str] = set()  # of those that begin: to be stopped as soon as they have begun
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- asking

    async def ask(self, owner: str, question: MessageRequest, wishes: AnswerOptions) -> tuple[PreparedAnswer, Stream]:
        """Commit the question and begin its answer, or find the answer that this request began before.

        Raises what `Store.turn` raises, with nothing changed, and Unanswered.
        """
        # Shielded: a question that was committed is answered, whatever becomes of the caller.
        return await asyncio.shield(self._task(self._ask(owner, question, wishes)))

    async def _ask(self, owner: str, question: MessageRequest, wishes: AnswerOptions) -> tuple[PreparedAnswer, Stream]:
        if question.action == "continue":
            await self._check_continues(owner, question)
        with self._begins(question.stream):
            turn = await self._turn(owner, question)
            with self._begins(turn.stream):
                return turn, await self._answer(turn, owner, wishes)

    @contextmanager
    def _begins(self, stream: str) -> Iterator[None]:
        """Let it be known that a stream is about to begin here, which the log does not know yet."""
        if stream in self._beginning:
            yield  # it is being begun by a request that came before
            return
        begun = self._beginning[stream] = asyncio.Event()
        try:
            yield
        finally:
            del self._beginning[stream]
            self._doomed.discard(stream)
            begun.set()

    async def begun(self, stream: str) -> None:
        """Return once a stream that is about to begin here has begun, or could not; at once for others."""
        if stream in self._beginning:
            await self._beginning[stream].wait()

    async def _answer(self, turn: PreparedAnswer, owner: str, wishes: AnswerOptions) -> Stream:
        """Begin the answer, or find it. Raises Unanswered, after the conversation was told."""
        try:
            tape = await self._tape(turn, owner, wishes)
            if turn.stream in self._doomed:
                await self._log.cancel(tape)
        except Exception as error:
            shown = error if isinstance(error, TickertapeError) else _unforeseen(error)
            if turn.fresh:
                await self._unbegun(turn.stream, State.FAILED, error_object(as_shown(shown)))
            raise AnswerNotStarted(turn, shown) from error
        return tape

    async def _turn(self, owner: str, question: MessageRequest) -> PreparedAnswer:
        """Commit the question. Who has read the end of the answer before it may ask, though its text is on its way."""
        try:
            return await self.chats.write(lambda store: store.prepare_answer(owner, question))
        except ConversationConflict as conflict:
            if conflict.code != "answer_running":
                raise
            await self.catch_up(owner)
            return await self.chats.write(lambda store: store.prepare_answer(owner, question))

    async def _tape(self, turn: PreparedAnswer, owner: str, wishes: AnswerOptions) -> Stream:
        if not turn.fresh:
            try:
                return await self._log.get(turn.stream, owner)
            except UnknownStream:
                if turn.link is SegmentState.FINALIZED:
                    raise ConversationConflict(
                        "This was asked and answered long ago, and its stream is forgotten; read the conversation.",
                        code="already_answered",
                    ) from None
        provider, model = await self._catalog.find(turn.model)
        if turn.continues is not None:
            _check_prefills(provider, model)
        spec = GenerationSpec(
            provider,
            ChatRequest(model=model, messages=list(turn.history), parameters=wishes.parameters),
            show_usage=wishes.show_usage,
            abandon_after=wishes.abandon_after,
            continues=turn.continues,
            place=turn.place,
            stream=turn.stream,
            ended=self._ended,
        )
        self._ours.add(turn.stream)
        # The key makes one stream of it, whoever begins it and however often.
        return await self._generations.begin(spec, owner=owner, key=Key(f"conversation/{turn.stream}", b""))

    async def _check_continues(self, owner: str, question: MessageRequest) -> None:
        """Refuse what the model cannot do before anything is changed."""
        chat_id = question.chat or ""
        conversation = await self.chats.read(lambda store: store.get(owner, chat_id))
        asked = next((message.model for message in conversation.messages if message.id == question.parent), None)
        provider, model = await self._catalog.find(question.model or asked)
        _check_prefills(provider, model)

    # --- taking over what was answered

    def _ended(self, tape: Stream) -> None:
        self._task(self._end(tape))

    async def _end(self, tape: Stream) -> None:
        try:
            await self._settle(tape)
        except ConversationError as error:  # its text stays in the log; whoever reads the conversation tries again
            logger.warning("The text of stream %s is not in its conversation yet: %s", tape.header.id, error)

    async def _settle(self, tape: Stream) -> None:
        stream = tape.header.id
        ended = now() if stream in self._ours else None
        await self.chats.write(lambda store: store.finalize_message(stream, outcome(tape), ended))
        self._ours.discard(stream)

    async def refresh(self, owner: str | None = None) -> None:
        """Take over what has ended and is yet to be taken over, of one owner or of all.

        Raises ConversationError, and LogError if a stream cannot be read now: nothing may be forgotten then.
        """
        unread: LogError | None = None
        for segment in await self.chats.read(lambda store: store.unfinalized(owner)):
            try:
                await self._look(segment)
            except LogError as error:
                unread = error
        if unread is not None:
            raise unread

    async def catch_up(self, owner: str) -> None:
        """Take over what has ended if that is possible now; if not, what is kept can be read all the same."""
        try:
            await self.refresh(owner)
        except (ConversationError, LogError) as error:
            logger.warning("What has ended is not in its conversation yet: %s", error)

    async def _look(self, segment: Segment) -> None:
        try:
            tape = await self._log.get(segment.stream, segment.owner)
        except UnknownStream:
            early = now() - segment.begun < BEGINNING
            if segment.stream not in self._beginning and not early:
                await self._unbegun(segment.stream, LOST.state, LOST.error)
        except StreamDamaged as error:
            damage = Outcome(state=State.LOST, error=error_object(as_shown(error)))
            await self.chats.write(lambda store: store.finalize_message(segment.stream, damage))
        else:
            if tape.ended:
                await self._settle(tape)

    async def _unbegun(self, stream: str, state: State, error: dict[str, Any] | None) -> None:
        self._ours.discard(stream)
        try:
            await self.chats.write(lambda store: store.mark_unstarted(stream, Outcome(state=state, error=error)))
        except ConversationError as failure:
            logger.warning("The state of stream %s is not in its conversation yet: %s", stream, failure)

    # --- deleting

    async def delete(self, owner: str, chat_id: str) -> float:
        """Delete a conversation, stop its answers, and return until when that can be taken back."""
        until, streams = await self.chats.write(lambda store: store.soft_delete(owner, chat_id))
        for stream in streams:
            if stream in self._beginning:
                self._doomed.add(stream)
            with suppress(UnknownStream):
                await self._log.cancel(await self._log.get(stream, owner))
        return until

    async def tidy(self) -> None:
        """Let nothing be left of what was deleted for good and has no answer that runs.

        Raises ConversationError and LogError. The streams go first: until the last of them is forgotten, the
        conversation is there to name them the next time.
        """
        while await self._tidied():
            pass

    async def _tidied(self) -> int:
        """Do so for some conversations; return how many are gone."""
        doomed = await self.chats.write(lambda store: store.pending_deletion())
        forgotten = set(doomed).difference(await self._log.delete(doomed))
        total = 0
        while purged := await self.chats.write(lambda store: store.hard_delete(forgotten)):
            self.chats.purged()
            total += purged
        return total

    async def close(self) -> None:
        """Finish taking over, then close the chats; the answers have ended before."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.chats.close()

    def _task(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller was told, unless it has given up: then nobody wants to know


def outcome(tape: Stream) -> Outcome:
    """Return what came of a stream that has ended."""
    try:
        answer = Answer(tape)
    except LogError as error:  # damaged: nobody can read it
        return Outcome(state=State.LOST, error=error_object(as_shown(error)), model=tape.header.model)
    end = answer.end or End(State.LOST)
    message = answer.message()
    return Outcome(
        state=end.state,
        text=answer.text,
        reasoning=answer.reasoning,
        tool_calls=message.get("tool_calls"),
        details=_details(answer),
        usage=end.usage,
        finish_reason=end.finish_reason,
        error=end.error,
        model=tape.header.model,
    )


def _details(answer: Answer) -> dict[str, Any] | None:
    """Return what the answer holds besides what a message of a conversation has a place of its own for."""
    own = ("reasoning_content", "tool_calls")
    made = {name: value for name, value in answer.details().items() if name not in own}
    return made | ({"logprobs": answer.logprobs} if answer.logprobs else {}) or None


def _check_prefills(provider: Provider, model: str) -> None:
    if not provider.prefills:
        raise BadRequest(
            f"The model {model!r} cannot go on from a partial answer; ask for another answer instead.",
            code="cannot_continue",
            param="model",
        )


def _unforeseen(error: Exception) -> TickertapeError:
    logger.error("An answer could not begin", exc_info=error)
    return TickertapeError("The server failed to begin this answer; its own log says why.")
