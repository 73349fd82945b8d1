"""One turn of a conversation: the question, and the place for its answer, in one transaction.

Every function takes a connection with a transaction begun for writing, so that two requests never see the same
state and both act on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import func, insert, select, update

from tickertape.chats.marks import mark
from tickertape.chats.tables import chat, message, segment
from tickertape.chats.values import RUNNING, ChatLimits, Link, NewMessage, Question, Turn
from tickertape.chats.words import fold, title_of
from tickertape.errors import ChatConflict, ChatLimit, KeyReused, UnknownChat

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

SLICE = 500
"""Messages whose text is asked for in one statement: databases take a limited number of values."""


def turn(connection: Connection, owner: str, question: Question, limits: ChatLimits, now: float) -> Turn:
    """Add what is asked to its conversation; a request that came before adds nothing and finds its answer.

    Raises UnknownChat, ChatConflict, ChatLimit and KeyReused, with nothing changed.
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
    answer = _find(connection, found.no, question.message)
    if answer is not None and question.action != "continue":
        return _repeated(connection, answer, question, now)
    _check_room(connection, found.no, question, limits)
    if question.action == "continue":
        return _go_on(connection, found, question, owner, now)
    parent = (
        _ask(connection, found, question, now) if question.action == "next" else _asked(connection, found, question)
    )
    values = {
        "chat": found.no,
        "id": question.message,
        "parent": parent.id,
        "role": "assistant",
        "content": "",
        "folded": "",
        "model": question.model or found.model,
        "created": now,
        "state": RUNNING,
    }
    no = _inserted(connection, insert(message).values(values))
    _link(connection, owner, found.no, no, question, now)
    _move(connection, found, question, question.message, now)
    mark(connection, owner, found.id, "message", question.message)
    return _told(connection, found.no, _find(connection, found.no, question.message), question.stream, fresh=True)


# --- finding


def live(connection: Connection, owner: str, chat_id: str) -> Row[Any]:
    """Return a conversation's row. Raises UnknownChat, also for one that was deleted."""
    row = connection.execute(
        select(chat).where(chat.c.owner == owner, chat.c.id == chat_id, chat.c.deleted.is_(None))
    ).one_or_none()
    if row is None:
        raise UnknownChat("conversation", chat_id)
    return row


def _chat(connection: Connection, owner: str, question: Question, limits: ChatLimits, now: float) -> Row[Any]:
    """Return the question's conversation, made if this is its beginning."""
    assert question.chat is not None  # noqa: S101 - the caller names one, known or new
    known = select(chat.c.no).where(chat.c.owner == owner, chat.c.id == question.chat)
    begins = question.action == "next" and question.parent in (None, msgspec.UNSET)
    if begins and connection.execute(known).one_or_none() is None:
        create(connection, owner, question.chat, limits, now, title=None, model=question.model, system=None)
    return live(connection, owner, question.chat)


def create(
    connection: Connection,
    owner: str,
    chat_id: str,
    limits: ChatLimits,
    now: float,
    *,
    title: str | None,
    model: str | None,
    system: str | None,
) -> None:
    """Make an empty conversation. Raises ChatLimit when the owner has too many."""
    held = connection.execute(select(func.count()).select_from(chat).where(chat.c.owner == owner)).scalar_one()
    if held >= limits.conversations:
        raise ChatLimit(
            f"You have {held:,} conversations, of {limits.conversations:,} allowed; delete some.",
            param="conversation_id",
        )
    values = {
        "owner": owner,
        "id": chat_id,
        "title": title or "",
        "folded": fold(title or ""),
        "titled": title is not None,
        "model": model,
        "system": system,
        "created": now,
        "updated": now,
    }
    connection.execute(insert(chat).values(values))
    mark(connection, owner, chat_id, "created")


def _find(connection: Connection, chat_no: int, message_id: str) -> Row[Any] | None:
    return connection.execute(
        select(message).where(message.c.chat == chat_no, message.c.id == message_id)
    ).one_or_none()


