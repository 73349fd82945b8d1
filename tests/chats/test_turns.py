"""One turn of a conversation: where it goes, what the model is told, and what a repeated request finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chats.conftest import OWNER, Clock, answer, ask, go_on, messages, new_id, vary
from tickertape.chats.values import Link, NewMessage, Outcome
from tickertape.errors import ChatConflict, ChatError, ChatLimit, KeyReused, UnknownChat

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.chats.store import Store


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_question_is_there_with_the_place_for_its_answer_before_anything_is_answered(store: Store) -> None:
    question = ask("Hello", model="echo")
    turn = store.turn(OWNER, question)
    assert (turn.fresh, turn.stream, turn.history) == (True, question.stream, [user("Hello")])
    asked, answered = store.conversation(OWNER, turn.chat).messages
    assert (asked.role, asked.content, asked.parent, asked.state) == ("user", "Hello", None, "completed")
    assert (answered.id, answered.parent, answered.state) == (turn.message, asked.id, "running")
    assert (answered.streams, answered.model) == ([turn.stream], "echo")
    assert turn.place == {
        "conversation_id": turn.chat,
        "message_id": turn.message,
        "parent_message_id": asked.id,
    }


def test_the_model_is_told_the_branch_and_nothing_else(store: Store) -> None:
    first = answer(store, ask("One"), "1")
    store.change(OWNER, first.chat, {"system": "Be brief"})
    second = answer(store, ask("Two", first.chat), "2")
    assert second.history == [{"role": "system", "content": "Be brief"}, user("One"), assistant("1"), user("Two")]
    edited = answer(store, ask("Two, but better", first.chat, parent=first.message), "2!")
    assert edited.history[1:] == [user("One"), assistant("1"), user("Two, but better")]
    again = answer(store, vary(second), "2?")
    assert again.history == second.history
    root = answer(store, ask("Afresh", first.chat, parent=None))
    assert root.history[1:] == [user("Afresh")]
    assert store.conversation(OWNER, first.chat).chat.current == root.message


def test_an_answer_without_text_is_not_told_to_the_model(store: Store) -> None:
    first = answer(store, ask("One"), "", state="failed", finish_reason=None)
    second = store.turn(OWNER, ask("Two", first.chat))
    assert second.history == [user("One"), user("Two")]


def test_several_messages_of_the_user_go_under_one_another(store: Store) -> None:
    new = [NewMessage(new_id(), "One"), NewMessage(new_id(), "Two")]
    turn = store.turn(OWNER, ask("", messages=new))
    assert turn.history == [user("One"), user("Two")]
    assert turn.parent == new[1].id
    assert messages(store, turn)[new[1].id]["parent"] == new[0].id


def test_a_partial_answer_is_gone_on_from_within_its_message(store: Store) -> None:
    first = answer(store, ask("Count"), "one two", state="cancelled", finish_reason=None)
    more = store.turn(OWNER, go_on(first))
    assert (more.message, more.parent, more.continues) == (first.message, first.parent, first.stream)
    assert more.history == [user("Count"), assistant("one two")]
    running = messages(store, first)[first.message]
    assert (running["state"], running["content"], running["streams"]) == (
        "running",
        "one two",
        [first.stream, more.stream],
    )
    store.settle(more.stream, Outcome(state="completed", text=" three", finish_reason="stop"))
    whole = messages(store, first)[first.message]
    assert (whole["state"], whole["content"]) == ("completed", "one two three")
    third = store.turn(OWNER, go_on(first))
    assert third.continues == more.stream
    assert third.history[-1] == assistant("one two three")


@pytest.mark.parametrize("key", ["a key", None])
def test_a_repeated_request_finds_its_answer_and_adds_nothing(store: Store, key: str | None) -> None:
    question = ask("Once", key=key, digest=b"d")
    first = store.turn(OWNER, question)
    repeated = ask("", first.chat, messages=question.messages, message=question.message, key=key, digest=b"d")
    again = store.turn(OWNER, repeated)
    assert (again.fresh, again.link, again.stream, again.place) == (False, Link.OPEN, first.stream, first.place)
    assert again.history == first.history
    store.settle(first.stream, Outcome(state="completed", text="Done"))
    assert store.turn(OWNER, repeated).link is Link.SETTLED
    assert len(messages(store, first)) == 2


def test_a_key_that_came_with_another_request_is_refused_and_another_owner_has_keys_of_their_own(store: Store) -> None:
    first = store.turn(OWNER, ask("Once", key="k", digest=b"one"))
    with pytest.raises(KeyReused, match="'k' was used before"):
        store.turn(OWNER, ask("Twice", key="k", digest=b"two"))
    assert store.turn("ben", ask("Mine", key="k", digest=b"two")).chat != first.chat
    assert store.listing(OWNER).total == 1


def test_a_retry_begins_an_answer_that_never_began(store: Store) -> None:
    question = ask("Once", key="k", digest=b"d")
    turn = store.turn(OWNER, question)
    store.unbegun(turn.stream, Outcome(state="failed", error={"message": "Busy."}))
    failed = messages(store, turn)[turn.message]
    assert (failed["state"], failed["error"], failed["streams"]) == ("failed", {"message": "Busy."}, [])
    again = store.turn(OWNER, question)
    assert (again.fresh, again.stream) == (True, turn.stream)
    running = messages(store, turn)[turn.message]
    assert (running["state"], running["error"], running["streams"]) == ("running", None, [turn.stream])


def test_going_on_that_never_began_leaves_the_answer_as_it_was(store: Store) -> None:
    first = answer(store, ask("Count"), "one", state="incomplete", finish_reason=None, error={"message": "Cut."})
    before = messages(store, first)
    more = store.turn(OWNER, go_on(first))
    store.unbegun(more.stream, Outcome(state="failed", error={"message": "Busy."}))
    assert messages(store, first) == before


def test_what_cannot_be_done_is_told_and_changes_nothing(store: Store) -> None:
    done = answer(store, ask("One"))
    empty = answer(store, ask("Two", done.chat), "", state="failed", finish_reason=None)
    running = store.turn(OWNER, ask("Three", done.chat))
    before = store.conversation(OWNER, done.chat)
    cases: list[tuple[Any, type[ChatError], str]] = [
        (ask("x", done.chat, parent=new_id()), UnknownChat, "no message"),
        (ask("x", done.chat, parent=running.message), ChatConflict, "still being written"),
        (ask("x", done.chat), ChatConflict, "still being written"),
        (vary(done, parent=done.message), ChatConflict, "message of the user"),
        (vary(done, parent=new_id()), UnknownChat, "no message"),
        (go_on(running), ChatConflict, "still being written"),
        (go_on(empty), ChatConflict, "with some text"),
        (go_on(done, parent=done.parent), ChatConflict, "with some text"),
        (ask("x", done.chat, messages=[NewMessage(done.parent, "changed")], parent=None), ChatConflict, "another mess"),
        (ask("x", done.chat, message=done.parent), ChatConflict, "already"),
        (vary(done, message=empty.message), ChatConflict, "already"),
        (ask("x", new_id(), parent=done.message), UnknownChat, "no conversation"),
    ]
    for question, error, says in cases:
        with pytest.raises(error, match=says):
            store.turn(OWNER, question)
    assert store.conversation(OWNER, done.chat) == before
    assert store.listing(OWNER).total == 1


def test_conversations_and_messages_are_limited_with_a_sentence(make_store: Callable[..., Store]) -> None:
    store = make_store(messages=4, conversations=2)
    first = answer(store, ask("One"))
    answer(store, ask("Two", first.chat))
    with pytest.raises(ChatLimit, match="holds 4 messages, of 4 allowed"):
        store.turn(OWNER, vary(first))
    store.turn(OWNER, ask("Another"))
    with pytest.raises(ChatLimit, match="You have 2 conversations, of 2 allowed"):
        store.turn(OWNER, ask("Too many"))
    store.turn("ben", ask("Not mine"))


def test_another_owners_conversation_is_as_unknown_as_none_and_its_id_is_free(store: Store) -> None:
    turn = answer(store, ask("Secret"))
    for question in (vary(turn), go_on(turn), ask("x", turn.chat, parent=turn.message)):
        with pytest.raises(UnknownChat):
            store.turn("ben", question)
    theirs = store.turn("ben", ask("Mine", turn.chat))
    assert theirs.history == [user("Mine")]
    assert store.conversation(OWNER, turn.chat).chat.title == "Secret"


def test_two_processes_ask_in_one_conversation(make_store: Callable[..., Store], clock: Clock) -> None:
    one, two = make_store(), make_store()
    first = answer(one, ask("One"))
    clock.now += 1
    second = answer(two, ask("Two", first.chat))
    assert one.conversation(OWNER, first.chat).chat.current == second.message
    assert one.listing(OWNER).chats[0].updated == clock.now
