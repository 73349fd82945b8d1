"""The store in SQLAlchemy's terms, for every SQL database: one transaction a call."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DBAPIError, IntegrityError

from tickertape.conversations import changelog, finalize, lifecycle, messages, queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Engine

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
    from tickertape.conversations.store import Clock
    from tickertape.errors import ConversationsUnavailable


class SqlDatabase(Protocol):
    """What differs between SQL databases, of one that is open."""

    engine: Engine
    """Begins a transaction that writes so that no other one writes; one with the option ``reads`` may run beside it."""

    def check_present(self) -> None:
        """Raise ConversationsUnavailable if a commit would succeed and be lost. Called before every write."""

    def explain(self, error: BaseException | None) -> ConversationsUnavailable:
        """Return the driver's error as one sentence."""
        ...

    def reclaim_space(self, connection: Connection) -> bool:
        """Give some of the space that was freed back to the system; return whether there is more."""
        ...

    def probe(self, connection: Connection) -> None:
        """Write something that changes nothing."""


class SqlStore:
    """The conversations of all owners in an SQL database: `tickertape.conversations.store.Store`."""

    def __init__(self, database: SqlDatabase, limits: ConversationLimits, clock: Clock) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock

    def close(self) -> None:
        """Close the database."""
        self._database.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._explained(), self._database.engine.connect() as connection:
            yield connection.execution_options(reads=True)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._database.check_present()
        with self._explained(), self._database.engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # a mistake of ours, not the database's
        except DBAPIError as error:
            raise self._database.explain(error.orig) from error

    # --- answers

    def prepare_answer(self, owner: str, request: MessageRequest) -> PreparedAnswer:
        """Add the request's messages and the place for the answer; a repeated request finds its answer.

        Raises UnknownConversation, ConversationConflict, ConversationLimitExceeded and KeyReused.
        """
        with self._writing() as connection:
            return messages.prepare_answer(connection, owner, request, self._limits, self._clock())

    def finalize_message(self, stream: str, outcome: Outcome, ended: float | None = None) -> None:
        """Put what a stream ended with into its message; the second time, it does nothing."""
        with self._writing() as connection:
            finalize.finalize_message(connection, stream, outcome, ended)

    def mark_unstarted(self, stream: str, outcome: Outcome) -> None:
        """Record that a stream never started."""
        with self._writing() as connection:
            finalize.mark_unstarted(connection, stream, outcome)

    def unfinalized(self, owner: str | None = None) -> list[Segment]:
        """Return the streams whose text is not in a message yet, of one owner or of all."""
        with self._reading() as connection:
            return finalize.unfinalized(connection, owner)

    # --- conversations

    def create(
        self, owner: str, conversation_id: str, *, title: str | None, model: str | None, system: str | None
    ) -> ConversationSummary:
        """Create an empty conversation, or return the one of this id.

        Raises ConversationLimitExceeded; UnknownConversation for a deleted one.
        """
        with self._writing() as connection:
            if queries.find(connection, owner, conversation_id) is None:
                now, given = self._clock(), {"title": title, "model": model, "system": system}
                lifecycle.create(connection, owner, conversation_id, self._limits, now, **given)
            return queries.get_summary(connection, queries.require(connection, owner, conversation_id).no)

    def list_page(self, owner: str, query: str = "", offset: int = 0, limit: int = 50) -> ConversationPage:
        """Return a part of the list, the last changed first; with a query, only what holds all its words."""
        with self._reading() as connection:
            return queries.list_page(connection, owner, query, offset, limit)

    def get(self, owner: str, conversation_id: str) -> Conversation:
        """Return a conversation with all its messages. Raises UnknownConversation."""
        with self._reading() as connection:
            return queries.get(connection, owner, conversation_id)

    def update(self, owner: str, conversation_id: str, wanted: ConversationUpdate) -> ConversationSummary:
        """Change a conversation. Raises UnknownConversation."""
        with self._writing() as connection:
            if wanted.restore:
                lifecycle.restore(connection, owner, conversation_id, self._clock() - self._limits.undo)
            return lifecycle.change(connection, owner, conversation_id, wanted)

    def soft_delete(self, owner: str, conversation_id: str) -> tuple[float, list[str]]:
        """Delete a conversation; return until when that can be undone, and the streams to be cancelled."""
        with self._writing() as connection:
            deleted, streams = lifecycle.soft_delete(connection, owner, conversation_id, self._clock())
            return deleted + self._limits.undo, streams

    def pending_deletion(self) -> list[str]:
        """Return the streams that must be deleted before `hard_delete` deletes their conversations.

        It waits for its turn among those who write: a deletion that is being undone is one, or none.
        """
        with self._writing() as connection:
            return lifecycle.pending_deletion(connection, self._clock() - self._limits.undo)

    def hard_delete(self, deleted_streams: Iterable[str] = ()) -> int:
        """Delete all that is left of some conversations whose deletion can no longer be undone; return how many.

        Those with a stream that is not among the ``deleted_streams`` stay, to name it the next time.
        """
        with self._writing() as connection:
            changelog.trim(connection)
            return lifecycle.hard_delete(connection, self._clock() - self._limits.undo, deleted_streams)

    # --- the changelog

    def changelog_range(self) -> tuple[int, int]:
        """Return the number before the oldest change that is kept, and the newest's."""
        with self._reading() as connection:
            return changelog.retained_range(connection)

    def changes_after(self, no: int, owner: str | None = None) -> list[Change]:
        """Return the changes after this number, of one owner or of all."""
        with self._reading() as connection:
            return changelog.changes_after(connection, no, owner)

    # --- the database

    def reclaim_space(self) -> bool:
        """Give some of the space that was freed back to the system; return whether there is more."""
        with self._writing() as connection:
            return self._database.reclaim_space(connection)

    def probe(self) -> None:
        """Commit something that changes nothing, to find out whether anything can be committed."""
        with self._writing() as connection:
            self._database.probe(connection)
