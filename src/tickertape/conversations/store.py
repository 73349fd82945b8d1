"""The contract of a store: what the service needs of the place where conversations are kept.

`Store` is blocking, and safe to use from several threads and processes; every call is one transaction. `Database` opens
it. A second database is one more module beside `sqlite.py`: `SqlStore` (`sql_store.py`) says everything in SQLAlchemy's
portable terms, and takes what differs from a `SqlDatabase`. Every database promises:

* **One writer at a time.** Transactions that write are serialized, those of other processes too: a request reads the
  state that it changes, and the changelog's numbers appear in the order of the commits, so that a reader who has seen
  number k misses nothing below it. SQLite has ``BEGIN IMMEDIATE``; PostgreSQL needs an advisory lock as the
  transaction's first statement, because numbers of a sequence are taken before they are committed.
* **All or nothing.** A call that raises has changed nothing.
* **Errors.** What cannot be opened, read or written raises ConversationsUnavailable with one sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tickertape.conversations.models import (
        Change,
        Conversation,
        ConversationLimits,
        ConversationPage,
        ConversationSummary,
        ConversationUpdate,
        MessageRequest,
        Outcome,
        PreparedAnswer,
        Segment,
    )

Clock = Callable[[], float]
"""Returns the time in seconds since 1970."""


class Store(Protocol):
    """The conversations of all owners. Every call may raise ConversationsUnavailable."""

    def close(self) -> None:
        """Close the database."""

    # --- answers

    def prepare_answer(self, owner: str, request: MessageRequest) -> PreparedAnswer:
        """Add the request's messages and the place for the answer; a repeated request finds its answer.

        Raises UnknownConversation, ConversationConflict, ConversationLimitExceeded and KeyReused.
        """
        ...

    def finalize_message(self, stream: str, outcome: Outcome, ended: float | None = None) -> None:
        """Put what a stream ended with into its message; the second time, it does nothing."""

    def mark_unstarted(self, stream: str, outcome: Outcome) -> None:
        """Record that a stream never started."""

    def unfinalized(self, owner: str | None = None) -> list[Segment]:
        """Return the streams whose text is not in a message yet, of one owner or of all."""
        ...

    # --- conversations

    def create(
        self, owner: str, conversation_id: str, *, title: str | None, model: str | None, system: str | None
    ) -> ConversationSummary:
        """Create an empty conversation, or return the one of this id.

        Raises ConversationLimitExceeded; UnknownConversation for a deleted one.
        """
        ...

    def list_page(self, owner: str, query: str = "", offset: int = 0, limit: int = 50) -> ConversationPage:
        """Return a part of the list, the last changed first; with a query, only what holds all its words."""
        ...

    def get(self, owner: str, conversation_id: str) -> Conversation:
        """Return a conversation with all its messages. Raises UnknownConversation."""
        ...

    def update(self, owner: str, conversation_id: str, wanted: ConversationUpdate) -> ConversationSummary:
        """Change a conversation. Raises UnknownConversation."""
        ...

    def soft_delete(self, owner: str, conversation_id: str) -> tuple[float, list[str]]:
        """Delete a conversation; return until when that can be undone, and the streams to be cancelled."""
        ...

    def pending_deletion(self) -> list[str]:
        """Return the streams that must be deleted before `hard_delete` deletes their conversations."""
        ...

    def hard_delete(self, deleted_streams: Iterable[str] = ()) -> int:
        """Delete all that is left of some conversations whose deletion can no longer be undone; return how many.

        Those with a stream that is not among the ``deleted_streams`` stay, to name it the next time.
        """
        ...

    # --- the changelog

    def changelog_range(self) -> tuple[int, int]:
        """Return the number before the oldest change that is kept, and the newest's."""
        ...

    def changes_after(self, no: int, owner: str | None = None) -> list[Change]:
        """Return the changes after this number, of one owner or of all."""
        ...

    # --- the database

    def reclaim_space(self) -> bool:
        """Give some of the space that was freed back to the system; return whether there is more."""
        ...

    def probe(self) -> None:
        """Commit something that changes nothing, to find out whether anything can be committed."""


class Maintenance(Protocol):
    """The work that a database needs besides its transactions. Called on the event loop."""

    def written(self) -> None:
        """Say that something was written."""

    def deleted(self) -> None:
        """Say that something was deleted of which nothing may be left."""

    async def close(self) -> None:
        """Finish what must be done."""


class Database(Protocol):
    """The place of the conversations, not opened yet."""

    @property
    def exists(self) -> bool:
        """Whether there is anything to open."""
        ...

    def open(self, limits: ConversationLimits, clock: Clock) -> Store:
        """Open it, created if need be. Blocking. Raises ConversationsUnavailable with the reason."""
        ...

    def maintenance(self, reclaim_space: Callable[[], Awaitable[bool]]) -> Maintenance:
        """Return what looks after the database; ``reclaim_space`` calls the store's in its thread."""
        ...
