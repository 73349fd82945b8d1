"""The conversations' file, opened: every call is one transaction. Blocking, and safe to use from several threads."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, IntegrityError

from tickertape.chats import marks, rows, settling, shelf, turns
from tickertape.chats.place import Presence, engine, explain, probe, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tickertape.chats.values import (
        Change,
        Chat,
        ChatLimits,
        Conversation,
        Listed,
        Outcome,
        Question,
        Segment,
        Turn,
    )

    Clock = Callable[[], float]


class Store:
    """Conversations of all owners. Raises ChatsUnavailable when the file cannot be used.

    Times are in seconds since 1970, by ``clock``.
    """

    def __init__(
        self, path: Path, limits: ChatLimits, *, synchronous: str = "NORMAL", clock: Clock = time.time
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

    # --- turns

    def turn(self, owner: str, question: Question) -> Turn:
        """Add what is asked. Raises UnknownChat, ChatConflict, ChatLimit and KeyReused."""
        with self._writing() as connection:
            return turns.turn(connection, owner, question, self._limits, self._clock())

    def settle(self, stream: str, outcome: Outcome, ended: float | None = None) -> None:
        """Take over what came of a stream; once done, it does nothing."""
        with self._writing() as connection:
            settling.settle(connection, stream, outcome, ended)

    def unbegun(self, stream: str, outcome: Outcome) -> None:
        """Say that a stream never began."""
        with self._writing() as connection:
            settling.unbegun(connection, stream, outcome)

    def unsettled(self, owner: str | None = None) -> list[Segment]:
        """Return the streams whose text is yet to be taken over, of one owner or of all."""
        with self._reading() as connection:
            return settling.unsettled(connection, owner)

    # --- the shelf

    def create(self, owner: str, chat_id: str, *, title: str | None, model: str | None, system: str | None) -> Chat:
        """Make an empty conversation, or return the one of this id. Raises ChatLimit; UnknownChat for a deleted one."""
        with self._writing() as connection:
            now = self._clock()
            if not shelf.known(connection, owner, chat_id):
                rows.create(connection, owner, chat_id, self._limits, now, title=title, model=model, system=system)
            return shelf.item(connection, owner, chat_id)

    def listing(self, owner: str, words: str = "", offset: int = 0, limit: int = 50) -> Listed:
        """Return a part of the list, the last changed first."""
        with self._reading() as connection:
            return shelf.listing(connection, owner, words, offset, limit)

    def conversation(self, owner: str, chat_id: str) -> Conversation:
        """Return a conversation with all its messages. Raises UnknownChat."""
        with self._reading() as connection:
            return shelf.conversation(connection, owner, chat_id)

    def change(self, owner: str, chat_id: str, values: dict[str, Any], *, restore: bool = False) -> Chat:
        """Change title, model, system or current; ``restore`` takes a deletion back before. Raises UnknownChat."""
        with self._writing() as connection:
            if restore:
                shelf.restore(connection, owner, chat_id, self._clock() - self._limits.undo)
            return shelf.change(connection, owner, chat_id, values)

    def delete(self, owner: str, chat_id: str) -> tuple[float, list[str]]:
        """Delete a conversation; return until when it can be taken back, and the streams to be stopped."""
        with self._writing() as connection:
            deleted, streams = shelf.hide(connection, owner, chat_id, self._clock())
            return deleted + self._limits.undo, streams

    def doomed(self) -> list[str]:
        """Return the streams that must be forgotten before `purge` takes what was deleted for good.

        It takes its turn with those who write: a deletion that is being taken back is one, or none.
        """
        with self._writing() as connection:
            return shelf.doomed(connection, self._clock() - self._limits.undo)

    def purge(self, forgotten: Iterable[str] = ()) -> int:
        """Let nothing be left of what was deleted for good, a few at a time; return how many conversations that were.

        Those with a stream that is not among the ``forgotten`` stay, to name it the next time.
        """
        with self._writing() as connection:
            marks.forget(connection)
            return shelf.purge(connection, self._clock() - self._limits.undo, forgotten)

    def shrink(self) -> bool:
        """Give some of the space that was freed back to the file system; return whether there is more."""
        with self._writing() as connection:
            return shrink(connection)

    def probe(self) -> None:
        """Commit something that says nothing, to find out whether anything can be."""
        with self._writing() as connection:
            probe(connection)

    # --- changes

    def newest(self) -> tuple[int, int]:
        """Return the number before the oldest change that is kept, and the newest's."""
        with self._reading() as connection:
            return marks.newest(connection)

    def changes(self, after: int, owner: str | None = None) -> list[Change]:
        """Return the changes after this number."""
        with self._reading() as connection:
            return marks.since(connection, after, owner)
