"""A request's messages and the place for its answer, added in one transaction.

Every function takes a connection with a transaction begun for writing, so that two requests never see the same
state and both act on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from tickertape.conversations import lifecycle, queries
from tickertape.conversations.changelog import record
from tickertape.conversations.checksums import require_intact, seal
from tickertape.conversations.models import (
    RUNNING,
    ConversationLimits,
    MessageRequest,
    NewMessage,
    PreparedAnswer,
    SegmentState,
)
from tickertape.conversations.prompt import build_messages
from tickertape.conversations.schema import conversation, message, segment
from tickertape.conversations.text_search import fold, title_of
from tickertape.errors import ConversationConflict, ConversationLimitExceeded, KeyReused, UnknownConversation

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_COUNT = select(func.count()).select_from(message).where(message.c.conversation == bindparam("here"))


def prepare_answer(
    connection: Connection, owner: str, request: MessageRequest, limits: ConversationLimits, now: float
) -> PreparedAnswer:
    """Add a request's messages and its answer; a request that came before adds nothing and finds its answer.

    Raises UnknownConversation, ConversationConflict, ConversationLimitExceeded and KeyReused, with nothing changed.
    """
    if request.key is not None:
        keyed = select(segment).where(segment.c.owner == owner, segment.c.key == request.key)
        known = connection.execute(keyed).one_or_none()
        if known is not None:
            if known.digest != request.digest:
                raise KeyReused(request.key)
            return _repeat(connection, known, now)
    here = _conversation(connection, owner, request, limits, now)
    answer = queries.find_message(connection, here.no, request.message)
    if answer is not None and request.action != "continue":
        return _repeat_by_id(connection, answer, request, now)
    _check_room(connection, here.no, request, limits)
    if request.action == "continue":
        return _continue(connection, here, request, owner, now)
    parent = (
        _add_all(connection, here, request, now) if request.action == "next" else _variant_of(connection, here, request)
    )
    model = request.model or here.model
    values = {
        "conversation": here.no,
        "id": request.message,
        "parent": parent,
        "role": "assistant",
        "content": "",
        "folded": "",
        "model": model,
        "created": now,
        "state": RUNNING,
        "crc": seal(request.message, parent, "assistant"),
    }
    key = connection.execute(insert(message).values(values)).inserted_primary_key
    assert key is not None  # noqa: S101 - an INSERT has one
    _add_segment(connection, owner, here.no, int(key[0]), request, now)
    _make_current(connection, here, request, request.message, now)
    record(connection, owner, here.id, "message", request.message)
    return PreparedAnswer(
        conversation=here.id,
        message=request.message,
        parent=parent,
        stream=request.stream,
        fresh=True,
        segment=SegmentState.OPEN,
        model=model,
        prompt=build_messages(connection, here, parent),
    )


def _conversation(
    connection: Connection, owner: str, request: MessageRequest, limits: ConversationLimits, now: float
) -> Row[Any]:
    """Return the request's conversation, created if this is its beginning."""
    row = queries.find(connection, owner, request.conversation)
    if row is not None and row.deleted is None:
        return row
    if row is not None or request.action != "next" or isinstance(request.parent, str):
        raise UnknownConversation("conversation", request.conversation)
    lifecycle.create(connection, owner, request.conversation, limits, now, title=None, model=request.model, system=None)
    return queries.require(connection, owner, request.conversation)


def _check_room(
    connection: Connection, conversation_no: int, request: MessageRequest, limits: ConversationLimits
) -> None:
    held = connection.execute(_COUNT, {"here": conversation_no}).scalar_one()
    if held + len(request.messages) + 1 > limits.messages:
        raise ConversationLimitExceeded(
            f"This conversation holds {held:,} messages, of {limits.messages:,} allowed; begin a new one.",
            param="conversation_id",
        )


# --- a request that came before


def _repeat_by_id(connection: Connection, answer: Row[Any], request: MessageRequest, now: float) -> PreparedAnswer:
    """Return the answer that has the id that the caller chose, if it answers the same messages."""
    if answer.role != "assistant" or not _answers(connection, answer, request):
        raise ConversationConflict(f"There is a message {answer.id!r} in this conversation already; choose another id.")
    latest = select(segment).where(segment.c.message == answer.no).order_by(segment.c.no.desc()).limit(1)
    return _repeat(connection, connection.execute(latest).one(), now)


def _answers(connection: Connection, answer: Row[Any], request: MessageRequest) -> bool:
    """Say whether an answer was given to just these messages."""
    above = answer.parent
    for new in reversed(request.messages):
        row = queries.find_message(connection, answer.conversation, new.id)
        if row is None or row.id != above or row.content != new.text:
            return False
        above = row.parent
    return request.parent in (above, msgspec.UNSET)


def _repeat(connection: Connection, known: Row[Any], now: float) -> PreparedAnswer:
    """Return the answer of a segment that exists; start it again if its stream never started."""
    answer = connection.execute(select(message).where(message.c.no == known.message)).one()
    require_intact(answer)
    here = connection.execute(select(conversation).where(conversation.c.no == known.conversation)).one()
    if here.deleted is not None:
        raise UnknownConversation("message", answer.id)
    fresh = known.state == SegmentState.UNSTARTED
    if fresh:
        if answer.state == RUNNING:
            raise _running(answer.id)
        reopened = {"state": int(SegmentState.OPEN), "started": now}
        connection.execute(update(segment).where(segment.c.no == known.no).values(reopened))
        _set_running(connection, answer.no)
        record(connection, known.owner, here.id, "message", answer.id)
    return _prepared(connection, here, answer, known.stream, fresh=fresh, state=SegmentState(known.state))


