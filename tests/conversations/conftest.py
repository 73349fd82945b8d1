"""A store on a file of the test's own, with a clock that stands still until it is moved."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tickertape.conversations.models import ConversationLimits, MessageRequest, NewMessage, Outcome, PreparedAnswer
from tickertape.conversations.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tickertape.conversations.sql_store import SqlStore

OWNER = "ann"
_numbers = count(1)


def new_id() -> str:
    """Return an id that was not there before."""
    return f"{next(_numbers):032x}"


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., SqlStore]]:
    """Open the test's file, as often as wanted: each is what another process would have."""
    made: list[SqlStore] = []

    def make(**limits: Any) -> SqlStore:
        made.append(SqliteDatabase(tmp_path / "chats.db").open(ConversationLimits(**limits), clock=clock))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., SqlStore]) -> SqlStore:
    return make_store()


def ask(text: str, conversation: str | None = None, **fields: Any) -> MessageRequest:
    """Return a question that goes on where the conversation stands, or begins one."""
    messages = fields.pop("messages", [NewMessage(text, new_id())])
    fields = {
        "action": "next",
        "conversation": conversation or new_id(),
        "message": new_id(),
        "stream": new_id(),
    } | fields
    return MessageRequest(messages=messages, **fields)


def vary(prepared: PreparedAnswer, **fields: Any) -> MessageRequest:
    """Return the request for another answer to the same question."""
    fields = {"action": "variant", "parent": prepared.parent, "message": new_id(), "stream": new_id()} | fields
    return MessageRequest(conversation=prepared.conversation, **fields)


def go_on(prepared: PreparedAnswer, **fields: Any) -> MessageRequest:
    """Return the request to go on from an answer."""
    fields = {"action": "continue", "parent": prepared.message, "message": new_id(), "stream": new_id()} | fields
    return MessageRequest(conversation=prepared.conversation, **fields)


def answer(
    store: SqlStore, question: MessageRequest, text: str = "An answer", owner: str = OWNER, **outcome: Any
) -> PreparedAnswer:
    """Ask and have it answered."""
    prepared = store.prepare_answer(owner, question)
    fields = {"state": "completed", "finish_reason": "stop", "text": text} | outcome
    store.finalize_message(prepared.stream, Outcome(**fields))
    return prepared


def messages(store: SqlStore, prepared: PreparedAnswer) -> dict[str, Any]:
    """Return the conversation's messages by their ids, as plain values."""
    return {message.id: msgspec.to_builtins(message) for message in store.get(OWNER, prepared.conversation).messages}
