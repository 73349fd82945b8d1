"""The conversations as they are listed, searched, read, changed and deleted."""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import case, delete, func, or_, select, update

from tickertape.conversations.changelog import record
from tickertape.conversations.checksums import intact
from tickertape.conversations.models import (
    RUNNING,
    Conversation,
    ConversationPage,
    ConversationSummary,
    Message,
    SegmentState,
)
from tickertape.conversations.rows import live
from tickertape.conversations.schema import chat, message, segment
from tickertape.conversations.text_search import fold, snippet
from tickertape.errors import UnknownConversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

PURGE = 256 * 1024
"""Characters of text that are deleted in one transaction, if there is more than one conversation."""

WORDS = 16
"""Words of a search that count; each reads all texts."""

_running = select(message.c.no).where(message.c.chat == chat.c.no, message.c.state == RUNNING).exists()
_chat = select(chat, _running.label("running"))


def list_page(connection: Connection, owner: str, words: str, offset: int, limit: int) -> ConversationPage:
    """Return a part of the list, the last changed first; with words, only where all of them stand.

    They are looked for in the title and in the text of all branches, anywhere within words and without case.
    """
    wanted = list(dict.fromkeys(fold(words).split()))[:WORDS]
    order = chat.c.updated.desc(), chat.c.no.desc()
    # The numbers of all that match come first: their count and the part that is shown, from reading the texts once.
    matching = select(chat.c.no).where(chat.c.owner == owner, chat.c.deleted.is_(None), *map(_stands, wanted))
    found = connection.execute(matching.order_by(*order)).scalars().all()
    rows = connection.execute(_chat.where(chat.c.no.in_(found[offset : offset + limit])).order_by(*order)).all()
    chats = [_listed(row, *(_place(connection, row, wanted) if wanted else ())) for row in rows]
    return ConversationPage(chats, len(found))


def _stands(word: str) -> ColumnElement[bool]:
    """Say that a folded word stands in the title or in a message."""
    text = select(message.c.no).where(message.c.chat == chat.c.no, message.c.folded.contains(word, autoescape=True))
    return or_(chat.c.folded.contains(word, autoescape=True), text.exists())