def _required(connection: Connection, chat_no: int, message_id: str | None) -> Row[Any]:
    row = _find(connection, chat_no, message_id or "")
    if row is None:
        raise UnknownChat("message", message_id or "")
    return row


# --- a request that came before


def _again(connection: Connection, made: Row[Any], now: float) -> Turn:
    """Return the turn of a segment that exists; begin it again if its stream never began."""
    answer = connection.execute(select(message).where(message.c.no == made.message)).one()
    if connection.execute(select(chat.c.deleted).where(chat.c.no == made.chat)).scalar_one() is not None:
        raise UnknownChat("message", answer.id)
    fresh = made.link == Link.UNBEGUN
    if fresh:
        if answer.state == RUNNING:
            raise _busy(answer.id)
        connection.execute(update(segment).where(segment.c.no == made.no).values(link=int(Link.OPEN), begun=now))
        _run(connection, answer.no)
        mark(connection, made.owner, _id(connection, made.chat), "message", answer.id)
    return _told(connection, made.chat, answer, made.stream, fresh=fresh, link=Link(made.link))


def _repeated(connection: Connection, answer: Row[Any], question: Question, now: float) -> Turn:
    """Return the turn whose answer has the id that the caller chose, if it is the same question."""
    if answer.role != "assistant" or not _same(connection, answer, question):
        raise ChatConflict(f"There is a message {answer.id!r} in this conversation already; choose another id.")
    made = connection.execute(
        select(segment).where(segment.c.message == answer.no).order_by(segment.c.no.desc()).limit(1)
    ).one()
    return _again(connection, made, now)


def _same(connection: Connection, answer: Row[Any], question: Question) -> bool:
    """Say whether this is the question that the answer was given to."""
    above = answer.parent
    for new in reversed(question.messages):
        asked = _find(connection, answer.chat, new.id)
        if asked is None or asked.id != above or asked.content != new.text:
            return False
        above = asked.parent
    return question.parent in (above, msgspec.UNSET)


# --- adding


def _ask(connection: Connection, found: Row[Any], question: Question, now: float) -> Row[Any]:
    """Add the user's messages, each under the one before; return the last."""
    parent = found.current if question.parent is msgspec.UNSET else question.parent
    if parent is not None:
        above = _required(connection, found.no, parent)
        if above.state == RUNNING:
            raise _busy(above.id)
    for new in question.messages:
        _add(connection, found.no, parent, new, now)
        parent = new.id
    if not found.title and not found.titled:
        title = title_of(question.messages[0].text)
        connection.execute(update(chat).where(chat.c.no == found.no).values(title=title, folded=fold(title)))
    return _required(connection, found.no, parent)


def _add(connection: Connection, chat_no: int, parent: str | None, new: NewMessage, now: float) -> None:
    """Add one message of the user, unless the very same is there already."""
    there = _find(connection, chat_no, new.id)
    if there is not None:
        if (there.role, there.parent, there.content) != ("user", parent, new.text):
            raise ChatConflict(f"There is another message {new.id!r} in this conversation already; choose another id.")
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
    }
    connection.execute(insert(message).values(values))


def _asked(connection: Connection, found: Row[Any], question: Question) -> Row[Any]:
    """Return the question that is to be answered once more."""
    parent = question.parent if isinstance(question.parent, str) else None
    row = _required(connection, found.no, parent)
    if row.role != "user":
        raise ChatConflict("Another answer is given to a message of the user; parent_message_id names one.")
    return row


def _go_on(connection: Connection, found: Row[Any], question: Question, owner: str, now: float) -> Turn:
    """Let a message that has ended be written on."""
    answer = _required(connection, found.no, question.parent if isinstance(question.parent, str) else None)
    if answer.state == RUNNING:
        raise _busy(answer.id)
    if answer.role != "assistant" or not answer.content:
        raise ChatConflict(
            "Only an answer with some text can be gone on from; ask for another answer instead.",
            code="cannot_continue",
        )
    before = {"state": answer.state, "finish_reason": answer.finish_reason, "error": answer.error}
    _run(connection, answer.no)
    _link(connection, owner, found.no, answer.no, question, now, before)
    _move(connection, found, question, answer.id, now)
    mark(connection, owner, found.id, "message", answer.id)
    return _told(connection, found.no, answer, question.stream, fresh=True)


