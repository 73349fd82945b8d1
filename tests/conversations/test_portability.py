"""What is asked of the database can be asked of another one too; only `sqlite.py` knows that it is SQLite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import tickertape.conversations
from conversations.conftest import OWNER, Clock, answer, ask, go_on, new_id, vary
from tickertape.conversations.models import Outcome
from tickertape.conversations.schema import metadata

if TYPE_CHECKING:
    from tickertape.conversations.sql_store import SqlStore

POSTGRES = postgresql.dialect()


def test_every_statement_can_be_said_in_postgresqls_dialect(store: SqlStore, clock: Clock) -> None:
    asked: list[Any] = []
    event.listen(store._engine, "before_execute", lambda _connection, statement, *_rest: asked.append(statement))
    turn = answer(store, ask("Hello", key="k"))
    answer(store, vary(turn))
    failed = store.prepare_answer(OWNER, go_on(turn))
    store.mark_unstarted(failed.stream, Outcome(state="failed"))
    store.unfinalized(OWNER)
    store.create(OWNER, new_id(), title="A", model=None, system=None)
    store.list_page(OWNER, "50% of", 1, 2)
    store.update(OWNER, turn.chat, {"title": "B", "current": turn.message})
    store.get(OWNER, turn.chat)
    store.soft_delete(OWNER, turn.chat)
    store.update(OWNER, turn.chat, {}, restore=True)
    store.soft_delete(OWNER, turn.chat)
    clock.now += 4000
    store.hard_delete(store.pending_deletion())
    store.changelog_range()
    store.changes_after(0, OWNER)
    assert len(asked) > 50
    said = {str(statement.compile(dialect=POSTGRES)) for statement in asked}
    assert any(" LIKE " in statement for statement in said)


def test_every_table_can_be_made_in_postgresqls_dialect() -> None:
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=POSTGRES))
        for index in table.indexes:
            assert "INDEX" in str(CreateIndex(index).compile(dialect=POSTGRES))


def test_sqlite_is_named_in_one_place_only() -> None:
    folder = Path(tickertape.conversations.__file__).parent
    for file in folder.glob("*.py"):
        code = re.sub(r'"""[\s\S]*?"""|#.*|from .* import .*', "", file.read_text("utf-8"))
        named = set(re.findall(r"PRAGMA|BEGIN|sqlite\w*", code)) - {"sqlite_where", "sqlite_autoincrement"}
        assert file.name == "sqlite.py" or not named, file.name
