"""The end of an answer: the text of its stream is put into its message, exactly once, by whoever sees the end first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from tickertape.conversations.changelog import record
from tickertape.conversations.checksums import UNKNOWN, seal
from tickertape.conversations.models import Outcome, Segment, SegmentState
from tickertape.conversations.schema import conversation, message, segment
from tickertape.conversations.text_search import fold

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


_COLUMNS = ("parent", "role", "content", "reasoning", "tool_calls", "details", "model", "seconds", "crc")
_SEGMENT = (
    select(
        segment,
        conversation.c.id.label("conversation_id"),
        message.c.id.label("message_id"),
        *(message.c[name] for name in _COLUMNS),
    )
    .join(conversation, conversation.c.no == segment.c.conversation)
    .join(message, message.c.no == segment.c.message)
    .where(segment.c.stream == bindparam("named"))
)
"""A segment with its message and the ids of both."""


def finalize_message(connection: Connection, stream: str, outcome: Outcome, ended: float | None) -> None:
    """Add a stream's text to its message, with its state and, if known, how long it took.

    The second time, and for a stream of no message, it does nothing.
    """
    row = _find(connection, stream)
    if row is None or row.state == SegmentState.FINALIZED:
        return
    content, reasoning = row.content + outcome.text, row.reasoning + outcome.reasoning
    tool_calls = outcome.tool_calls or row.tool_calls
    values = {
        "content": content,
        "folded": fold(content),
        "reasoning": reasoning,
        "tool_calls": tool_calls,
        "details": _joined(row.details or {}, outcome.details or {}) or None,
        "crc": _sealed(row, content, reasoning, tool_calls),
        "usage": outcome.usage,
        "model": outcome.model or row.model,
        "state": outcome.state,
        "finish_reason": outcome.finish_reason,
        "error": outcome.error,
        "seconds": None if ended is None else (row.seconds or 0) + max(0, ended - row.started),
    }
    connection.execute(update(message).where(message.c.no == row.message).values(values))
    _close(connection, row, SegmentState.FINALIZED)


def _sealed(row: Row[Any], content: str, reasoning: str, tool_calls: Any) -> int:
    """Return the new checksum; that of a message which was damaged before stays wrong."""
    before = seal(row.message_id, row.parent, row.role, row.content, row.reasoning, row.tool_calls)
    if row.crc not in (UNKNOWN, before):
        return int(row.crc)
    return seal(row.message_id, row.parent, row.role, content, reasoning, tool_calls)


def _joined(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the details of a continued answer: lists are joined, other values replaced."""
    lists = {name: [*before[name], *value] for name, value in more.items() if isinstance(before.get(name), list)}
    return {**before, **more, **lists}


def mark_unstarted(connection: Connection, stream: str, outcome: Outcome) -> None:
    """Record that a stream never started. An answer that it was to continue is again as it was before."""
    row = _find(connection, stream)
    if row is None or row.state != SegmentState.OPEN:
        return
    values = row.previous or {"state": outcome.state, "finish_reason": None, "error": outcome.error}
    connection.execute(update(message).where(message.c.no == row.message).values(values))
    _close(connection, row, SegmentState.UNSTARTED)


def unfinalized(connection: Connection, owner: str | None = None) -> list[Segment]:
    """Return the open segments: their streams run, or have ended and their text is not in a message yet."""
    is_open = segment.c.state == int(SegmentState.OPEN)
    query = select(segment.c.stream, segment.c.owner, segment.c.started).where(is_open)
    if owner is not None:
        query = query.where(segment.c.owner == owner)
    return [Segment(*row) for row in connection.execute(query)]


def _find(connection: Connection, stream: str) -> Row[Any] | None:
    return connection.execute(_SEGMENT, {"named": stream}).one_or_none()


def _close(connection: Connection, row: Row[Any], state: SegmentState) -> None:
    connection.execute(update(segment).where(segment.c.no == row.no).values(state=int(state)))
    record(connection, row.owner, row.conversation_id, "ended", row.message_id)
