"""Conversations: a tree of messages each, kept in one file; an assistant's message points at the streams that made it.

`chats.py` is what the server holds; behind it, in a thread of its own, `store.py` keeps everything with SQLAlchemy,
which is imported with the first conversation: that costs 0.12 s of processor time and 12 MB, which a server that only
streams need not pay.
"""

from tickertape.chats.chats import Chats
from tickertape.chats.values import (
    Change,
    Chat,
    ChatLimits,
    Conversation,
    Listed,
    Message,
    NewMessage,
    Outcome,
    Question,
    Segment,
    Turn,
)

__all__ = [
    "Change",
    "Chat",
    "ChatLimits",
    "Chats",
    "Conversation",
    "Listed",
    "Message",
    "NewMessage",
    "Outcome",
    "Question",
    "Segment",
    "Turn",
]
