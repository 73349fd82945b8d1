"""What the model is told: the conversation down to the answer that is to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from tickertape.conversations.checksums import require
from tickertape.conversations.models import PreparedAnswer, SegmentState
from tickertape.conversations.schema import message, segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_TEXTS = select(
    *(message.c[name] for name in ("no", "id", "parent", "role", "content", "reasoning", "tool_calls", "crc"))
)
_TREE = select(message.c.id, message.c.parent, message.c.no).where(message.c.chat == bindparam("here"))

SLICE = 500
"""Messages whose text is asked for in one statement: databases take a limited number of values."""


def told(
    connection: Connection,
    found: Row[Any],
    answer: tuple[str, str, str | None],
    stream: str,
    *,
    fresh: bool = True,
    link: SegmentState = SegmentState.OPEN,
    begun: str = "",
    before: Sequence[str] = (),
) -> PreparedAnswer:
    """Return the turn: the conversation down to this answer, in OpenAI's messages.

    The answer is given by its id, its parent's and its model. ``begun`` is its text so far, of the streams ``before``.
    """
    message_id, parent, model = answer
    history = [{"role": "system", "content": found.system}] if found.system else []
    history += path(connection, found.no, parent)
    if before:
        history.append({"role": "assistant", "content": begun})
    return PreparedAnswer(
        chat=found.id,
        message=message_id,
        parent=parent,
        stream=stream,
        fresh=fresh,
        link=link,
        model=model,
        history=history,
        continues=before[-1] if before else None,
    )


def streams_before(connection: Connection, message_no: int, stream: str) -> list[str]:
    """Return the streams that a message consists of, those before this one."""
    begun = segment.c.link != int(SegmentState.UNSTARTED)
    streams = connection.execute(
        select(segment.c.stream)
        .where(
            segment.c.message == message_no,
            begun | (segment.c.stream == stream),
        )
        .order_by(segment.c.no)
    )
    found = list(streams.scalars())
    return found[: found.index(stream)]


def path(connection: Connection, chat_no: int, leaf: str | None) -> list[dict[str, str]]:
    """Return the messages from the root down to this one; answers without text are left out.

    Raises ConversationConflict.
    """
    tree = {row.id: row for row in connection.execute(_TREE, {"here": chat_no})}
    way: list[int] = []
    while leaf is not None:
        way.append(tree[leaf].no)
        leaf = tree[leaf].parent
    found: dict[int, dict[str, str]] = {}
    for first in range(0, len(way), SLICE):
        for row in connection.execute(_TEXTS.where(message.c.no.in_(way[first : first + SLICE]))):
            require(row)
            found[row.no] = {"role": row.role, "content": row.content}
    return [found[no] for no in reversed(way) if found[no]["content"]]
