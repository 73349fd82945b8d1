"""What is said of conversations: values, handed between the store's thread and the server."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import msgspec

RUNNING = "running"
"""The state of a message that is being written; the other states are those of its stream."""


class ConversationLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on conversations. Beyond one there is a clear error."""

    title: int = 200
    """Characters of a title."""
    system: int = 100_000
    """Characters of a system prompt."""
    messages: int = 10_000
    """Messages in one conversation, all branches together: a page reads them all."""
    conversations: int = 100_000
    """Conversations of one owner."""
    undo: float = 3600.0
    """Seconds within which a deletion can be taken back; after that nothing is left of the conversation."""


class SegmentState(IntEnum):
    """How a message's segment stands to its stream."""

    OPEN = 0
    """The stream runs, is about to begin, or has ended and its text is yet to be taken over."""
    FINALIZED = 1
    """The message has the text: the stream may be forgotten."""
    UNSTARTED = 2
    """The stream never began. A retry may still begin it."""


class NewMessage(msgspec.Struct, frozen=True):
    """A message of the user that is to be added."""

    id: str
    text: str


class MessageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What one request asks of a conversation.

    ``parent`` None is a root; UNSET is where the conversation stands. ``stream`` is the id for the answer's stream.
    ``key`` and ``digest`` are an Idempotency-Key and the digest of the request that came with it.
    """

    action: Literal["next", "variant", "continue"]
    chat: str | None
    parent: str | msgspec.UnsetType | None = msgspec.UNSET
    messages: list[NewMessage] = []
    message: str
    model: str | None = None
    stream: str
    key: str | None = None
    digest: bytes = b""


class PreparedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation, committed: where the answer belongs, and what the model is told.

    ``fresh`` says that this request made it, or made it again after its stream never began. ``link`` is the state of
    the link otherwise. ``history`` is OpenAI's messages. ``continues`` is the stream that is gone on from.
    """

    chat: str
    message: str
    parent: str
    stream: str
    fresh: bool
    link: SegmentState
    model: str | None
    history: list[dict[str, str]]
    continues: str | None = None

    @property
    def place(self) -> dict[str, str]:
        """The ids as the first event carries them."""
        return {"conversation_id": self.chat, "message_id": self.message, "parent_message_id": self.parent}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a stream."""

    state: str
    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] | None = None
    details: dict[str, Any] | None = None
    """What else the answer's message holds: refusal, citations, images, sound, signed thinking, log probabilities."""
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    error: dict[str, Any] | None = None
    model: str | None = None


class Segment(msgspec.Struct, frozen=True):
    """A stream whose text a message is still to take over; ``begun`` in seconds since 1970."""

    stream: str
    owner: str
    begun: float


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``seconds`` is how long the answer took, ``streams`` its segments, the newest last."""

    id: str
    parent: str | None
    role: str
    content: str
    model: str | None
    created: float
    state: str
    finish_reason: str | None
    error: dict[str, Any] | None
    reasoning: str
    tool_calls: list[dict[str, Any]] | None
    details: dict[str, Any] | None
    usage: dict[str, Any] | None
    seconds: float | None
    streams: list[str]


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its messages. Times are in seconds since 1970."""

    id: str
    title: str
    model: str | None
    system: str | None
    current: str | None
    created: float
    updated: float
    running: bool = False
    found: str | None = None
    """The message that a search found, None where its words stand in the title alone."""
    snippet: str | None = None
    """The place in it."""


class Conversation(msgspec.Struct, frozen=True):
    """A conversation with all its messages, in order of creation: parents before their children."""

    chat: ConversationSummary
    messages: list[Message]


class ConversationPage(msgspec.Struct, frozen=True):
    """A part of the list of conversations, and how many there are in all."""

    chats: list[ConversationSummary]
    total: int


class Change(msgspec.Struct, frozen=True):
    """Something that changed in an owner's conversations; ``no`` grows."""

    no: int
    owner: str
    chat: str
    what: str
    message: str | None
