"""One turn of a conversation: the question, and the place for its answer, in one transaction.

Every function takes a connection with a transaction begun for writing, so that two requests never see the same
state and both act on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from tickertape.conversations.changelog import record
from tickertape.conversations.checksums import require, seal
from tickertape.conversations.models import (
    RUNNING,
    ConversationLimits,
    MessageRequest,
    NewMessage,
    PreparedAnswer,
    SegmentState,
)
from tickertape.conversations.prompt import streams_before, told
from tickertape.conversations.rows import create, find, required
from tickertape.conversations.schema import chat, message, segment
from tickertape.conversations.text_search import fold, title_of
from tickertape.errors import ConversationConflict, ConversationLimitExceeded, KeyReused, UnknownConversation

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_COUNT = select(func.count()).select_from(message).where(message.c.chat == bindparam("here"))


def prepare_answer(
    connection: Connection, owner: str, question: MessageRequest, limits: ConversationLimits, now: float
) -> PreparedAnswer:
    """Add what is asked to its conversation; a request that came before adds nothing and finds its answer.

    Raises UnknownConversation, ConversationConflict, ConversationLimitExceeded and KeyReused, with nothing changed.
    """
    if question.key is not None:
        made = connection.execute(
            select(segment).where(segment.c.owner == owner, segment.c.key == question.key)
        ).one_or_none()
        if made is not None:
            if made.digest != question.digest:
                raise KeyReused(question.key)
            return _again(connection, made, now)
    found = _chat(connection, owner, question, limits, now)
    answer = find(connection, found.no, question.message)
    if answer is not None and question.action != "continue":
        return _repeated(connection, answer, question, now)
    _check_room(connection, found.no, question, limits)
    if question.action == "continue":
        return _go_on(connection, found, question, owner, now)
    ask = _ask if question.action == "next" else _asked
    parent = ask(connection, found, question, now)
    values = {
        "chat": found.no,
        "id": question.message,
        "parent": parent,
        "role": "assistant",
        "content": "",
        "folded": "",
        "model": question.model or found.model,
        "created": now,
        "state": RUNNING,
        "crc": seal(question.message, parent, "assistant"),
    }
    no = _inserted(connection, insert(message).values(values))
    _link(connection, owner, found.no, no, question, now)
    _move(connection, found, question, question.message, now)
    record(connection, owner, found.id, "message", question.message)
    return told(connection, found, (question.message, parent, question.model or found.model), question.stream)


# --- finding


def _chat(
    connection: Connection, owner: str, question: MessageRequest, limits: ConversationLimits, now: float
) -> Row[Any]:
    """Return the question's conversation, made if this is its beginning."""
    assert question.chat is not None  # noqa: S101 - the caller names one, known or new
    known = select(chat).where(chat.c.owner == owner, chat.c.id == question.chat)
    row = connection.execute(known).one_or_none()
    if row is not None and row.deleted is None:
        return row
    if row is not None or question.action != "next" or isinstance(question.parent, str):
        raise UnknownConversation("conversation", question.chat)
    create(connection, owner, question.chat, limits, now, title=None, model=question.model, system=None)
    return connection.execute(known).one()


# --- a request that came before


def _again(connection: Connection, made: Row[Any], now: float) -> PreparedAnswer:
    """Return the turn of a segment that exists; begin it again if its stream never began."""
    answer = connection.execute(select(message).where(message.c.no == made.message)).one()
    require(answer)
    found = connection.execute(select(chat).where(chat.c.no == made.chat)).one()
    if found.deleted is not None:
        raise UnknownConversation("message", answer.id)
    fresh = made.link == SegmentState.UNSTARTED
    if fresh:
        if answer.state == RUNNING:
            raise _busy(answer.id)
        connection.execute(
            update(segment).where(segment.c.no == made.no).values(link=int(SegmentState.OPEN), begun=now)
        )
        _run(connection, answer.no)
        record(connection, made.owner, found.id, "message", answer.id)
    return told(
        connection,
        found,
        (answer.id, answer.parent, answer.model),
        made.stream,
        fresh=fresh,
        link=SegmentState(made.link),
        begun=answer.content,
        before=streams_before(connection, answer.no, made.stream),
    )


def _repeated(connection: Connection, answer: Row[Any], question: MessageRequest, now: float) -> PreparedAnswer:
    """Return the turn whose answer has the id that the caller chose, if it is the same question."""
    if answer.role != "assistant" or not _same(connection, answer, question):
        raise ConversationConflict(f"There is a message {answer.id!r} in this conversation already; choose another id.")
    made = connection.execute(
        select(segment).where(segment.c.message == answer.no).order_by(segment.c.no.desc()).limit(1)
    ).one()
    return _again(connection, made, now)


