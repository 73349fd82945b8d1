"""Checksums of messages: a text that the disk has changed is never shown, and never sent to a model.

A message has a CRC-32 over what it is (id, parent, role) and what it says (text, reasoning, tool calls). What the
database itself holds together, as keys do, and what only describes a message, as its usage does, has none.

`UNKNOWN` stands where a version without checksums wrote. A message whose row this version made and whose text that
version added has the checksum of an empty one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from tickertape.errors import ConversationConflict

if TYPE_CHECKING:
    from sqlalchemy import Row

UNKNOWN = -1
"""No CRC-32: of a message that was written without one."""

_json = msgspec.json.Encoder().encode


def seal(
    message_id: str, parent: str | None, role: str, content: str = "", reasoning: str = "", tool_calls: Any = None
) -> int:
    """Return the checksum of a message."""
    said = "\0".join((message_id, parent or "", role, content, reasoning))
    return crc32(_json(tool_calls), crc32(said.encode(errors="surrogateescape")))


def intact(row: Row[Any]) -> bool:
    """Say whether a message, given with all that its checksum is of, is as it was written."""
    if row.crc == UNKNOWN:
        return True
    try:
        found = seal(row.id, row.parent, row.role, row.content, row.reasoning, row.tool_calls)
    except (TypeError, ValueError):  # damage has made something else of a text
        return False
    return row.crc in (found, seal(row.id, row.parent, row.role))


def require_intact(row: Row[Any]) -> None:
    """Raise ConversationConflict for a damaged message: no model is sent what nobody wrote."""
    if not intact(row):
        raise ConversationConflict(
            f"The message {row.id!r} is damaged on the server's disk: its checksum does not match. Ask from a message "
            "before it, or restore a backup.",
            code="message_damaged",
        )
