"""The life of a conversation: created, changed, deleted so that it can be undone, and deleted for good.

A deletion has two steps. `soft_delete` hides a conversation at once; for a while `restore` undoes that. Then
`pending_deletion` names the streams that must be deleted first, and `hard_delete` deletes the rows whose streams are
gone: as long as a stream is left, the conversation is there to name it the next time.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from sqlalchemy import delete, func, insert, select, update

from tickertape.conversations import queries
from tickertape.conversations.changelog import record
from tickertape.conversations.models import SegmentState
from tickertape.conversations.schema import conversation, message, segment
from tickertape.conversations.text_search import fold
from tickertape.errors import ConversationLimitExceeded, UnknownConversation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from tickertape.conversations.models import ConversationLimits, ConversationSummary, ConversationUpdate

SLICE = 100
"""Conversations that are deleted for good in one transaction, at most."""

TEXT = 256 * 1024
"""Characters of text that are deleted in one transaction, if there is more than one conversation."""


def create(
    connection: Connection,
    owner: str,
    conversation_id: str,
    limits: ConversationLimits,
    now: float,
    *,
    title: str | None,
    model: str | None,
    system: str | None,
) -> None:
    """Create an empty conversation. Raises ConversationLimitExceeded when the owner has too many."""
    owned = select(func.count()).select_from(conversation).where(conversation.c.owner == owner)
    held = connection.execute(owned).scalar_one()
    if held >= limits.per_owner:
        raise ConversationLimitExceeded(
            f"You have {held:,} conversations, of {limits.per_owner:,} allowed; delete some.",
            param="conversation_id",
        )
    values = {
        "owner": owner,
        "id": conversation_id,
        "title": title or "",
        "folded": fold(title or ""),
        "titled": title is not None,
        "model": model,
        "system": system,
        "created": now,
        "updated": now,
    }
    connection.execute(insert(conversation).values(values))
    record(connection, owner, conversation_id, "created")


def change(connection: Connection, owner: str, conversation_id: str, wanted: ConversationUpdate) -> ConversationSummary:
    """Change title, model, system or current. Raises UnknownConversation, also for a message that is not there."""
    no = queries.require(connection, owner, conversation_id).no
    named = {name: getattr(wanted, name) for name in ("title", "model", "system", "current")}
    values: dict[str, Any] = {name: value for name, value in named.items() if value is not UNSET}
    if "title" in values:
        values |= {"titled": True, "folded": fold(values["title"])}
    if values.get("current") is not None:
        queries.require_message(connection, no, values["current"])
    if values:
        connection.execute(update(conversation).where(conversation.c.no == no).values(values))
        record(connection, owner, conversation_id, "updated")
    return queries.get_summary(connection, no)


def soft_delete(connection: Connection, owner: str, conversation_id: str, now: float) -> tuple[float, list[str]]:
    """Delete a conversation so that it can be restored; return when that was, and the streams that run for it.

    Called again, it returns the same: the streams may not have been cancelled the first time.
    """
    row = queries.find(connection, owner, conversation_id)
    if row is None:
        raise UnknownConversation("conversation", conversation_id)
    if row.deleted is None:
        connection.execute(update(conversation).where(conversation.c.no == row.no).values(deleted=now))
        record(connection, owner, conversation_id, "deleted")
    running = select(segment.c.stream).where(
        segment.c.conversation == row.no, segment.c.state == int(SegmentState.OPEN)
    )
    return now if row.deleted is None else row.deleted, list(connection.execute(running).scalars())


def restore(connection: Connection, owner: str, conversation_id: str, after: float) -> None:
    """Undo a deletion that was made after this time. Raises UnknownConversation if it is too late."""
    row = queries.find(connection, owner, conversation_id)
    if row is None or (row.deleted is not None and row.deleted <= after):
        raise UnknownConversation("conversation", conversation_id)
    if row.deleted is not None:
        connection.execute(update(conversation).where(conversation.c.no == row.no).values(deleted=None))
        record(connection, owner, conversation_id, "created")


def pending_deletion(connection: Connection, before: float) -> list[str]:
    """Return the streams that must be deleted before `hard_delete` deletes their conversations."""
    return [stream for streams in _deleted(connection, before).values() for stream in streams]


def hard_delete(connection: Connection, before: float, deleted_streams: Iterable[str]) -> int:
    """Delete all rows of some of what was deleted before this time, if all its streams are deleted.

    Returns how many conversations that were, 0 if there are no more.
    """
    gone = set(deleted_streams)
    old = [no for no, streams in _deleted(connection, before).items() if gone.issuperset(streams)]
    length = func.sum(func.length(message.c.content) + func.length(message.c.reasoning))
    lengths = select(message.c.conversation, length).where(message.c.conversation.in_(old))
    texts = dict(connection.execute(lengths.group_by(message.c.conversation)).all())
    totals = accumulate(texts.get(no, 0) for no in old)
    old = [no for index, (no, total) in enumerate(zip(old, totals, strict=True)) if not index or total <= TEXT]
    for table, column in (
        (segment, segment.c.conversation),
        (message, message.c.conversation),
        (conversation, conversation.c.no),
    ):
        connection.execute(delete(table).where(column.in_(old)))
    return len(old)


def _deleted(connection: Connection, before: float) -> dict[int, list[str]]:
    """Return some conversations that were deleted before this time, with their streams.

    Not those with an answer that runs, or is about to: nobody could delete its stream once they are gone.
    """
    running = select(segment.c.conversation).where(segment.c.state == int(SegmentState.OPEN))
    old = (
        select(conversation.c.no)
        .where(conversation.c.deleted <= before, conversation.c.no.not_in(running))
        .order_by(conversation.c.no)
        .limit(SLICE)
    )
    found: dict[int, list[str]] = {no: [] for no in connection.execute(old).scalars()}
    made = select(segment.c.conversation, segment.c.stream).where(segment.c.conversation.in_(found))
    for no, stream in connection.execute(made):
        found[no].append(stream)
    return found
