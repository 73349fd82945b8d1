"""A conversation as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER, answer, ask, vary
from tickertape.conversations.export import as_json, as_markdown
from tickertape.conversations.models import ConversationUpdate

if TYPE_CHECKING:
    from tickertape.conversations.sql_store import SqlStore


def test_the_branch_that_is_shown_becomes_markdown(store: SqlStore) -> None:
    first = answer(store, ask("Count", model="echo"), "1, 2", model="echo")
    store.update(OWNER, first.conversation, ConversationUpdate(system="Be brief"))
    answer(store, vary(first), "1, 2, 3", model="large")
    answer(store, ask("On", first.conversation), "4", state="cancelled", finish_reason=None, model="echo")
    assert as_markdown(store.get(OWNER, first.conversation)) == (
        "# Count\n\n*2023-11-14, echo*\n\n## System prompt\n\nBe brief\n\n## You\n\nCount\n\n## large\n\n1, 2, 3\n\n"
        "## You\n\nOn\n\n## echo\n\n4\n\n*Stopped.*\n"
    )


@pytest.mark.parametrize(
    ("state", "reason", "note"),
    [
        ("lost", None, "*Cut off: the server stopped while it was written.*"),
        ("incomplete", None, "*Cut off: the model stopped before it was done.*"),
        ("failed", None, "*Failed.*"),
        ("completed", "length", "*Cut off at the length limit.*"),
        ("completed", "content_filter", "*Cut off by the provider's filter.*"),
    ],
)
def test_an_answer_that_is_not_whole_says_so(store: SqlStore, state: str, reason: str | None, note: str) -> None:
    prepared = answer(store, ask("Count"), "1", state=state, finish_reason=reason)
    assert as_markdown(store.get(OWNER, prepared.conversation)).endswith(f"1\n\n{note}\n")


def test_everything_becomes_json(store: SqlStore) -> None:
    first = answer(store, ask("Count"), "1")
    second = answer(store, vary(first), "2")
    exported = as_json(store.get(OWNER, first.conversation))
    assert (exported["format"], exported["version"]) == ("tickertape conversation", 1)
    assert exported["mapping"][first.parent]["children"] == [first.message, second.message]
    assert exported["mapping"][second.message]["message"]["content"]["parts"] == ["2"]
