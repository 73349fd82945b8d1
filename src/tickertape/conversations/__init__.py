"""Conversations: a tree of messages each, kept in one file; an assistant's message points at the streams that made it.

`async_store.py` is what the server holds; behind it, in threads of their own, `sql_store.py` keeps everything with
SQLAlchemy, which is imported with the first conversation: that costs 0.12 s of processor time and 12 MB, which a server
that only streams need not pay.
"""

from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.models import (
    Change,
    Conversation,
    ConversationLimits,
    ConversationPage,
    ConversationSummary,
    Message,
    MessageRequest,
    NewMessage,
    Outcome,
    PreparedAnswer,
    Segment,
)

__all__ = [
    "AsyncStore",
    "Change",
    "Conversation",
    "ConversationLimits",
    "ConversationPage",
    "ConversationSummary",
    "Message",
    "MessageRequest",
    "NewMessage",
    "Outcome",
    "PreparedAnswer",
    "Segment",
]
