"""The feed of changes: what the store notes for those who watch an owner's conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from tickertape.conversations.models import Change
from tickertape.conversations.schema import change

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT = 10_000
"""Changes that are kept: who was away for longer reads the list anew."""


def record(connection: Connection, owner: str, chat_id: str, what: str, message_id: str | None = None) -> None:
    """Note a change. SQLite commits transactions one after another: numbers appear in their order."""
    connection.execute(insert(change).values(owner=owner, chat=chat_id, what=what, message=message_id))


def retained(connection: Connection) -> tuple[int, int]:
    """Return the number before the oldest change that is kept, and that of the newest; both 0 if there was none."""
    # One question each: SQLite finds either end of the table at once, both in one statement by reading all of it.
    oldest, last = (connection.execute(select(end(change.c.no))).scalar_one() for end in (func.min, func.max))
    return (oldest - 1, last) if last is not None else (0, 0)


def changes_after(connection: Connection, no: int, owner: str | None = None) -> list[Change]:
    """Return the changes after this number, of one owner or of all."""
    query = select(change).where(change.c.no > no).order_by(change.c.no)
    if owner is not None:
        query = query.where(change.c.owner == owner)
    return [Change(row.no, row.owner, row.chat, row.what, row.message) for row in connection.execute(query)]


def trim(connection: Connection) -> None:
    """Drop the oldest changes."""
    _oldest, last = retained(connection)
    connection.execute(delete(change).where(change.c.no <= last - KEPT))