def _place(connection: Connection, row: Row[Any], words: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the message found in a conversation and the place in it.

    It is the one with the most of the words, the newest of those; none if they stand in the title alone.
    """
    stands = [message.c.folded.contains(word, autoescape=True) for word in words]
    count = reduce(add, (case((stand, 1), else_=0) for stand in stands))
    query = select(message).where(message.c.chat == row.no, or_(*stands))
    best = connection.execute(query.order_by(count.desc(), message.c.no.desc()).limit(1)).one_or_none()
    if best is None:
        return None, None
    return best.id, snippet(best.content, list(words)) if intact(best) else None


def known(connection: Connection, owner: str, chat_id: str) -> bool:
    """Say whether there is a conversation of this id, deleted ones too."""
    found = select(chat.c.no).where(chat.c.owner == owner, chat.c.id == chat_id)
    return connection.execute(found).one_or_none() is not None


def item(connection: Connection, owner: str, chat_id: str) -> ConversationSummary:
    """Return one conversation without its messages. Raises UnknownConversation."""
    return _item(connection, live(connection, owner, chat_id).no)


def _item(connection: Connection, no: int) -> ConversationSummary:
    return _listed(connection.execute(_chat.where(chat.c.no == no)).one())


def _listed(row: Row[Any], found: str | None = None, place: str | None = None) -> ConversationSummary:
    return ConversationSummary(
        id=row.id,
        title=row.title,
        model=row.model,
        system=row.system,
        current=row.current,
        created=row.created,
        updated=row.updated,
        running=bool(row.running),
        found=found,
        snippet=place,
    )


def get(connection: Connection, owner: str, chat_id: str) -> Conversation:
    """Return a conversation with all its messages. Raises UnknownConversation."""
    no = live(connection, owner, chat_id).no
    streams: dict[int, list[str]] = {}
    for row in connection.execute(
        select(segment.c.message, segment.c.stream)
        .where(segment.c.chat == no, segment.c.link != int(SegmentState.UNSTARTED))
        .order_by(segment.c.no)
    ):
        streams.setdefault(row.message, []).append(row.stream)
    rows = connection.execute(select(message).where(message.c.chat == no).order_by(message.c.no))
    return Conversation(_item(connection, no), [_message(row, streams.get(row.no, [])) for row in rows])


def _message(row: Row[Any], streams: list[str]) -> Message:
    message = _stored(row, streams)
    if intact(row):
        return message
    error = {
        "message": "This message is damaged on the server's disk: its checksum does not match. Restore a backup.",
        "type": "server_error",
        "code": "message_damaged",
        "param": None,
    }
    return msgspec.structs.replace(message, content="", reasoning="", tool_calls=None, state="lost", error=error)


def _stored(row: Row[Any], streams: list[str]) -> Message:
    return Message(
        id=row.id,
        parent=row.parent,
        role=row.role,
        content=row.content,
        model=row.model,
        created=row.created,
        state=row.state,
        finish_reason=row.finish_reason,
        error=row.error,
        reasoning=row.reasoning,
        tool_calls=row.tool_calls,
        details=row.details,
        usage=row.usage,
        seconds=row.seconds,
        streams=streams,
    )


def update_conversation(
    connection: Connection, owner: str, chat_id: str, values: dict[str, Any]
) -> ConversationSummary:
    """Change title, model, system or current. Raises UnknownConversation, also for a message that is not there."""
    no = live(connection, owner, chat_id).no
    values = dict(values)
    if "title" in values:
        values |= {"titled": True, "folded": fold(values["title"])}
    here = select(message.c.no).where(message.c.chat == no, message.c.id == values.get("current"))
    if values.get("current") is not None and connection.execute(here).one_or_none() is None:
        raise UnknownConversation("message", values["current"])
    if values:
        connection.execute(update(chat).where(chat.c.no == no).values(values))
        record(connection, owner, chat_id, "updated")
    return _item(connection, no)


def soft_delete(connection: Connection, owner: str, chat_id: str, now: float) -> tuple[float, list[str]]:
    """Delete a conversation so that it can be taken back; return when that was, and the streams that run for it.

    Again, it returns the same: the streams may not have been stopped the first time.
    """
    row = connection.execute(select(chat).where(chat.c.owner == owner, chat.c.id == chat_id)).one_or_none()
    if row is None:
        raise UnknownConversation("conversation", chat_id)
    if row.deleted is None:
        connection.execute(update(chat).where(chat.c.no == row.no).values(deleted=now))
        record(connection, owner, chat_id, "deleted")
    streams = select(segment.c.stream).where(segment.c.chat == row.no, segment.c.link == int(SegmentState.OPEN))
    return now if row.deleted is None else row.deleted, list(connection.execute(streams).scalars())


def restore(connection: Connection, owner: str, chat_id: str, after: float) -> None:
    """Take a deletion back that was made after this time. Raises UnknownConversation if it is too late."""
    row = connection.execute(select(chat).where(chat.c.owner == owner, chat.c.id == chat_id)).one_or_none()
    if row is None or (row.deleted is not None and row.deleted <= after):
        raise UnknownConversation("conversation", chat_id)
    if row.deleted is not None:
        connection.execute(update(chat).where(chat.c.no == row.no).values(deleted=None))
        record(connection, owner, chat_id, "created")


def _gone(connection: Connection, before: float) -> dict[int, list[str]]:
    """Return some conversations that were deleted before this time, with their streams.

    Not those with an answer that runs, or is about to: its stream could be forgotten by nobody once they are gone.
    """
    answering = select(segment.c.chat).where(segment.c.link == int(SegmentState.OPEN))
    old = select(chat.c.no).where(chat.c.deleted <= before, chat.c.no.not_in(answering)).order_by(chat.c.no).limit(100)
    gone: dict[int, list[str]] = {no: [] for no in connection.execute(old).scalars()}
    made = select(segment.c.chat, segment.c.stream).where(segment.c.chat.in_(gone))
    for no, stream in connection.execute(made):
        gone[no].append(stream)
    return gone


def pending_deletion(connection: Connection, before: float) -> list[str]:
    """Return the streams that must be forgotten before `hard_delete` takes the conversations that they belong to."""
    return [stream for streams in _gone(connection, before).values() for stream in streams]


def hard_delete(connection: Connection, before: float, forgotten: Iterable[str]) -> int:
    """Let nothing be left of some of what was deleted before this time and has only streams that are forgotten.

    Returns how many conversations that were, 0 if there are no more.
    """
    known = set(forgotten)
    old = [no for no, streams in _gone(connection, before).items() if known.issuperset(streams)]
    size = func.sum(func.length(message.c.content) + func.length(message.c.reasoning))
    sizes = dict(connection.execute(select(message.c.chat, size).where(message.c.chat.in_(old)).group_by("chat")).all())
    totals = accumulate(sizes.get(no, 0) for no in old)
    old = [no for place, (no, total) in enumerate(zip(old, totals, strict=True)) if not place or total <= PURGE]
    for table, column in ((segment, segment.c.chat), (message, message.c.chat), (chat, chat.c.no)):
        connection.execute(delete(table).where(column.in_(old)))
    return len(old)
