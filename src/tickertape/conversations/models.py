"""The values that the store, the service and their callers exchange. Times are in seconds since 1970."""

from __future__ import annotations

import secrets
from enum import IntEnum
from typing import Any, Literal

import msgspec

RUNNING = "running"
"""The state of a message that is being written; the other states are those of its stream."""


def new_id() -> str:
    """Return an id for a conversation, a message or a stream that nobody can guess."""
    return secrets.token_hex(16)


class ConversationLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on conversations. Beyond one, ConversationLimitExceeded is raised."""

    title: int = 200
    """Characters of a title."""
    system: int = 100_000
    """Characters of a system prompt."""
    messages: int = 10_000
    """Messages in one conversation, all branches together: a page reads them all."""
    per_owner: int = 100_000
    """Conversations of one owner."""
    undo: float = 3600.0
    """Seconds within which a deletion can be undone; after that nothing is left of the conversation."""


class SegmentState(IntEnum):
    """What became of a segment: one of the streams that a message is made of."""

    OPEN = 0
    """The stream runs, is about to start, or has ended and its text is not in the message yet."""
    FINALIZED = 1
    """The message has the text: the stream may be deleted."""
    UNSTARTED = 2
    """The stream never started. A retry may still start it."""


class NewMessage(msgspec.Struct, frozen=True):
    """A user's message that is to be added."""

    text: str
    id: str = msgspec.field(default_factory=new_id)


class MessageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a conversation for an answer.

    ``action`` is ``next`` to add ``messages`` under ``parent`` and have them answered; ``variant`` for another answer
    to the user's message ``parent``; ``continue`` to go on from the partial answer ``parent``. ``parent`` None is the
    root, UNSET the conversation's current message: a parent above that edits, and makes a branch. A conversation whose
    id is unknown is created by ``next``. Ids have at most 36 characters; ``message`` is the answer's, ``stream`` that
    of its stream. ``key`` and ``digest`` are an Idempotency-Key and the digest of the request that came with it.
    """

    action: Literal["next", "variant", "continue"] = "next"
    conversation: str = msgspec.field(default_factory=new_id)
    parent: str | msgspec.UnsetType | None = msgspec.UNSET
    messages: list[NewMessage] = []
    message: str = msgspec.field(default_factory=new_id)
    model: str | None = None
    stream: str = msgspec.field(default_factory=new_id)
    key: str | None = None
    digest: bytes = b""


class AnswerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer is made.

    ``parameters`` are the provider's. ``show_usage`` puts the token counts into the stream. The answer is cancelled
    once nobody has read it for ``abandon_after`` seconds; None lets it go on.
    """

    parameters: dict[str, Any] = {}
    show_usage: bool = False
    abandon_after: float | None = None


class PreparedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The place of an answer in its conversation, committed, and the prompt for it.

    ``fresh`` says that this request made it, or made it again after its stream never started. ``segment`` is the state
    of its segment otherwise. ``prompt`` is a list of OpenAI's messages. ``continues`` is the stream of the partial
    answer that is continued.
    """

    conversation: str
    message: str
    parent: str
    stream: str
    fresh: bool
    segment: SegmentState
    model: str | None
    prompt: list[dict[str, str]]
    continues: str | None = None

    @property
    def ids(self) -> dict[str, str]:
        """The ids as the first event of the stream carries them."""
        return {
            "conversation_id": self.conversation,
            "message_id": self.message,
            "parent_message_id": self.parent,
        }


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a stream that has ended: its state and all that its message keeps."""

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
    """A stream whose text is not in its message yet; ``started`` is when the request was committed."""

    stream: str
    owner: str
    started: float


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
    """A conversation without its messages; ``current`` is the last message of the branch that is shown."""

    id: str
    title: str
    model: str | None
    system: str | None
    current: str | None
    created: float
    updated: float
    running: bool = False
    match: str | None = None
    """The message that a search found; None if its words are in the title alone."""
    snippet: str | None = None
    """The text around the words found in that message."""


class ConversationUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a conversation; UNSET leaves a field as it is. ``restore`` undoes a deletion first."""

    title: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    system: str | msgspec.UnsetType | None = msgspec.UNSET
    current: str | msgspec.UnsetType | None = msgspec.UNSET
    restore: bool = False


class Conversation(msgspec.Struct, frozen=True):
    """A conversation with all its messages, in order of creation: parents before their children."""

    summary: ConversationSummary
    messages: list[Message]


class ConversationPage(msgspec.Struct, frozen=True):
    """A part of the list of conversations, and how many there are in all."""

    conversations: list[ConversationSummary]
    total: int


class Change(msgspec.Struct, frozen=True):
    """A change in an owner's conversations; ``no`` grows. ``kind`` is created, updated, deleted, message or ended."""

    no: int
    owner: str
    conversation: str
    kind: str
    message: str | None
