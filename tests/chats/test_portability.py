"""What is asked of the database can be asked of another one too; only `place.py` knows that it is SQLite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import tickertape.chats
from chats.conftest import OWNER, Clock, answer, ask, go_on, new_id, vary
from tickertape.chats.tables import metadata
from tickertape.chats.values import Outcome

if TYPE_CHECKING:
    from tickertape.chats.store import Store

POSTGRES = postgresql.dialect()


def test_every_statement_can_be_said_in_postgresqls_dialect(store: Store, clock: Clock) -> None:
    asked: list[Any] = []
    event.listen(store._engine, "before_execute", lambda _connection, statement, *_rest: asked.append(statement))
    turn = answer(store, ask("Hello", key="k"))
    answer(store, vary(turn))
    failed = store.turn(OWNER, go_on(turn))
    store.unbegun(failed.stream, Outcome(state="failed"))
    store.unsettled(OWNER)
    store.create(OWNER, new_id(), title="A", model=None, system=None)
    store.listing(OWNER, "50% of", 1, 2)
    store.change(OWNER, turn.chat, {"title": "B", "current": turn.message})
    store.conversation(OWNER, turn.chat)
    store.delete(OWNER, turn.chat)
    store.change(OWNER, turn.chat, {}, restore=True)
    store.delete(OWNER, turn.chat)
    clock.now += 4000
    store.purge(store.doomed())
    store.newest()
    store.changes(0, OWNER)
    assert len(asked) > 50
    said = {str(statement.compile(dialect=POSTGRES)) for statement in asked}
    assert any(" LIKE " in statement for statement in said)


def test_every_table_can_be_made_in_postgresqls_dialect() -> None:
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=POSTGRES))
        for index in table.indexes:
            assert "INDEX" in str(CreateIndex(index).compile(dialect=POSTGRES))


def test_sqlite_is_named_in_one_place_only() -> None:
    folder = Path(tickertape.chats.__file__).parent
    for file in folder.glob("*.py"):
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text("utf-8"))
        named = set(re.findall(r"PRAGMA|BEGIN|sqlite\w*", code)) - {"sqlite_where", "sqlite_autoincrement"}
        assert file.name == "place.py" or not named, file.name
