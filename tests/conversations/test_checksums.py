"""Messages that the disk has changed: told in words, never shown, and no model is told of them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from conversations.conftest import OWNER, answer, ask, new_id
from tickertape.conversations import sqlite
from tickertape.conversations.checksums import seal
from tickertape.conversations.models import ConversationLimits, Outcome
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import ConversationConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.conversations.models import Message, MessageRequest, PreparedAnswer
    from tickertape.conversations.sql_store import SqlStore

FORMATS = Path(__file__).parent / "formats"
CALLS: list[dict[str, Any]] = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}}]


def damage(folder: Path, changed: str) -> None:
    """Change an answer behind the store's back, as a bit that flips does."""
    with closing(sqlite3.connect(folder / "chats.db")) as connection, connection:
        connection.execute(f"UPDATE message SET {changed} WHERE role = 'assistant'")


def answered(store: SqlStore) -> PreparedAnswer:
    prepared = store.prepare_answer(OWNER, ask("What is black and white?"))
    outcome = Outcome(state="completed", text="A penguin.", reasoning="Birds.", tool_calls=CALLS, finish_reason="stop")
    store.finalize_message(prepared.stream, outcome)
    return prepared


def last(store: SqlStore, prepared: PreparedAnswer) -> Message:
    return store.get(OWNER, prepared.conversation).messages[-1]


def gone_on(prepared: PreparedAnswer) -> MessageRequest:
    """Return the request to go on from an answer."""
    return msgspec.structs.replace(
        ask(""),
        action="continue",
        conversation=prepared.conversation,
        parent=prepared.message,
        message=prepared.message,
        stream=new_id(),
    )


def test_what_is_whole_is_shown_as_it_was_written(store: SqlStore) -> None:
    found = last(store, answered(store))
    assert (found.state, found.content, found.reasoning, found.tool_calls) == (
        "completed",
        "A penguin.",
        "Birds.",
        CALLS,
    )


@pytest.mark.parametrize(
    "changed",
    [
        "content = 'A pinguin.'",
        "content = CAST(x'41ff' AS TEXT)",
        "content = x'41'",
        "reasoning = 'Fish.'",
        "tool_calls = replace(tool_calls, 'f', 'g')",
        "tool_calls = '{'",
        "crc = crc + 1",
    ],
)
def test_a_damaged_answer_is_said_to_be_and_neither_shown_nor_told_to_a_model(
    store: SqlStore, tmp_path: Path, changed: str
) -> None:
    prepared = answered(store)
    damage(tmp_path, changed)
    found = last(store, prepared)
    assert (found.state, found.content, found.reasoning, found.tool_calls) == ("lost", "", "", None)
    assert found.error is not None
    assert found.error["code"] == "message_damaged"
    assert store.list_page(OWNER, "penguin").conversations[0].snippet is None
    next_one = msgspec.structs.replace(ask("And red?"), conversation=prepared.conversation)
    with pytest.raises(ConversationConflict, match="is damaged on the server's disk") as refused:
        store.prepare_answer(OWNER, next_one)
    assert refused.value.code == "message_damaged"
    with pytest.raises(ConversationConflict):
        store.prepare_answer(OWNER, gone_on(prepared))
    assert len(store.get(OWNER, prepared.conversation).messages) == 2, "nothing was changed"
    again = msgspec.structs.replace(ask("Otherwise?"), conversation=prepared.conversation, parent=None)
    assert len(store.prepare_answer(OWNER, again).prompt) == 1, "another branch is as good as ever"


def test_what_is_added_to_a_damaged_answer_does_not_make_it_whole(store: SqlStore, tmp_path: Path) -> None:
    prepared = answered(store)
    more = store.prepare_answer(OWNER, gone_on(prepared))
    damage(tmp_path, "content = 'A pinguin.'")
    store.finalize_message(more.stream, Outcome(state="completed", text=" It swims."))
    assert last(store, prepared).state == "lost"


def test_a_file_of_the_version_before_is_opened_with_all_that_is_in_it(tmp_path: Path) -> None:
    file = Path(shutil.copyfile(FORMATS / "1.db", tmp_path / "chats.db"))
    sqlite.check(file)
    for _ in range(2):
        store = SqliteDatabase(file).open(ConversationLimits())
        (conversation,) = store.list_page("ann").conversations
        found = store.get("ann", conversation.id).messages
        assert [message.content for message in found] == ["What is old?", "What was written before."]
        assert [message.error for message in found] == [None, None]
        store.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (sqlite.VERSION,)


def test_a_migrated_file_has_the_tables_of_a_new_one(tmp_path: Path, make_store: Callable[..., SqlStore]) -> None:
    make_store()
    shutil.copyfile(FORMATS / "1.db", tmp_path / "old.db")
    SqliteDatabase(tmp_path / "old.db").open(ConversationLimits()).close()
    columns = []
    for name in ("chats.db", "old.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
            columns.append(
                [
                    (table, column[1], column[2], column[3], str(column[4]).strip("'"))
                    for (table,) in tables
                    for column in connection.execute(f"PRAGMA table_info({table})")
                ]
            )
    assert columns[0] == columns[1]


def test_what_a_process_of_the_version_before_ends_is_read_as_before(store: SqlStore, tmp_path: Path) -> None:
    """During a takeover it adds the text of its answers to messages that may be a new process's."""
    prepared = answered(store)
    damage(tmp_path, f"crc = {seal(prepared.message, prepared.parent, 'assistant')}")
    assert last(store, prepared).content == "A penguin."


def test_a_long_conversation_is_checked_as_a_short_one(store: SqlStore) -> None:
    prepared = answer(store, ask("Hello"))
    for _ in range(5):
        prepared = answer(store, msgspec.structs.replace(ask("And?"), conversation=prepared.conversation))
    assert len(prepared.prompt) == 11
