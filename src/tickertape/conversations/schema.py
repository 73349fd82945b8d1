"""The tables of the conversations.

::

    conversation  one row each; ``current`` is the message at the end of the branch that is shown
    message       its messages: a tree by ``parent``. ``folded`` is the text in the form that is searched
    segment       the streams that made a message: one, and one more each time the answer was continued
    change        the changelog; the newest rows are kept

In the database the table of conversations is called ``chat``, as is the column that refers to it, and some columns
have other names (the second argument below): files that exist keep them.

All SQL is SQLAlchemy's and portable; what concerns SQLite alone is in `sqlite.py`.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

conversation = Table(
    "chat",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("id", String(36), nullable=False),
    Column("title", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("titled", Boolean, nullable=False),  # set by the user: never overwritten
    Column("model", Text),
    Column("system", Text),
    Column("current", String(36)),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("deleted", Float),
    UniqueConstraint("owner", "id"),  # ids are the callers': one owner's say nothing of another's
)
Index("recent", conversation.c.owner, conversation.c.updated)

message = Table(
    "message",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("chat", ForeignKey("chat.no"), key="conversation", nullable=False),
    Column("id", String(36), nullable=False),
    Column("parent", String(36)),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("model", Text),
    Column("created", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("finish_reason", Text),
    Column("error", JSON(none_as_null=True)),
    Column("reasoning", Text, nullable=False, default=""),
    Column("tool_calls", JSON(none_as_null=True)),
    Column("usage", JSON(none_as_null=True)),
    Column("seconds", Float),
    Column("crc", BigInteger, nullable=False, server_default="-1"),  # see checksums.py
    Column("details", JSON(none_as_null=True)),  # what else an answer holds: citations, images, refusal, …
    UniqueConstraint("conversation", "id"),
)

segment = Table(
    "segment",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("stream", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("chat", ForeignKey("chat.no"), key="conversation", nullable=False, index=True),
    Column("message", ForeignKey("message.no"), nullable=False, index=True),
    Column("link", Integer, key="state", nullable=False),
    Column("begun", Float, key="started", nullable=False),
    Column("before", JSON(none_as_null=True), key="previous"),  # the message's fields before it was continued
    Column("key", Text),
    Column("digest", LargeBinary),
    UniqueConstraint("owner", "key"),
)
Index("open_segments", segment.c.owner, sqlite_where=segment.c.state == 0, postgresql_where=segment.c.state == 0)

change = Table(
    "change",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("chat", String(36), key="conversation", nullable=False),
    Column("what", String(16), key="kind", nullable=False),
    Column("message", String(36)),
    sqlite_autoincrement=True,  # numbers are never used again, even when all rows were deleted
)