def _link(
    connection: Connection,
    owner: str,
    chat_no: int,
    message_no: int,
    question: Question,
    now: float,
    before: dict[str, Any] | None = None,
) -> None:
    values = {
        "stream": question.stream,
        "owner": owner,
        "chat": chat_no,
        "message": message_no,
        "link": int(Link.OPEN),
        "begun": now,
        "before": before,
        "key": question.key,
        "digest": question.digest,
    }
    connection.execute(insert(segment).values(values))


def _run(connection: Connection, message_no: int) -> None:
    cleared = {"state": RUNNING, "finish_reason": None, "error": None}
    connection.execute(update(message).where(message.c.no == message_no).values(cleared))


def _move(connection: Connection, found: Row[Any], question: Question, current: str, now: float) -> None:
    """Let the conversation stand at this message, now the newest thing in it."""
    model = question.model or found.model
    connection.execute(update(chat).where(chat.c.no == found.no).values(current=current, updated=now, model=model))


def _inserted(connection: Connection, statement: Any) -> int:
    key = connection.execute(statement).inserted_primary_key
    assert key is not None  # noqa: S101 - an INSERT has one
    return int(key[0])


def _id(connection: Connection, chat_no: int) -> str:
    return str(connection.execute(select(chat.c.id).where(chat.c.no == chat_no)).scalar_one())


def _check_room(connection: Connection, chat_no: int, question: Question, limits: ChatLimits) -> None:
    held = connection.execute(select(func.count()).select_from(message).where(message.c.chat == chat_no)).scalar_one()
    if held + len(question.messages) + 1 > limits.messages:
        raise ChatLimit(
            f"This conversation holds {held:,} messages, of {limits.messages:,} allowed; begin a new one.",
            param="conversation_id",
        )


def _busy(message_id: str) -> ChatConflict:
    return ChatConflict(
        f"The answer {message_id!r} is still being written; stop it or wait for its end.", code="answer_running"
    )


# --- what the model is told


def _told(
    connection: Connection, chat_no: int, answer: Row[Any] | None, stream: str, *, fresh: bool, link: Link = Link.OPEN
) -> Turn:
    """Return the turn: the conversation down to this answer, in OpenAI's messages."""
    assert answer is not None  # noqa: S101 - it was found or inserted before
    found = connection.execute(select(chat).where(chat.c.no == chat_no)).one()
    streams = connection.execute(
        select(segment.c.stream)
        .where(segment.c.message == answer.no, (segment.c.link != int(Link.UNBEGUN)) | (segment.c.stream == stream))
        .order_by(segment.c.no)
    ).scalars()
    before = list(streams)
    before = before[: before.index(stream)]
    history = [{"role": "system", "content": found.system}] if found.system else []
    history += path(connection, chat_no, answer.parent)
    if before:
        history.append({"role": "assistant", "content": answer.content})
    return Turn(
        chat=found.id,
        message=answer.id,
        parent=answer.parent,
        stream=stream,
        fresh=fresh,
        link=link,
        model=answer.model,
        history=history,
        continues=before[-1] if before else None,
    )


def path(connection: Connection, chat_no: int, leaf: str | None) -> list[dict[str, str]]:
    """Return the messages from the root down to this one; answers without text are left out."""
    here = message.c.chat == chat_no
    rows = connection.execute(select(message.c.id, message.c.parent, message.c.no).where(here))
    tree = {row.id: row for row in rows}
    way: list[int] = []
    while leaf is not None:
        way.append(tree[leaf].no)
        leaf = tree[leaf].parent
    found: dict[int, dict[str, str]] = {}
    for first in range(0, len(way), SLICE):
        texts = select(message.c.no, message.c.role, message.c.content)
        for row in connection.execute(texts.where(message.c.no.in_(way[first : first + SLICE]))):
            found[row.no] = {"role": row.role, "content": row.content}
    return [found[no] for no in reversed(way) if found[no]["content"]]
