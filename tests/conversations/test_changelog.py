"""The changes that are kept for those who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversations.conftest import OWNER, answer, ask
from tickertape.conversations import changelog
from tickertape.conversations.models import ConversationUpdate

if TYPE_CHECKING:
    import pytest

    from tickertape.conversations.sql_store import SqlStore


def test_every_change_is_noted_for_its_owner_in_order(store: SqlStore) -> None:
    assert store.changelog_range() == (0, 0)
    prepared = answer(store, ask("Hello"))
    answer(store, ask("Hello"), owner="ben")
    store.update(OWNER, prepared.conversation, ConversationUpdate(title="New"))
    mine = store.changes_after(0, OWNER)
    assert [change.kind for change in mine] == ["created", "message", "ended", "updated"]
    assert [change.message for change in mine] == [None, prepared.message, prepared.message, None]
    assert [change.no for change in store.changes_after(0)] == list(range(1, 8))
    assert store.changelog_range() == (0, 7)
    assert [change.no for change in store.changes_after(mine[2].no, OWNER)] == [mine[3].no]


def test_the_oldest_changes_are_dropped_and_numbers_never_come_again(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelog, "KEPT", 2)
    answer(store, ask("Hello"))
    store.hard_delete()
    assert store.changelog_range() == (1, 3)
    monkeypatch.setattr(changelog, "KEPT", 0)
    store.hard_delete()
    assert store.changelog_range() == (0, 0)
    answer(store, ask("Hello"))
    assert store.changelog_range() == (3, 6)
