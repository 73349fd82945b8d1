"""The list, the search, changes and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chats.conftest import OWNER, Clock, answer, ask, new_id
from tickertape.chats.values import Outcome
from tickertape.errors import ChatsUnavailable, UnknownChat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.chats.store import Store


def titles(store: Store, words: str = "", **page: int) -> list[str]:
    return [chat.title for chat in store.listing(OWNER, words, **page).chats]


def test_the_last_changed_comes_first(store: Store, clock: Clock) -> None:
    first = answer(store, ask("First"))
    clock.now += 1
    answer(store, ask("Second"))
    assert titles(store) == ["Second", "First"]
    clock.now += 1
    answer(store, ask("More", first.chat))
    assert titles(store) == ["First", "Second"]
    assert titles(store, offset=1, limit=5) == ["Second"]
    assert store.listing("ben").total == 0


def test_the_list_says_what_is_running(store: Store) -> None:
    answer(store, ask("Done"))
    store.turn(OWNER, ask("Not yet"))
    assert {chat.title: chat.running for chat in store.listing(OWNER).chats} == {"Done": False, "Not yet": True}


@pytest.mark.parametrize("words", ["50%", "a_b", "/", "\\", "STRASSE", "straße", "\u00e9", "e\u0301", "ﬁn", "日本"])
def test_a_word_is_found_as_it_is_whatever_it_means_to_a_database(store: Store, words: str) -> None:
    answer(store, ask("Nothing of it, not even 500 or axb"))
    answer(store, ask("Here"), "50% a_b / \\ straße \u00e9 fin 日本語")
    assert titles(store, words) == ["Here"]


def test_all_words_must_stand_and_the_place_found_is_shown(store: Store) -> None:
    answer(store, ask("Cats"), "x " * 200 + "the whale of Gibraltar" + " y" * 200)
    answer(store, ask("Dogs"), "no whale")
    (found,) = store.listing(OWNER, "gibraltar WHALE").chats
    assert found.title == "Cats"
    assert found.snippet is not None
    assert "the whale of Gibraltar" in found.snippet
    assert len(found.snippet) < 150
    (said,) = [one for one in store.conversation(OWNER, found.id).messages if one.id == found.found]
    assert "whale" in said.content
    (found,) = store.listing(OWNER, "dogs whale").chats
    assert found.snippet == "no whale"
    assert store.listing(OWNER, "whale nowhere").total == 0


def test_the_message_found_has_most_of_the_words_however_many_came_after_it(store: Store) -> None:
    chat = answer(store, ask("Cats"), "A whale of Gibraltar").chat
    for _ in range(40):
        answer(store, ask("More", chat), "Another whale")
    (found,) = store.listing(OWNER, "whale gibraltar").chats
    assert found.snippet == "A whale of Gibraltar"
    (found,) = store.listing(OWNER, "whale").chats
    assert found.snippet == "Another whale"


def test_a_deleted_conversation_can_be_taken_back_within_its_time_only(store: Store, clock: Clock) -> None:
    turn = answer(store, ask("Old"))
    until, streams = store.delete(OWNER, turn.chat)
    assert (until, streams) == (clock.now + 3600, [])
    assert titles(store) == []
    clock.now += 3599
    assert store.delete(OWNER, turn.chat)[0] == until, "deleting again gives it no more time"
    assert (store.doomed(), store.purge()) == ([], 0)
    assert store.change(OWNER, turn.chat, {}, restore=True).title == "Old"
    assert store.change(OWNER, turn.chat, {}, restore=True).title == "Old", (
        "taking back what is not deleted is no error"
    )
    store.delete(OWNER, turn.chat)
    clock.now += 3600
    with pytest.raises(UnknownChat):
        store.change(OWNER, turn.chat, {}, restore=True)


def test_the_streams_of_a_deleted_conversation_that_run_are_named(store: Store) -> None:
    turn = store.turn(OWNER, ask("Stop me"))
    assert store.delete(OWNER, turn.chat)[1] == [turn.stream]


def test_nothing_is_left_of_what_was_deleted_for_good(store: Store, clock: Clock, tmp_path: Path) -> None:
    turn = answer(store, ask("A secret of XYZZY"), "XYZZY indeed")
    kept = answer(store, ask("Keep me"))
    store.delete(OWNER, turn.chat)
    clock.now += 3601
    assert store.purge() == 0, "its stream is not forgotten yet"
    assert store.doomed() == [turn.stream]
    assert store.purge([turn.stream]) == 1
    assert (store.doomed(), store.purge()) == ([], 0)
    assert titles(store) == ["Keep me"]
    with pytest.raises(UnknownChat):
        store.conversation(OWNER, turn.chat)
    assert store.conversation(OWNER, kept.chat).messages[0].content == "Keep me"
    store.close()
    assert b"XYZZY" not in (tmp_path / "chats.db").read_bytes()


def test_what_is_deleted_for_good_stays_until_no_answer_of_it_runs(store: Store, clock: Clock) -> None:
    turn = store.turn(OWNER, ask("Stop me"))
    empty = store.create(OWNER, new_id(), title=None, model=None, system=None)
    for chat in (turn.chat, empty.id):
        store.delete(OWNER, chat)
    clock.now += 3601
    assert store.doomed() == []
    assert store.purge([turn.stream]) == 1, "the empty one"
    store.settle(turn.stream, Outcome(state="cancelled"))
    assert store.doomed() == [turn.stream]
    assert store.purge([turn.stream]) == 1


def test_what_is_being_taken_back_is_not_doomed(
    make_store: Callable[..., Store], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickertape.chats.place.TIMEOUT", 0.01)
    one, other = make_store(), make_store()
    turn = answer(one, ask("Old"))
    one.delete(OWNER, turn.chat)

    def late() -> float:
        """The time in one process; in the other it goes on before this one has committed."""
        begun = clock.now + 3599
        clock.now += 3600
        with pytest.raises(ChatsUnavailable, match="locked"):
            other.doomed()
        return begun

    monkeypatch.setattr(one, "_clock", late)
    assert one.change(OWNER, turn.chat, {}, restore=True).title == "Old"
    assert other.doomed() == []


def test_another_owner_can_do_nothing_with_a_conversation(store: Store) -> None:
    chat = answer(store, ask("Mine")).chat
    for attempt in (
        lambda: store.conversation("ben", chat),
        lambda: store.change("ben", chat, {"title": "Yours"}),
        lambda: store.change("ben", chat, {}, restore=True),
        lambda: store.delete("ben", chat),
    ):
        with pytest.raises(UnknownChat):
            attempt()
    assert store.listing("ben", "mine").total == 0
    assert titles(store) == ["Mine"]


def test_a_conversation_can_be_made_empty_and_made_again_it_is_the_same(store: Store) -> None:
    chat = new_id()
    made = store.create(OWNER, chat, title=None, model="echo", system="Be kind")
    assert (made.title, made.model, made.system, made.current) == ("", "echo", "Be kind", None)
    assert store.create(OWNER, chat, title="Other", model=None, system=None) == made
    answer(store, ask("Hello", chat))
    assert titles(store) == ["Hello"]
