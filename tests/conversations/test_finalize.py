"""What came of a stream is taken over exactly once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from conversations.conftest import OWNER, Clock, ask, messages
from tickertape.conversations.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tickertape.conversations.sql_store import SqlStore

WHOLE = Outcome(
    state="failed",
    text="Half a",
    reasoning="Hm.",
    tool_calls=[{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    details={"images": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}], "refusal": "No."},
    usage={"total_tokens": 3},
    error={"message": "It broke."},
    model="large",
)


def test_a_message_keeps_all_that_came_of_its_stream(store: SqlStore, clock: Clock) -> None:
    prepared = store.prepare_answer(OWNER, ask("Hello"))
    store.finalize_message(prepared.stream, WHOLE, clock.now + 2.5)
    kept = messages(store, prepared)[prepared.message]
    assert kept["seconds"] == 2.5
    for name in ("state", "reasoning", "tool_calls", "details", "usage", "error", "model"):
        assert kept[name] == getattr(WHOLE, name), name
    assert kept["content"] == "Half a"
    assert store.unfinalized() == []


def test_however_many_processes_see_the_end_the_text_is_added_once(make_store: Callable[..., SqlStore]) -> None:
    stores = [make_store() for _ in range(4)]
    prepared = stores[0].prepare_answer(OWNER, ask("Hello"))
    with ThreadPoolExecutor(8) as pool:
        for finalized in [pool.submit(store.finalize_message, prepared.stream, WHOLE) for store in stores * 4]:
            finalized.result()
    assert messages(stores[0], prepared)[prepared.message]["content"] == "Half a"
    assert [change.kind for change in stores[0].changes_after(0)] == ["created", "message", "ended"]


def test_the_end_of_a_stream_outweighs_that_it_was_taken_for_one_that_never_began(store: SqlStore) -> None:
    prepared = store.prepare_answer(OWNER, ask("Hello"))
    store.mark_unstarted(prepared.stream, Outcome(state="lost"))
    store.finalize_message(prepared.stream, WHOLE)
    store.mark_unstarted(prepared.stream, Outcome(state="lost"))
    kept = messages(store, prepared)[prepared.message]
    assert (kept["state"], kept["content"], kept["streams"]) == ("failed", "Half a", [prepared.stream])


def test_open_segments_are_known_with_their_owner_and_time(store: SqlStore, clock: Clock) -> None:
    prepared = store.prepare_answer(OWNER, ask("Hello"))
    other = store.prepare_answer("ben", ask("Hello"))
    assert [(segment.stream, segment.owner, segment.started) for segment in store.unfinalized()] == [
        (prepared.stream, OWNER, clock.now),
        (other.stream, "ben", clock.now),
    ]
    assert [segment.stream for segment in store.unfinalized("ben")] == [other.stream]


def test_a_stream_of_no_message_is_left_alone(store: SqlStore) -> None:
    store.finalize_message("unknown", WHOLE)
    store.mark_unstarted("unknown", WHOLE)
    assert store.changes_after(0) == []
