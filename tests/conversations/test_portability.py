"""What is asked of the database can be asked of another one too; only `sqlite.py` knows that it is SQLite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateIndex, CreateTable

import tickertape.conversations
from conversations.conftest import OWNER, Clock, answer, ask, go_on, new_id, vary
from tickertape.conversations.models import ConversationLimits, ConversationUpdate, Outcome
from tickertape.conversations.schema import metadata
from tickertape.conversations.sql_store import SqlStore
from tickertape.errors import ConversationsUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

POSTGRES = postgresql.dialect()


def test_every_statement_can_be_said_in_postgresqls_dialect(store: SqlStore, clock: Clock) -> None:
    asked: list[Any] = []
    event.listen(
        store._database.engine, "before_execute", lambda _connection, statement, *_rest: asked.append(statement)
    )
    prepared = answer(store, ask("Hello", key="k"))
    answer(store, vary(prepared))
    failed = store.prepare_answer(OWNER, go_on(prepared))
    store.mark_unstarted(failed.stream, Outcome(state="failed"))
    store.unfinalized(OWNER)
    store.create(OWNER, new_id(), title="A", model=None, system=None)
    store.list_page(OWNER, "50% of", 1, 2)
    store.update(OWNER, prepared.conversation, ConversationUpdate(title="B", current=prepared.message))
    store.get(OWNER, prepared.conversation)
    store.soft_delete(OWNER, prepared.conversation)
    store.update(OWNER, prepared.conversation, ConversationUpdate(restore=True))
    store.soft_delete(OWNER, prepared.conversation)
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


class OtherDatabase:
    """A database that is not the file: all that `SqlStore` may ask of one, written down a second time."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        metadata.create_all(self.engine)
        self.present = True
        self.probed = 0

    def check_present(self) -> None:
        if not self.present:
            raise ConversationsUnavailable("The database is gone.")

    def explain(self, error: BaseException | None) -> ConversationsUnavailable:
        return ConversationsUnavailable(f"The other database says: {error}.")

    def reclaim_space(self, _connection: Connection) -> bool:
        return False

    def probe(self, _connection: Connection) -> None:
        self.probed += 1


def test_a_second_database_needs_what_the_contract_names_and_nothing_else(clock: Clock) -> None:
    database = OtherDatabase()
    store = SqlStore(database, ConversationLimits(), clock)
    first = answer(store, ask("Hello"))
    second = answer(store, ask("And now?", first.conversation))
    assert [message["content"] for message in second.prompt] == ["Hello", "An answer", "And now?"]
    assert store.list_page(OWNER, "hello").total == 1
    store.probe()
    assert (database.probed, store.reclaim_space()) == (1, False)
    database.present = False
    with pytest.raises(ConversationsUnavailable, match="is gone"):
        store.probe()
    database.present = True
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
    with pytest.raises(ConversationsUnavailable, match="The other database says: no such table"):
        store.list_page(OWNER)
    store.close()
