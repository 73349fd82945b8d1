"""The changes that are kept for those who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chats.conftest import OWNER, answer, ask
from tickertape.chats import marks

if TYPE_CHECKING:
    import pytest

    from tickertape.chats.store import Store


def test_every_change_is_noted_for_its_owner_in_order(store: Store) -> None:
    assert store.newest() == (0, 0)
    turn = answer(store, ask("Hello"))
    answer(store, ask("Hello"), owner="ben")
    store.change(OWNER, turn.chat, {"title": "New"})
    mine = store.changes(0, OWNER)
    assert [change.what for change in mine] == ["created", "message", "ended", "updated"]
    assert [change.message for change in mine] == [None, turn.message, turn.message, None]
    assert [change.no for change in store.changes(0)] == list(range(1, 8))
    assert store.newest() == (0, 7)
    assert [change.no for change in store.changes(mine[2].no, OWNER)] == [mine[3].no]


def test_the_oldest_changes_are_dropped_and_numbers_never_come_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "KEPT", 2)
    answer(store, ask("Hello"))
    store.purge()
    assert store.newest() == (1, 3)
    monkeypatch.setattr(marks, "KEPT", 0)
    store.purge()
    assert store.newest() == (0, 0)
    answer(store, ask("Hello"))
    assert store.newest() == (3, 6)
