"""The changelog: every change of a conversation, numbered, for those who watch an owner's conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from tickertape.conversations.models import Change
from tickertape.conversations.schema import change

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT = 10_000
"""Changes that are kept: a reader who was away for longer reads the list again."""


def record(connection: Connection, owner: str, conversation_id: str, kind: str, message_id: str | None = None) -> None:
    """Record a change. Transactions that write are serialized (`store.Database`): numbers appear in their order."""
    values = {"owner": owner, "conversation": conversation_id, "kind": kind, "message": message_id}
    connection.execute(insert(change).values(values))


def retained_range(connection: Connection) -> tuple[int, int]:
    """Return the number before the oldest change that is kept, and that of the newest; both 0 if there was none."""
    # Two statements: SQLite finds either end of the table at once, both in one statement by reading all of it.
    oldest, last = (connection.execute(select(end(change.c.no))).scalar_one() for end in (func.min, func.max))
    return (oldest - 1, last) if last is not None else (0, 0)


def changes_after(connection: Connection, no: int, owner: str | None = None) -> list[Change]:
    """Return the changes after this number, of one owner or of all."""
    query = select(change).where(change.c.no > no).order_by(change.c.no)
    if owner is not None:
        query = query.where(change.c.owner == owner)
    return [Change(row.no, row.owner, row.conversation, row.kind, row.message) for row in connection.execute(query)]


def trim(connection: Connection) -> None:
    """Delete the oldest changes, beyond those that are kept."""
    _oldest, last = retained_range(connection)
    connection.execute(delete(change).where(change.c.no <= last - KEPT))