def _same(connection: Connection, answer: Row[Any], question: MessageRequest) -> bool:
    """Say whether this is the question that the answer was given to."""
    above = answer.parent
    for new in reversed(question.messages):
        asked = find(connection, answer.chat, new.id)
        if asked is None or asked.id != above or asked.content != new.text:
            return False
        above = asked.parent
    return question.parent in (above, msgspec.UNSET)


# --- adding


def _ask(connection: Connection, found: Row[Any], question: MessageRequest, now: float) -> str:
    """Add the user's messages, each under the one before; return the last one's id."""
    parent = found.current if question.parent is msgspec.UNSET else question.parent
    if parent is not None:
        above = required(connection, found.no, parent)
        if above.state == RUNNING:
            raise _busy(above.id)
    for new in question.messages:
        _add(connection, found.no, parent, new, now)
        parent = new.id
    return question.messages[-1].id


def _add(connection: Connection, chat_no: int, parent: str | None, new: NewMessage, now: float) -> None:
    """Add one message of the user, unless the very same is there already."""
    there = find(connection, chat_no, new.id)
    if there is not None:
        if (there.role, there.parent, there.content) != ("user", parent, new.text):
            raise ConversationConflict(
                f"There is another message {new.id!r} in this conversation already; choose another id."
            )
        return
    values = {
        "chat": chat_no,
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


def _asked(connection: Connection, found: Row[Any], question: MessageRequest, _now: float) -> str:
    """Return the id of the question that is to be answered once more."""
    parent = question.parent if isinstance(question.parent, str) else None
    row = required(connection, found.no, parent)
    if row.role != "user":
        raise ConversationConflict("Another answer is given to a message of the user; parent_message_id names one.")
    return str(row.id)


def _go_on(connection: Connection, found: Row[Any], question: MessageRequest, owner: str, now: float) -> PreparedAnswer:
    """Let a message that has ended be written on."""
    answer = required(connection, found.no, question.parent if isinstance(question.parent, str) else None)
    if answer.state == RUNNING:
        raise _busy(answer.id)
    require(answer)
    if answer.role != "assistant" or not answer.content:
        raise ConversationConflict(
            "Only an answer with some text can be gone on from; ask for another answer instead.",
            code="cannot_continue",
        )
    before = {"state": answer.state, "finish_reason": answer.finish_reason, "error": answer.error}
    _run(connection, answer.no)
    _link(connection, owner, found.no, answer.no, question, now, before)
    _move(connection, found, question, answer.id, now)
    record(connection, owner, found.id, "message", answer.id)
    return told(
        connection,
        found,
        (answer.id, answer.parent, answer.model),
        question.stream,
        begun=answer.content,
        before=streams_before(connection, answer.no, question.stream),
    )


def _link(
    connection: Connection,
    owner: str,
    chat_no: int,
    message_no: int,
    question: MessageRequest,
    now: float,
    before: dict[str, Any] | None = None,
) -> None:
    values = {
        "stream": question.stream,
        "owner": owner,
        "chat": chat_no,
        "message": message_no,
        "link": int(SegmentState.OPEN),
        "begun": now,
        "before": before,
        "key": question.key,
        "digest": question.digest,
    }
    connection.execute(insert(segment).values(values))


def _run(connection: Connection, message_no: int) -> None:
    cleared = {"state": RUNNING, "finish_reason": None, "error": None}
    connection.execute(update(message).where(message.c.no == message_no).values(cleared))


def _move(connection: Connection, found: Row[Any], question: MessageRequest, current: str, now: float) -> None:
    """Let the conversation stand at this message, now the newest thing in it; the first question gives it a title."""
    values = {"current": current, "updated": now, "model": question.model or found.model}
    if question.messages and not found.title and not found.titled:
        title = title_of(question.messages[0].text)
        values |= {"title": title, "folded": fold(title)}
    connection.execute(update(chat).where(chat.c.no == found.no).values(values))


def _inserted(connection: Connection, statement: Any) -> int:
    key = connection.execute(statement).inserted_primary_key
    assert key is not None  # noqa: S101 - an INSERT has one
    return int(key[0])


def _check_room(connection: Connection, chat_no: int, question: MessageRequest, limits: ConversationLimits) -> None:
    held = connection.execute(_COUNT, {"here": chat_no}).scalar_one()
    if held + len(question.messages) + 1 > limits.messages:
        raise ConversationLimitExceeded(
            f"This conversation holds {held:,} messages, of {limits.messages:,} allowed; begin a new one.",
            param="conversation_id",
        )


def _busy(message_id: str) -> ConversationConflict:
    return ConversationConflict(
        f"The answer {message_id!r} is still being written; stop it or wait for its end.", code="answer_running"
    )
