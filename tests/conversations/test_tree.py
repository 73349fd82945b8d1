"""Whatever is asked in whatever order: a conversation is a tree, and every branch is told as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from conversations.conftest import OWNER, ask, go_on, vary
from streams.conftest import memory_folder
from tickertape.conversations.export import branch, conversation_object
from tickertape.conversations.models import ConversationLimits, ConversationUpdate, Outcome, PreparedAnswer
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import ConversationConflict

texts = st.sampled_from(["", "a", "b c", "ß"])


class Conversations(RuleBasedStateMachine):
    """The model: for each message its parent and its text, for each running answer its stream."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="tickertape-", dir=memory_folder())
        self.store = SqliteDatabase(Path(self._folder.name) / "chats.db").open(ConversationLimits())
        self.nodes: dict[str, dict[str, Any]] = {}
        self.prepared: list[PreparedAnswer] = []
        self.running: dict[str, PreparedAnswer] = {}

    @initialize()
    def begin(self) -> None:
        self.asked(ask("root"))

    def asked(self, question: Any) -> None:
        prepared = self.store.prepare_answer(OWNER, question)
        self.conversation = prepared.conversation
        parent = None if not self.nodes else question.parent
        for new in question.messages:
            self.nodes[new.id] = {"parent": parent, "role": "user", "text": new.text}
            parent = new.id
        if question.action != "continue":
            self.nodes[prepared.message] = {"parent": parent or question.parent, "role": "assistant", "text": ""}
        assert prepared.prompt == [
            {"role": node["role"], "content": node["text"]} for node in self.path(prepared) if node["text"]
        ]
        self.prepared.append(prepared)
        self.running[prepared.message] = prepared

    def path(self, prepared: PreparedAnswer) -> list[dict[str, Any]]:
        at: str | None = prepared.message
        found = []
        while at is not None:
            found.append(self.nodes[at])
            at = self.nodes[at]["parent"]
        return found[::-1]

    @rule(data=st.data(), text=st.sampled_from(["x", "y z"]))
    def ask_anywhere(self, data: st.DataObject, text: str) -> None:
        parent = data.draw(st.sampled_from([None, *(name for name in self.nodes if name not in self.running)]))
        self.asked(ask(text, self.conversation, parent=parent))

    @rule(data=st.data())
    def ask_for_another_answer(self, data: st.DataObject) -> None:
        self.asked(vary(data.draw(st.sampled_from(self.prepared))))

    @rule(data=st.data())
    def go_on_from_an_answer(self, data: st.DataObject) -> None:
        prepared = data.draw(st.sampled_from(self.prepared))
        if prepared.message in self.running or not self.nodes[prepared.message]["text"]:
            try:
                self.store.prepare_answer(OWNER, go_on(prepared))
            except ConversationConflict:
                return
            raise AssertionError("it was gone on from what runs, or from nothing")
        self.asked(go_on(prepared, parent=prepared.message))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), text=texts, state=st.sampled_from(["completed", "lost", "cancelled"]))
    def end(self, data: st.DataObject, text: str, state: str) -> None:
        prepared = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        for _ in range(2):
            self.store.finalize_message(prepared.stream, Outcome(state=state, text=text))
        self.nodes[prepared.message]["text"] += text

    @rule(data=st.data())
    def look_at_another_branch(self, data: st.DataObject) -> None:
        current = data.draw(st.sampled_from(sorted(self.nodes)))
        assert self.store.update(OWNER, self.conversation, ConversationUpdate(current=current)).current == current

    @invariant()
    def every_message_is_where_it_was_put(self) -> None:
        if not self.nodes:
            return
        conversation = self.store.get(OWNER, self.conversation)
        assert {message.id: (message.parent, message.content) for message in conversation.messages} == {
            name: (node["parent"], node["text"]) for name, node in self.nodes.items()
        }
        mapping = conversation_object(conversation)["mapping"]
        for name, node in mapping.items():
            assert all(mapping[child]["parent"] == name for child in node["children"])
        assert sum(len(node["children"]) for node in mapping.values()) == sum(
            node["parent"] is not None for node in self.nodes.values()
        )
        assert branch(conversation)[-1].id == conversation.summary.current
        assert conversation.summary.running == bool(self.running)

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()


Conversations.TestCase.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
test_conversation_is_a_tree = Conversations.TestCase
