"""What came of a stream is taken over into its message: exactly once, by whoever sees its end first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from tickertape.conversations.changelog import record
from tickertape.conversations.checksums import UNKNOWN, seal
from tickertape.conversations.models import Outcome, Segment, SegmentState
from tickertape.conversations.schema import chat, message, segment
from tickertape.conversations.text_search import fold

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row


_MADE = (
    select(
        segment,
        chat.c.id.label("chat_id"),
        message.c.id.label("message_id"),
        *(
            message.c[name]
            for name in ("parent", "role", "content", "reasoning", "tool_calls", "details", "model", "seconds", "crc")
        ),
    )
    .join(chat, chat.c.no == segment.c.chat)
    .join(message, message.c.no == segment.c.message)
    .where(segment.c.stream == bindparam("named"))
)
"""A segment with its message and the ids of both."""


def finalize_message(connection: Connection, stream: str, outcome: Outcome, ended: float | None) -> None:
    """Add a stream's text to its message, and say how and when it ended, if that is known.

    Once done, and for a stream of no message, it does nothing.
    """
    made = _segment(connection, stream)
    if made is None or made.link == SegmentState.FINALIZED:
        return
    content, reasoning = made.content + outcome.text, made.reasoning + outcome.reasoning
    tool_calls = outcome.tool_calls or made.tool_calls
    values = {
        "content": content,
        "folded": fold(content),
        "reasoning": reasoning,
        "tool_calls": tool_calls,
        "details": _joined(made.details or {}, outcome.details or {}) or None,
        "crc": _sealed(made, content, reasoning, tool_calls),
        "usage": outcome.usage,
        "model": outcome.model or made.model,
        "state": outcome.state,
        "finish_reason": outcome.finish_reason,
        "error": outcome.error,
        "seconds": None if ended is None else (made.seconds or 0) + max(0, ended - made.begun),
    }
    connection.execute(update(message).where(message.c.no == made.message).values(values))
    _close(connection, made, SegmentState.FINALIZED)


def _sealed(made: Row[Any], content: str, reasoning: str, tool_calls: Any) -> int:
    """Return the new checksum; that of a message which was damaged before stays wrong."""
    before = seal(made.message_id, made.parent, made.role, made.content, made.reasoning, made.tool_calls)
    if made.crc not in (UNKNOWN, before):
        return int(made.crc)
    return seal(made.message_id, made.parent, made.role, content, reasoning, tool_calls)


def _joined(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the details of an answer and of what it was gone on with."""
    lists = {name: [*before[name], *value] for name, value in more.items() if isinstance(before.get(name), list)}
    return {**before, **more, **lists}


def mark_unstarted(connection: Connection, stream: str, outcome: Outcome) -> None:
    """Say that a stream never began. One that was to go on from an answer leaves it as it was."""
    made = _segment(connection, stream)
    if made is None or made.link != SegmentState.OPEN:
        return
    values = made.before or {"state": outcome.state, "finish_reason": None, "error": outcome.error}
    connection.execute(update(message).where(message.c.no == made.message).values(values))
    _close(connection, made, SegmentState.UNSTARTED)


def unfinalized(connection: Connection, owner: str | None = None) -> list[Segment]:
    """Return the segments that are open: their streams run, or have ended with nobody there to settle them."""
    query = select(segment.c.stream, segment.c.owner, segment.c.begun).where(segment.c.link == 0)
    if owner is not None:
        query = query.where(segment.c.owner == owner)
    return [Segment(*row) for row in connection.execute(query)]


def _segment(connection: Connection, stream: str) -> Row[Any] | None:
    return connection.execute(_MADE, {"named": stream}).one_or_none()


def _close(connection: Connection, made: Row[Any], link: SegmentState) -> None:
    connection.execute(update(segment).where(segment.c.no == made.no).values(link=int(link)))
    record(connection, made.owner, made.chat_id, "ended", made.message_id)
