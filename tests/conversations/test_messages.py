"""One turn of a conversation: where it goes, what the model is told, and what a repeated request finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conversations.conftest import OWNER, Clock, answer, ask, go_on, messages, new_id, vary
from tickertape.conversations.models import ConversationUpdate, NewMessage, Outcome, SegmentState
from tickertape.errors import (
    ConversationConflict,
    ConversationError,
    ConversationLimitExceeded,
    KeyReused,
    UnknownConversation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.conversations.sql_store import SqlStore


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_question_is_there_with_the_place_for_its_answer_before_anything_is_answered(store: SqlStore) -> None:
    question = ask("Hello", model="echo")
    prepared = store.prepare_answer(OWNER, question)
    assert (prepared.fresh, prepared.stream, prepared.prompt) == (True, question.stream, [user("Hello")])
    asked, answered = store.get(OWNER, prepared.conversation).messages
    assert (asked.role, asked.content, asked.parent, asked.state) == ("user", "Hello", None, "completed")
    assert (answered.id, answered.parent, answered.state) == (prepared.message, asked.id, "running")
    assert (answered.streams, answered.model) == ([prepared.stream], "echo")
    assert prepared.ids == {
        "conversation_id": prepared.conversation,
        "message_id": prepared.message,
        "parent_message_id": asked.id,
    }


def test_the_model_is_told_the_branch_and_nothing_else(store: SqlStore) -> None:
    first = answer(store, ask("One"), "1")
    store.update(OWNER, first.conversation, ConversationUpdate(system="Be brief"))
    second = answer(store, ask("Two", first.conversation), "2")
    assert second.prompt == [{"role": "system", "content": "Be brief"}, user("One"), assistant("1"), user("Two")]
    edited = answer(store, ask("Two, but better", first.conversation, parent=first.message), "2!")
    assert edited.prompt[1:] == [user("One"), assistant("1"), user("Two, but better")]
    again = answer(store, vary(second), "2?")
    assert again.prompt == second.prompt
    root = answer(store, ask("Afresh", first.conversation, parent=None))
    assert root.prompt[1:] == [user("Afresh")]
    assert store.get(OWNER, first.conversation).summary.current == root.message


def test_an_answer_without_text_is_not_told_to_the_model(store: SqlStore) -> None:
    first = answer(store, ask("One"), "", state="failed", finish_reason=None)
    second = store.prepare_answer(OWNER, ask("Two", first.conversation))
    assert second.prompt == [user("One"), user("Two")]


def test_several_messages_of_the_user_go_under_one_another(store: SqlStore) -> None:
    new = [NewMessage("One", new_id()), NewMessage("Two", new_id())]
    prepared = store.prepare_answer(OWNER, ask("", messages=new))
    assert prepared.prompt == [user("One"), user("Two")]
    assert prepared.parent == new[1].id
    assert messages(store, prepared)[new[1].id]["parent"] == new[0].id


def test_a_partial_answer_is_gone_on_from_within_its_message(store: SqlStore) -> None:
    first = answer(store, ask("Count"), "one two", state="cancelled", finish_reason=None)
    more = store.prepare_answer(OWNER, go_on(first))
    assert (more.message, more.parent, more.continues) == (first.message, first.parent, first.stream)
    assert more.prompt == [user("Count"), assistant("one two")]
    running = messages(store, first)[first.message]
    assert (running["state"], running["content"], running["streams"]) == (
        "running",
        "one two",
        [first.stream, more.stream],
    )
    store.finalize_message(more.stream, Outcome(state="completed", text=" three", finish_reason="stop"))
    whole = messages(store, first)[first.message]
    assert (whole["state"], whole["content"]) == ("completed", "one two three")
    third = store.prepare_answer(OWNER, go_on(first))
    assert third.continues == more.stream
    assert third.prompt[-1] == assistant("one two three")


@pytest.mark.parametrize("key", ["a key", None])
def test_a_repeated_request_finds_its_answer_and_adds_nothing(store: SqlStore, key: str | None) -> None:
    question = ask("Once", key=key, digest=b"d")
    first = store.prepare_answer(OWNER, question)
    repeated = ask("", first.conversation, messages=question.messages, message=question.message, key=key, digest=b"d")
    again = store.prepare_answer(OWNER, repeated)
    assert (again.fresh, again.segment, again.stream, again.ids) == (False, SegmentState.OPEN, first.stream, first.ids)
    assert again.prompt == first.prompt
    store.finalize_message(first.stream, Outcome(state="completed", text="Done"))
    assert store.prepare_answer(OWNER, repeated).segment is SegmentState.FINALIZED
    assert len(messages(store, first)) == 2


def test_a_key_that_came_with_another_request_is_refused_and_another_owner_has_keys_of_their_own(
    store: SqlStore,
) -> None:
    first = store.prepare_answer(OWNER, ask("Once", key="k", digest=b"one"))
    with pytest.raises(KeyReused, match="'k' was used before"):
        store.prepare_answer(OWNER, ask("Twice", key="k", digest=b"two"))
    assert store.prepare_answer("ben", ask("Mine", key="k", digest=b"two")).conversation != first.conversation
    assert store.list_page(OWNER).total == 1


def test_a_retry_begins_an_answer_that_never_began(store: SqlStore) -> None:
    question = ask("Once", key="k", digest=b"d")
    prepared = store.prepare_answer(OWNER, question)
    store.mark_unstarted(prepared.stream, Outcome(state="failed", error={"message": "Busy."}))
    failed = messages(store, prepared)[prepared.message]
    assert (failed["state"], failed["error"], failed["streams"]) == ("failed", {"message": "Busy."}, [])
    again = store.prepare_answer(OWNER, question)
    assert (again.fresh, again.stream) == (True, prepared.stream)
    running = messages(store, prepared)[prepared.message]
    assert (running["state"], running["error"], running["streams"]) == ("running", None, [prepared.stream])


def test_going_on_that_never_began_leaves_the_answer_as_it_was(store: SqlStore) -> None:
    first = answer(store, ask("Count"), "one", state="incomplete", finish_reason=None, error={"message": "Cut."})
    before = messages(store, first)
    more = store.prepare_answer(OWNER, go_on(first))
    store.mark_unstarted(more.stream, Outcome(state="failed", error={"message": "Busy."}))
    assert messages(store, first) == before


def test_what_cannot_be_done_is_told_and_changes_nothing(store: SqlStore) -> None:
    done = answer(store, ask("One"))
    empty = answer(store, ask("Two", done.conversation), "", state="failed", finish_reason=None)
    running = store.prepare_answer(OWNER, ask("Three", done.conversation))
    before = store.get(OWNER, done.conversation)
    changed = [NewMessage("changed", done.parent)]
    cases: list[tuple[Any, type[ConversationError], str]] = [
        (ask("x", done.conversation, parent=new_id()), UnknownConversation, "no message"),
        (ask("x", done.conversation, parent=running.message), ConversationConflict, "still being written"),
        (ask("x", done.conversation), ConversationConflict, "still being written"),
        (vary(done, parent=done.message), ConversationConflict, "message of the user"),
        (vary(done, parent=new_id()), UnknownConversation, "no message"),
        (go_on(running), ConversationConflict, "still being written"),
        (go_on(empty), ConversationConflict, "with some text"),
        (go_on(done, parent=done.parent), ConversationConflict, "with some text"),
        (
            ask("x", done.conversation, messages=changed, parent=None),
            ConversationConflict,
            "another mess",
        ),
        (ask("x", done.conversation, message=done.parent), ConversationConflict, "already"),
        (vary(done, message=empty.message), ConversationConflict, "already"),
        (ask("x", new_id(), parent=done.message), UnknownConversation, "no conversation"),
    ]
    for question, error, says in cases:
        with pytest.raises(error, match=says):
            store.prepare_answer(OWNER, question)
    assert store.get(OWNER, done.conversation) == before
    assert store.list_page(OWNER).total == 1


def test_conversations_and_messages_are_limited_with_a_sentence(make_store: Callable[..., SqlStore]) -> None:
    store = make_store(messages=4, per_owner=2)
    first = answer(store, ask("One"))
    answer(store, ask("Two", first.conversation))
    with pytest.raises(ConversationLimitExceeded, match="holds 4 messages, of 4 allowed"):
        store.prepare_answer(OWNER, vary(first))
    store.prepare_answer(OWNER, ask("Another"))
    with pytest.raises(ConversationLimitExceeded, match="You have 2 conversations, of 2 allowed"):
        store.prepare_answer(OWNER, ask("Too many"))
    store.prepare_answer("ben", ask("Not mine"))


def test_another_owners_conversation_is_as_unknown_as_none_and_its_id_is_free(store: SqlStore) -> None:
    prepared = answer(store, ask("Secret"))
    for question in (vary(prepared), go_on(prepared), ask("x", prepared.conversation, parent=prepared.message)):
        with pytest.raises(UnknownConversation):
            store.prepare_answer("ben", question)
    theirs = store.prepare_answer("ben", ask("Mine", prepared.conversation))
    assert theirs.prompt == [user("Mine")]
    assert store.get(OWNER, prepared.conversation).summary.title == "Secret"


def test_two_processes_ask_in_one_conversation(make_store: Callable[..., SqlStore], clock: Clock) -> None:
    one, two = make_store(), make_store()
    first = answer(one, ask("One"))
    clock.now += 1
    second = answer(two, ask("Two", first.conversation))
    assert one.get(OWNER, first.conversation).summary.current == second.message
    assert one.list_page(OWNER).conversations[0].updated == clock.now
