"""The list, the search, changes and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER, Clock, answer, ask, new_id
from tickertape.conversations.lifecycle import TEXT
from tickertape.conversations.models import ConversationUpdate, Outcome
from tickertape.errors import ConversationsUnavailable, UnknownConversation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.conversations.sql_store import SqlStore


def titles(store: SqlStore, words: str = "", **page: int) -> list[str]:
    return [conversation.title for conversation in store.list_page(OWNER, words, **page).conversations]


def test_the_last_changed_comes_first(store: SqlStore, clock: Clock) -> None:
    first = answer(store, ask("First"))
    clock.now += 1
    answer(store, ask("Second"))
    assert titles(store) == ["Second", "First"]
    clock.now += 1
    answer(store, ask("More", first.conversation))
    assert titles(store) == ["First", "Second"]
    assert titles(store, offset=1, limit=5) == ["Second"]
    assert store.list_page("ben").total == 0


def test_the_list_says_what_is_running(store: SqlStore) -> None:
    answer(store, ask("Done"))
    store.prepare_answer(OWNER, ask("Not yet"))
    assert {conversation.title: conversation.running for conversation in store.list_page(OWNER).conversations} == {
        "Done": False,
        "Not yet": True,
    }


@pytest.mark.parametrize("words", ["50%", "a_b", "/", "\\", "STRASSE", "straße", "\u00e9", "e\u0301", "ﬁn", "日本"])
def test_a_word_is_found_as_it_is_whatever_it_means_to_a_database(store: SqlStore, words: str) -> None:
    answer(store, ask("Nothing of it, not even 500 or axb"))
    answer(store, ask("Here"), "50% a_b / \\ straße \u00e9 fin 日本語")
    assert titles(store, words) == ["Here"]


def test_all_words_must_stand_and_the_place_found_is_shown(store: SqlStore) -> None:
    answer(store, ask("Cats"), "x " * 200 + "the whale of Gibraltar" + " y" * 200)
    answer(store, ask("Dogs"), "no whale")
    (found,) = store.list_page(OWNER, "gibraltar WHALE").conversations
    assert found.title == "Cats"
    assert found.snippet is not None
    assert "the whale of Gibraltar" in found.snippet
    assert len(found.snippet) < 150
    (said,) = [one for one in store.get(OWNER, found.id).messages if one.id == found.match]
    assert "whale" in said.content
    (found,) = store.list_page(OWNER, "dogs whale").conversations
    assert found.snippet == "no whale"
    assert store.list_page(OWNER, "whale nowhere").total == 0


def test_the_message_found_has_most_of_the_words_however_many_came_after_it(store: SqlStore) -> None:
    conversation = answer(store, ask("Cats"), "A whale of Gibraltar").conversation
    for _ in range(40):
        answer(store, ask("More", conversation), "Another whale")
    (found,) = store.list_page(OWNER, "whale gibraltar").conversations
    assert found.snippet == "A whale of Gibraltar"
    (found,) = store.list_page(OWNER, "whale").conversations
    assert found.snippet == "Another whale"


def test_a_deleted_conversation_can_be_taken_back_within_its_time_only(store: SqlStore, clock: Clock) -> None:
    prepared = answer(store, ask("Old"))
    until, streams = store.soft_delete(OWNER, prepared.conversation)
    assert (until, streams) == (clock.now + 3600, [])
    assert titles(store) == []
    clock.now += 3599
    assert store.soft_delete(OWNER, prepared.conversation)[0] == until, "deleting again gives it no more time"
    assert (store.pending_deletion(), store.hard_delete()) == ([], 0)
    assert store.update(OWNER, prepared.conversation, ConversationUpdate(restore=True)).title == "Old"
    assert store.update(OWNER, prepared.conversation, ConversationUpdate(restore=True)).title == "Old", (
        "taking back what is not deleted is no error"
    )
    store.soft_delete(OWNER, prepared.conversation)
    clock.now += 3600
    with pytest.raises(UnknownConversation):
        store.update(OWNER, prepared.conversation, ConversationUpdate(restore=True))


def test_the_streams_of_a_deleted_conversation_that_run_are_named(store: SqlStore) -> None:
    prepared = store.prepare_answer(OWNER, ask("Stop me"))
    assert store.soft_delete(OWNER, prepared.conversation)[1] == [prepared.stream]


def test_nothing_is_left_of_what_was_deleted_for_good(store: SqlStore, clock: Clock, tmp_path: Path) -> None:
    prepared = answer(store, ask("A secret of XYZZY"), "XYZZY indeed")
    kept = answer(store, ask("Keep me"))
    store.soft_delete(OWNER, prepared.conversation)
    clock.now += 3601
    assert store.hard_delete() == 0, "its stream is not forgotten yet"
    assert store.pending_deletion() == [prepared.stream]
    assert store.hard_delete([prepared.stream]) == 1
    assert (store.pending_deletion(), store.hard_delete()) == ([], 0)
    assert titles(store) == ["Keep me"]
    with pytest.raises(UnknownConversation):
        store.get(OWNER, prepared.conversation)
    assert store.get(OWNER, kept.conversation).messages[0].content == "Keep me"
    store.close()
    assert b"XYZZY" not in (tmp_path / "chats.db").read_bytes()


def test_a_transaction_deletes_no_more_text_for_good_than_others_can_wait_for(store: SqlStore, clock: Clock) -> None:
    answers = [answer(store, ask("x" * size), "y" * size) for size in (TEXT, TEXT, 10, 10)]
    for prepared in answers:
        store.soft_delete(OWNER, prepared.conversation)
    clock.now += 3601
    assert [store.hard_delete(prepared.stream for prepared in answers) for _ in range(4)] == [1, 1, 2, 0]


def test_what_is_deleted_for_good_stays_until_no_answer_of_it_runs(store: SqlStore, clock: Clock) -> None:
    prepared = store.prepare_answer(OWNER, ask("Stop me"))
    empty = store.create(OWNER, new_id(), title=None, model=None, system=None)
    for conversation in (prepared.conversation, empty.id):
        store.soft_delete(OWNER, conversation)
    clock.now += 3601
    assert store.pending_deletion() == []
    assert store.hard_delete([prepared.stream]) == 1, "the empty one"
    store.finalize_message(prepared.stream, Outcome(state="cancelled"))
    assert store.pending_deletion() == [prepared.stream]
    assert store.hard_delete([prepared.stream]) == 1


def test_what_is_being_restored_is_not_pending_deletion(
    make_store: Callable[..., SqlStore], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickertape.conversations.sqlite.TIMEOUT", 0.01)
    one, other = make_store(), make_store()
    prepared = answer(one, ask("Old"))
    one.soft_delete(OWNER, prepared.conversation)

    def late() -> float:
        """The time in one process; in the other it goes on before this one has committed."""
        begun = clock.now + 3599
        clock.now += 3600
        with pytest.raises(ConversationsUnavailable, match="locked"):
            other.pending_deletion()
        return begun

    monkeypatch.setattr(one, "_clock", late)
    assert one.update(OWNER, prepared.conversation, ConversationUpdate(restore=True)).title == "Old"
    assert other.pending_deletion() == []


def test_another_owner_can_do_nothing_with_a_conversation(store: SqlStore) -> None:
    conversation = answer(store, ask("Mine")).conversation
    for attempt in (
        lambda: store.get("ben", conversation),
        lambda: store.update("ben", conversation, ConversationUpdate(title="Yours")),
        lambda: store.update("ben", conversation, ConversationUpdate(restore=True)),
        lambda: store.soft_delete("ben", conversation),
    ):
        with pytest.raises(UnknownConversation):
            attempt()
    assert store.list_page("ben", "mine").total == 0
    assert titles(store) == ["Mine"]


def test_a_conversation_can_be_made_empty_and_made_again_it_is_the_same(store: SqlStore) -> None:
    conversation = new_id()
    made = store.create(OWNER, conversation, title=None, model="echo", system="Be kind")
    assert (made.title, made.model, made.system, made.current) == ("", "echo", "Be kind", None)
    assert store.create(OWNER, conversation, title="Other", model=None, system=None) == made
    answer(store, ask("Hello", conversation))
    assert titles(store) == ["Hello"]
