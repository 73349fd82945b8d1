"""Conversations and messages by their names: found, required, made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select

from tickertape.conversations.changelog import record
from tickertape.conversations.schema import chat, message
from tickertape.conversations.text_search import fold
from tickertape.errors import ConversationLimitExceeded, UnknownConversation

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from tickertape.conversations.models import ConversationLimits

# Built once: to build a statement costs as much as to execute it.
_FIND = select(message).where(message.c.chat == bindparam("here"), message.c.id == bindparam("named"))


def live(connection: Connection, owner: str, chat_id: str) -> Row[Any]:
    """Return a conversation's row. Raises UnknownConversation, also for one that was deleted."""
    row = connection.execute(
        select(chat).where(chat.c.owner == owner, chat.c.id == chat_id, chat.c.deleted.is_(None))
    ).one_or_none()
    if row is None:
        raise UnknownConversation("conversation", chat_id)
    return row


def create(
    connection: Connection,
    owner: str,
    chat_id: str,
    limits: ConversationLimits,
    now: float,
    *,
    title: str | None,
    model: str | None,
    system: str | None,
) -> None:
    """Make an empty conversation. Raises ConversationLimitExceeded when the owner has too many."""
    held = connection.execute(select(func.count()).select_from(chat).where(chat.c.owner == owner)).scalar_one()
    if held >= limits.conversations:
        raise ConversationLimitExceeded(
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
    record(connection, owner, chat_id, "created")


def find(connection: Connection, chat_no: int, message_id: str) -> Row[Any] | None:
    """Return a message's row, None if there is none."""
    return connection.execute(_FIND, {"here": chat_no, "named": message_id}).one_or_none()


def required(connection: Connection, chat_no: int, message_id: str | None) -> Row[Any]:
    """Return a message's row. Raises UnknownConversation."""
    row = find(connection, chat_no, message_id or "")
    if row is None:
        raise UnknownConversation("message", message_id or "")
    return row
