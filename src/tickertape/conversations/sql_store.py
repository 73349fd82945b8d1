"""The conversations' file, opened: every call is one transaction. Blocking, and safe to use from several threads."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, IntegrityError

from tickertape.conversations import changelog, finalize, messages, queries, rows
from tickertape.conversations.sqlite import Presence, engine, explain, probe, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tickertape.conversations.models import (
        Change,
        Conversation,
        ConversationLimits,
        ConversationPage,
        ConversationSummary,
        MessageRequest,
        Outcome,
        PreparedAnswer,
        Segment,
    )

    Clock = Callable[[], float]


class SqlStore:
    """Conversations of all owners. Raises ConversationsUnavailable when the file cannot be used.

    Times are in seconds since 1970, by ``clock``.
    """

    def __init__(
        self, path: Path, limits: ConversationLimits, *, synchronous: str = "NORMAL", clock: Clock = time.time
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._engine = engine(path, synchronous)
        self._presence = Presence(path)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._explained(), self._engine.connect() as connection:
            yield connection.execution_options(reads=True)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._presence.check()
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # a mistake of ours, not the file's
        except DBAPIError as error:
            raise explain(error.orig, self._path) from error

    # --- answers

    def prepare_answer(self, owner: str, question: MessageRequest) -> PreparedAnswer:
        """Add the request's messages and the answer that is to come.

        Raises UnknownConversation, ConversationConflict, ConversationLimitExceeded and KeyReused.
        """
        with self._writing() as connection:
            return messages.prepare_answer(connection, owner, question, self._limits, self._clock())

    def finalize_message(self, stream: str, outcome: Outcome, ended: float | None = None) -> None:
        """Take over what came of a stream; once done, it does nothing."""
        with self._writing() as connection:
            finalize.finalize_message(connection, stream, outcome, ended)

    def mark_unstarted(self, stream: str, outcome: Outcome) -> None:
        """Say that a stream never began."""
        with self._writing() as connection:
            finalize.mark_unstarted(connection, stream, outcome)

    def unfinalized(self, owner: str | None = None) -> list[Segment]:
        """Return the streams whose text is yet to be taken over, of one owner or of all."""
        with self._reading() as connection:
            return finalize.unfinalized(connection, owner)

    # --- conversations

    def create(
        self, owner: str, chat_id: str, *, title: str | None, model: str | None, system: str | None
    ) -> ConversationSummary:
        """Make an empty conversation, or return the one of this id.

        Raises ConversationLimitExceeded; UnknownConversation for a deleted one.
        """
        with self._writing() as connection:
            now = self._clock()
            if not queries.known(connection, owner, chat_id):
                rows.create(connection, owner, chat_id, self._limits, now, title=title, model=model, system=system)
            return queries.item(connection, owner, chat_id)

    def list_page(self, owner: str, words: str = "", offset: int = 0, limit: int = 50) -> ConversationPage:
        """Return a part of the list, the last changed first."""
        with self._reading() as connection:
            return queries.list_page(connection, owner, words, offset, limit)

    def get(self, owner: str, chat_id: str) -> Conversation:
        """Return a conversation with all its messages. Raises UnknownConversation."""
        with self._reading() as connection:
            return queries.get(connection, owner, chat_id)

    def update(self, owner: str, chat_id: str, values: dict[str, Any], *, restore: bool = False) -> ConversationSummary:
        """Change title, model, system or current; ``restore`` undoes a deletion before. Raises UnknownConversation."""
        with self._writing() as connection:
            if restore:
                queries.restore(connection, owner, chat_id, self._clock() - self._limits.undo)
            return queries.update_conversation(connection, owner, chat_id, values)

    def soft_delete(self, owner: str, chat_id: str) -> tuple[float, list[str]]:
        """Delete a conversation; return until when it can be taken back, and the streams to be stopped."""
        with self._writing() as connection:
            deleted, streams = queries.soft_delete(connection, owner, chat_id, self._clock())
            return deleted + self._limits.undo, streams

    def pending_deletion(self) -> list[str]:
        """Return the streams that must be forgotten before `hard_delete` takes what was deleted for good.

        It takes its turn with those who write: a deletion that is being taken back is one, or none.
        """
        with self._writing() as connection:
            return queries.pending_deletion(connection, self._clock() - self._limits.undo)

    def hard_delete(self, forgotten: Iterable[str] = ()) -> int:
        """Let nothing be left of what was deleted for good, a few at a time; return how many conversations that were.

        Those with a stream that is not among the ``forgotten`` stay, to name it the next time.
        """
        with self._writing() as connection:
            changelog.trim(connection)
            return queries.hard_delete(connection, self._clock() - self._limits.undo, forgotten)

    def shrink(self) -> bool:
        """Give some of the space that was freed back to the file system; return whether there is more."""
        with self._writing() as connection:
            return shrink(connection)

    def probe(self) -> None:
        """Commit something that says nothing, to find out whether anything can be."""
        with self._writing() as connection:
            probe(connection)

    # --- changes

    def changelog_range(self) -> tuple[int, int]:
        """Return the number before the oldest change that is kept, and the newest's."""
        with self._reading() as connection:
            return changelog.retained(connection)

    def changes_after(self, after: int, owner: str | None = None) -> list[Change]:
        """Return the changes after this number."""
        with self._reading() as connection:
            return changelog.changes_after(connection, after, owner)
