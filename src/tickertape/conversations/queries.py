"""Queries: the list, the search, and a whole conversation."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, case, or_, select

from tickertape.conversations.checksums import intact
from tickertape.conversations.models import (
    RUNNING,
    Conversation,
    ConversationPage,
    ConversationSummary,
    Message,
    SegmentState,
)
from tickertape.conversations.schema import conversation, message, segment
from tickertape.conversations.text_search import fold, snippet
from tickertape.errors import UnknownConversation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

MAX_WORDS = 16
"""Words of a search that count; each reads all texts."""

# Built once: to build a statement costs as much as to execute it.
_MESSAGE = select(message).where(message.c.conversation == bindparam("here"), message.c.id == bindparam("named"))
_running = select(message.c.no).where(message.c.conversation == conversation.c.no, message.c.state == RUNNING).exists()
_SUMMARY = select(conversation, _running.label("running"))


# --- rows by their ids


def find(connection: Connection, owner: str, conversation_id: str) -> Row[Any] | None:
    """Return the row of a conversation, deleted ones too; None if there is none."""
    named = select(conversation).where(conversation.c.owner == owner, conversation.c.id == conversation_id)
    return connection.execute(named).one_or_none()


def require(connection: Connection, owner: str, conversation_id: str) -> Row[Any]:
    """Return the row of a conversation. Raises UnknownConversation, also for a deleted one."""
    row = find(connection, owner, conversation_id)
    if row is None or row.deleted is not None:
        raise UnknownConversation("conversation", conversation_id)
    return row


def find_message(connection: Connection, conversation_no: int, message_id: str) -> Row[Any] | None:
    """Return the row of a message, None if there is none."""
    return connection.execute(_MESSAGE, {"here": conversation_no, "named": message_id}).one_or_none()


def require_message(connection: Connection, conversation_no: int, message_id: str | None) -> Row[Any]:
    """Return the row of a message. Raises UnknownConversation."""
    row = find_message(connection, conversation_no, message_id or "")
    if row is None:
        raise UnknownConversation("message", message_id or "")
    return row


# --- the list and the search


def list_page(connection: Connection, owner: str, query: str, offset: int, limit: int) -> ConversationPage:
    """Return a part of the list, the last changed first; with a query, only conversations that hold all its words.

    They are looked for in the title and in the text of all branches, anywhere within words and without case.
    """
    words = list(dict.fromkeys(fold(query).split()))[:MAX_WORDS]
    order = conversation.c.updated.desc(), conversation.c.no.desc()
    # The numbers of all matches come first: their count and the page that is shown, from reading the texts once.
    matching = select(conversation.c.no).where(
        conversation.c.owner == owner, conversation.c.deleted.is_(None), *map(_holds, words)
    )
    found = connection.execute(matching.order_by(*order)).scalars().all()
    page = _SUMMARY.where(conversation.c.no.in_(found[offset : offset + limit])).order_by(*order)
    rows = connection.execute(page).all()
    return ConversationPage(
        [_summary(row, *(_match(connection, row, words) if words else ())) for row in rows], len(found)
    )


def _holds(word: str) -> ColumnElement[bool]:
    """Return the condition that a folded word is in the title or in a message."""
    text = select(message.c.no).where(
        message.c.conversation == conversation.c.no, message.c.folded.contains(word, autoescape=True)
    )
    return or_(conversation.c.folded.contains(word, autoescape=True), text.exists())


def _match(connection: Connection, row: Row[Any], words: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the message of a conversation that holds most of the words, the newest of those, and the snippet.

    None if the words are in the title alone.
    """
    holds = [message.c.folded.contains(word, autoescape=True) for word in words]
    count = reduce(add, (case((each, 1), else_=0) for each in holds))
    query = select(message).where(message.c.conversation == row.no, or_(*holds))
    best = connection.execute(query.order_by(count.desc(), message.c.no.desc()).limit(1)).one_or_none()
    if best is None:
        return None, None
    return best.id, snippet(best.content, list(words)) if intact(best) else None


def get_summary(connection: Connection, conversation_no: int) -> ConversationSummary:
    """Return a conversation without its messages."""
    return _summary(connection.execute(_SUMMARY.where(conversation.c.no == conversation_no)).one())


def _summary(row: Row[Any], match: str | None = None, around: str | None = None) -> ConversationSummary:
    return ConversationSummary(
        id=row.id,
        title=row.title,
        model=row.model,
        system=row.system,
        current=row.current,
        created=row.created,
        updated=row.updated,
        running=bool(row.running),
        match=match,
        snippet=around,
    )


# --- a whole conversation


def get(connection: Connection, owner: str, conversation_id: str) -> Conversation:
    """Return a conversation with all its messages. Raises UnknownConversation."""
    no = require(connection, owner, conversation_id).no
    streams: dict[int, list[str]] = {}
    for row in connection.execute(
        select(segment.c.message, segment.c.stream)
        .where(segment.c.conversation == no, segment.c.state != int(SegmentState.UNSTARTED))
        .order_by(segment.c.no)
    ):
        streams.setdefault(row.message, []).append(row.stream)
    rows = connection.execute(select(message).where(message.c.conversation == no).order_by(message.c.no))
    return Conversation(get_summary(connection, no), [_message(row, streams.get(row.no, [])) for row in rows])


def _message(row: Row[Any], streams: list[str]) -> Message:
    stored = Message(
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
    if intact(row):
        return stored
    error = {
        "message": "This message is damaged on the server's disk: its checksum does not match. Restore a backup.",
        "type": "server_error",
        "code": "message_damaged",
        "param": None,
    }
    return msgspec.structs.replace(stored, content="", reasoning="", tool_calls=None, state="lost", error=error)
