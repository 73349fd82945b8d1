"""The prompt: the messages that the model is sent, from the root of the conversation down to the answer's parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from tickertape.conversations.checksums import require_intact
from tickertape.conversations.schema import message

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_TEXTS = select(
    *(message.c[name] for name in ("no", "id", "parent", "role", "content", "reasoning", "tool_calls", "crc"))
)
_TREE = select(message.c.id, message.c.parent, message.c.no).where(message.c.conversation == bindparam("here"))

SLICE = 500
"""Messages whose text is read in one statement: databases take a limited number of values."""


def build_messages(
    connection: Connection, conversation: Row[Any], leaf: str | None, *, partial: str | None = None
) -> list[dict[str, str]]:
    """Return OpenAI's messages: the system prompt, the branch from the root to ``leaf``, and a partial answer.

    Answers without text are left out. Raises ConversationConflict for a damaged message.
    """
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    messages += _branch(connection, conversation.no, leaf)
    if partial is not None:
        messages.append({"role": "assistant", "content": partial})
    return messages


def _branch(connection: Connection, conversation_no: int, leaf: str | None) -> list[dict[str, str]]:
    tree = {row.id: row for row in connection.execute(_TREE, {"here": conversation_no})}
    path: list[int] = []
    while leaf is not None:
        path.append(tree[leaf].no)
        leaf = tree[leaf].parent
    texts: dict[int, dict[str, str]] = {}
    for first in range(0, len(path), SLICE):
        for row in connection.execute(_TEXTS.where(message.c.no.in_(path[first : first + SLICE]))):
            require_intact(row)
            texts[row.no] = {"role": row.role, "content": row.content}
    return [texts[no] for no in reversed(path) if texts[no]["content"]]