def _prepared(
    connection: Connection, here: Row[Any], answer: Row[Any], stream: str, *, fresh: bool, state: SegmentState
) -> PreparedAnswer:
    """Return an answer that exists, as this stream of it makes it or goes on from the streams before."""
    before = _streams_before(connection, answer.no, stream)
    return PreparedAnswer(
        conversation=here.id,
        message=answer.id,
        parent=answer.parent,
        stream=stream,
        fresh=fresh,
        segment=state,
        model=answer.model,
        prompt=build_messages(connection, here, answer.parent, partial=answer.content if before else None),
        continues=before[-1] if before else None,
    )


def _streams_before(connection: Connection, message_no: int, stream: str) -> list[str]:
    """Return the streams that a message is made of, those before this one."""
    started = segment.c.state != int(SegmentState.UNSTARTED)
    rows = connection.execute(
        select(segment.c.stream)
        .where(segment.c.message == message_no, started | (segment.c.stream == stream))
        .order_by(segment.c.no)
    )
    streams = list(rows.scalars())
    return streams[: streams.index(stream)]


# --- adding


def _add_all(connection: Connection, here: Row[Any], request: MessageRequest, now: float) -> str:
    """Add the user's messages, each under the one before; return the last one's id."""
    parent = here.current if request.parent is msgspec.UNSET else request.parent
    if parent is not None:
        above = queries.require_message(connection, here.no, parent)
        if above.state == RUNNING:
            raise _running(above.id)
    for new in request.messages:
        _add(connection, here.no, parent, new, now)
        parent = new.id
    return request.messages[-1].id


def _add(connection: Connection, conversation_no: int, parent: str | None, new: NewMessage, now: float) -> None:
    """Add one message of the user, unless the very same is there already."""
    there = queries.find_message(connection, conversation_no, new.id)
    if there is not None:
        if (there.role, there.parent, there.content) != ("user", parent, new.text):
            raise ConversationConflict(
                f"There is another message {new.id!r} in this conversation already; choose another id."
            )
        return
    values = {
        "conversation": conversation_no,
        "id": new.id,
        "parent": parent,
        "role": "user",
        "content": new.text,
        "folded": fold(new.text),
        "created": now,
        "state": "completed",
        "crc": seal(new.id, parent, "user", new.text),
    }
    connection.execute(insert(message).values(values))


def _variant_of(connection: Connection, here: Row[Any], request: MessageRequest) -> str:
    """Return the id of the user's message that is to be answered once more."""
    parent = request.parent if isinstance(request.parent, str) else None
    row = queries.require_message(connection, here.no, parent)
    if row.role != "user":
        raise ConversationConflict("Another answer is given to a message of the user; parent_message_id names one.")
    return str(row.id)


def _continue(
    connection: Connection, here: Row[Any], request: MessageRequest, owner: str, now: float
) -> PreparedAnswer:
    """Add a segment to an answer that has ended."""
    parent = request.parent if isinstance(request.parent, str) else None
    answer = queries.require_message(connection, here.no, parent)
    if answer.state == RUNNING:
        raise _running(answer.id)
    require_intact(answer)
    if answer.role != "assistant" or not answer.content:
        raise ConversationConflict(
            "Only an answer with some text can be continued; ask for another answer instead.",
            code="cannot_continue",
        )
    previous = {"state": answer.state, "finish_reason": answer.finish_reason, "error": answer.error}
    _set_running(connection, answer.no)
    _add_segment(connection, owner, here.no, answer.no, request, now, previous)
    _make_current(connection, here, request, answer.id, now)
    record(connection, owner, here.id, "message", answer.id)
    return _prepared(connection, here, answer, request.stream, fresh=True, state=SegmentState.OPEN)


def _add_segment(
    connection: Connection,
    owner: str,
    conversation_no: int,
    message_no: int,
    request: MessageRequest,
    now: float,
    previous: dict[str, Any] | None = None,
) -> None:
    values = {
        "stream": request.stream,
        "owner": owner,
        "conversation": conversation_no,
        "message": message_no,
        "state": int(SegmentState.OPEN),
        "started": now,
        "previous": previous,
        "key": request.key,
        "digest": request.digest,
    }
    connection.execute(insert(segment).values(values))


def _set_running(connection: Connection, message_no: int) -> None:
    running = {"state": RUNNING, "finish_reason": None, "error": None}
    connection.execute(update(message).where(message.c.no == message_no).values(running))


def _make_current(connection: Connection, here: Row[Any], request: MessageRequest, current: str, now: float) -> None:
    """Make this the conversation's current message; its first user message gives the conversation a title."""
    values = {"current": current, "updated": now, "model": request.model or here.model}
    if request.messages and not here.title and not here.titled:
        title = title_of(request.messages[0].text)
        values |= {"title": title, "folded": fold(title)}
    connection.execute(update(conversation).where(conversation.c.no == here.no).values(values))


def _running(message_id: str) -> ConversationConflict:
    return ConversationConflict(
        f"The answer {message_id!r} is still being written; stop it or wait for its end.", code="answer_running"
    )
