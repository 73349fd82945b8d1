"""Conversations while processes run side by side and die."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from conversations.conftest import answer, ask, new_id
from faults.server import FaultServer, status
from support.conversations import (
    CHANGES,
    CONVERSATION,
    finished,
    listed,
    message,
    place,
    post_message,
    question,
    tell,
    tree,
)
from support.http import open_stream, request, texts
from support.server import ServerEnded
from tickertape.conversations.models import ConversationLimits, NewMessage
from tickertape.conversations.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Serve
    from support.http import Stream
    from support.server import Server

WORDS = " ".join(f"word{number}" for number in range(3000))
SHOW = {"Accept": "application/json"}
LOCAL = "local"


def told(feed: Stream) -> list[dict[str, str]]:
    return [json.loads(event.data) for event in feed.events]


def stop(server: Server, stream: Stream) -> str:
    """Stop an answer that runs, and return its text."""
    return request(server.url, "POST", f"/v1/streams/{stream.id}/cancel").json()["text"]


# --- processes die


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_servers_answer_is_shown_as_lost_with_its_text(serve: Serve, workers: str) -> None:
    server = serve(f"--workers={workers}", echo_rate=100)
    with post_message(server.url, question(WORDS)) as stream:
        stream.until(lambda stream: len(stream.events) > 5)
        where = place(stream)
        assert message(server.url, where)["state"] == "running"
        assert listed(server.url)[0]["running"] is True
        server.kill()
        stream.read()
    server.start()
    kept = finished(server.url, where)
    assert (kept["state"], kept["error"]["code"], kept["streams"]) == ("lost", "lost", [stream.id])
    assert kept["text"].startswith(texts(stream.events))
    assert kept["text"] == request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).json()["text"]
    assert listed(server.url)[0]["running"] is False
    ids = {"conversation_id": where["conversation_id"], "parent_message_id": where["message_id"]}
    with post_message(server.url, {"action": "continue", **ids}) as more:
        more.until(lambda more: "word" in texts(more.events))
        stop(server, more)
    whole = finished(server.url, where)
    assert whole["streams"] == [stream.id, more.id]
    assert whole["text"].startswith(kept["text"])
    assert WORDS.startswith(whole["text"])
    assert len(whole["text"]) > len(kept["text"])


def test_a_question_whose_answer_never_began_is_shown_as_lost_and_a_retry_answers_it(serve: Serve) -> None:
    """The process died between the two commits: the question is in the conversation, and no stream in the log."""
    server = serve()
    where = tell(server.url, "Before")
    finished(server.url, where)
    server.kill()
    chat, new = where["conversation_id"], {"id": new_id(), "role": "user", "content": "Unheard"}
    store = SqliteDatabase(server.data / "chats.db").open(ConversationLimits(), clock=lambda: time.time() - 60)
    lost = store.prepare_answer(LOCAL, ask("Unheard", chat, messages=[NewMessage(new["content"], new["id"])]))
    store.close()
    server.start()
    kept = finished(server.url, lost.ids)
    assert (kept["state"], kept["text"], kept["streams"]) == ("lost", "", [])
    assert tree(server.url, chat)["mapping"][lost.parent]["message"]["content"]["parts"] == ["Unheard"]
    again = question("", messages=[new], conversation_id=chat, message_id=lost.message, parent_message_id=None)
    assert request(server.url, "POST", CONVERSATION, again).status == 409, "it was asked somewhere else"
    again["parent_message_id"] = where["message_id"]
    with post_message(server.url, again) as stream:
        assert place(stream.read()) == lost.ids
    assert finished(server.url, lost.ids)["text"] == "Unheard"
    assert len(tree(server.url, chat)["mapping"]) == 4


def test_who_watches_is_told_of_an_answer_that_died_with_another_process(serve: Serve) -> None:
    server = serve("--workers=2", echo_rate=50)
    with ExitStack() as connections:
        streams = [connections.enter_context(post_message(server.url, question(WORDS))) for _ in range(10)]
        places = {place(stream)["conversation_id"]: stream for stream in streams}
        busiest = max(server.workers, key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
        os.kill(busiest, signal.SIGKILL)
        feed = connections.enter_context(open_stream(server.url, "GET", CHANGES))
        feed.until(lambda feed: any(change["what"] == "ended" for change in told(feed)))
        ended = next(change for change in told(feed) if change["what"] == "ended")
        lost = message(server.url, ended)
        assert (lost["state"], lost["streams"]) == ("lost", [places[ended["conversation_id"]].id])
        for stream in streams:
            stop(server, stream)


def test_sigterm_cuts_the_feed_of_changes_and_keeps_what_was_answered(serve: Serve) -> None:
    server = serve(echo_rate=100)
    with open_stream(server.url, "GET", CHANGES) as feed, post_message(server.url, question("word " * 60)) as stream:
        feed.until(lambda feed: len(feed.events) > 2)
        where = place(stream)
        server.terminate()
        assert feed.read().complete is False
    assert "Traceback" not in server.stderr
    server.start()
    assert (message(server.url, where)["state"], message(server.url, where)["text"]) == ("completed", "word " * 60)


# --- processes side by side


@pytest.mark.parametrize("workers", ["1", "2"])
def test_fifty_posts_at_once_with_one_key_ask_once(serve: Serve, workers: str) -> None:
    server = serve(f"--workers={workers}", echo_rate=200)
    body, key = question("word " * 40), {"Idempotency-Key": "fifty"}

    def post(_number: int) -> tuple[str, bytes]:
        with post_message(server.url, body, key) as stream:
            return stream.id, stream.read().body

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(post, range(50)))
    assert len(answers) == 1
    ((stream_id, said),) = answers
    assert said.endswith(b"data: [DONE]\n\n")
    (chat,) = listed(server.url)
    mapping = tree(server.url, chat["id"])["mapping"]
    assert len(mapping) == 2
    assert [node["message"]["streams"] for node in mapping.values()] == [[], [stream_id]]
    other = request(server.url, "POST", CONVERSATION, question("Another"), key)
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
    assert len(listed(server.url)) == 1


def test_a_post_with_a_cursor_resumes_and_never_asks_again(serve: Serve) -> None:
    server = serve(echo_rate=100)
    body = question("word " * 30)
    with post_message(server.url, body) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
    with open_stream(server.url, "POST", CONVERSATION, body, {"Last-Event-ID": stream.last_event_id}) as rest:
        rest.read()
    assert rest.id == stream.id
    assert texts(stream.events) + texts(rest.events) == "word " * 30
    assert len(listed(server.url)) == 1


def test_all_processes_tell_of_every_change(serve: Serve) -> None:
    server = serve("--workers=2")
    with ExitStack() as connections:
        feeds = [connections.enter_context(open_stream(server.url, "GET", CHANGES)) for _ in range(8)]
        for feed in feeds:
            feed.until(lambda feed: len(feed.events) == 1)
        where = tell(server.url, "Hello")
        for feed in feeds:
            feed.until(lambda feed: len(feed.events) == 4)
            assert [change["what"] for change in told(feed)] == ["reset", "created", "message", "ended"]
            assert told(feed)[3]["message_id"] == where["message_id"]


def test_an_answer_can_be_read_live_from_another_process_by_the_stream_that_its_message_names(serve: Serve) -> None:
    server = serve("--workers=2", echo_rate=100)
    with ExitStack() as connections:
        stream = connections.enter_context(post_message(server.url, question("word " * 50)))
        named = message(server.url, place(stream))["streams"][-1]
        readers = [connections.enter_context(open_stream(server.url, "GET", f"/v1/streams/{named}")) for _ in range(6)]
        assert {reader.read().body for reader in readers} == {stream.read().body}


# --- the log forgets


def test_what_the_log_forgets_is_in_the_conversation_before(serve: Serve) -> None:
    first = serve(echo_rate=100)
    with post_message(first.url, question(WORDS)) as stream:
        stream.until(lambda stream: len(stream.events) > 5)
        where = place(stream)
        first.kill()
    server = serve("--set=retention=0.2", data=first.data)
    path = f"/v1/streams/{stream.id}"
    while request(server.url, "GET", path, headers=SHOW).status == 200:
        time.sleep(0.05)
    kept = message(server.url, where)
    assert kept["state"] == "lost"
    assert kept["text"].startswith(texts(stream.events))
    with post_message(server.url, question("Hello"), {"Idempotency-Key": "k"}) as answered:
        done = place(answered.read())
    while request(server.url, "GET", f"/v1/streams/{answered.id}", headers=SHOW).status == 200:
        time.sleep(0.05)
    assert (message(server.url, done)["text"], message(server.url, done)["state"]) == ("Hello", "completed")
    again = request(server.url, "POST", CONVERSATION, question("Hello"), {"Idempotency-Key": "k"})
    assert (again.status, again.error["code"], again.error["tickertape"]) == (409, "already_answered", done)


def test_a_deleted_conversations_answer_is_stopped_and_for_good_its_streams_go_with_it(serve: Serve) -> None:
    server = serve("--set=conversations.undo=1", echo_rate=100)
    with post_message(server.url, question(WORDS)) as stream:
        stream.until(lambda stream: len(stream.events) > 5)
        where = place(stream)
        path = f"{CONVERSATION}/{where['conversation_id']}"
        assert request(server.url, "DELETE", path).status == 200
        assert request(server.url, "PATCH", path, {"deleted": False}).status == 200
        stream.read()
    kept = finished(server.url, where)
    assert (kept["state"], kept["text"]) == ("cancelled", texts(stream.events))
    assert request(server.url, "DELETE", path).status == 200
    while request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).status == 200:
        time.sleep(0.05)
    gone = request(server.url, "PATCH", path, {"deleted": False})
    assert (gone.status, gone.error["code"]) == (404, "unknown_conversation")


# --- going on, and going wrong


def test_a_stopped_answer_is_gone_on_from_in_its_message(serve: Serve) -> None:
    server = serve(echo_rate=200)
    with post_message(server.url, question(WORDS)) as stream:
        stream.until(lambda stream: len(stream.events) > 20)
        where = place(stream)
        chat = where["conversation_id"]
        going_on = {"action": "continue", "conversation_id": chat, "parent_message_id": where["message_id"]}
        running = request(server.url, "POST", CONVERSATION, going_on)
        assert (running.status, running.error["code"]) == (409, "answer_running")
        partial = stop(server, stream)
    assert finished(server.url, where)["text"] == partial
    with post_message(server.url, going_on) as more:
        assert place(more) == where
        more.until(lambda more: len(more.events) > 5)
        assert json.loads(more.events[1].data)["tickertape"] == {"continues": stream.id}
        rest = stop(server, more)
    whole = finished(server.url, where)
    assert whole["text"] == partial + rest
    assert whole["streams"] == [stream.id, more.id]
    assert WORDS.startswith(whole["text"])


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def test_an_upstream_that_refuses_is_the_status_and_the_question_is_kept(serve: Serve, upstream: FaultServer) -> None:
    script = upstream.serve(
        status(429, b'{"error": {"message": "Slow down.", "type": "x"}}', Retry_After="7"), path="/v1"
    )
    server = serve(f"--upstream={script.url}", "--model=large", provider="openai")
    reply = request(server.url, "POST", CONVERSATION, question("Hello"))
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    where = reply.error["tickertape"]
    kept = finished(server.url, where)
    assert (kept["state"], kept["text"], kept["model"]) == ("failed", "", "large")
    assert "Slow down." in kept["error"]["message"]
    asked = tree(server.url, where["conversation_id"])["mapping"][where["parent_message_id"]]["message"]
    assert asked["content"]["parts"] == ["Hello"]


def test_a_model_that_cannot_go_on_says_so_and_the_answer_stays_as_it_was(serve: Serve, upstream: FaultServer) -> None:
    script = upstream.serve(status(500, b"{}"), path="/v1")
    data = serve().data
    store = SqliteDatabase(data / "chats.db").open(ConversationLimits())
    partial = answer(store, ask("Count"), "one", owner=LOCAL, state="cancelled", finish_reason=None)
    store.close()
    server = serve(f"--upstream={script.url}", "--model=large", provider="openai", data=data)
    before = tree(server.url, partial.conversation)
    ids = {"conversation_id": partial.conversation, "parent_message_id": partial.message}
    reply = request(server.url, "POST", CONVERSATION, {"action": "continue", "model": "large", **ids})
    assert (reply.status, reply.error["code"]) == (400, "cannot_continue")
    assert tree(server.url, partial.conversation) == before


def test_who_has_too_many_answers_is_told_to_come_again_and_a_retry_is_answered(serve: Serve) -> None:
    server = serve("--set=limits.per_owner=1", echo_rate=100)
    key = {"Idempotency-Key": "k"}
    with post_message(server.url, question(WORDS)) as stream:
        busy = request(server.url, "POST", CONVERSATION, question("Hello"), key)
        assert (busy.status, busy.error["code"]) == (429, "too_many_answers")
        where = busy.error["tickertape"]
        assert message(server.url, where)["state"] == "failed"
        stop(server, stream)
        finished(server.url, place(stream))
    with post_message(server.url, question("Hello"), key) as again:
        assert place(again.read()) == where
    assert finished(server.url, where)["text"] == "Hello"


def test_what_becomes_of_an_answer_that_nobody_reads_is_a_setting(serve: Serve) -> None:
    server = serve("--set=page_disconnect=cancel", echo_rate=50)
    with post_message(server.url, question("word " * 2000)) as stream:
        where = place(stream)
    assert finished(server.url, where)["state"] == "cancelled"


# --- in private


def test_every_route_is_for_its_owner_only(serve: Serve) -> None:
    server = serve("--api-key=ann", "--api-key=ben", echo_rate=100)
    ann, ben = ({"Authorization": f"Bearer {name}"} for name in ("ann", "ben"))
    with post_message(server.url, question("word " * 30), ann | {"Idempotency-Key": "k"}) as stream:
        where = place(stream)
        chat, path = where["conversation_id"], f"{CONVERSATION}/{where['conversation_id']}"
        ids = {"conversation_id": chat, "parent_message_id": where["message_id"]}
        attempts: list[tuple[str, str, Any]] = [
            ("GET", path, None),
            ("PATCH", path, {"title": "Mine"}),
            ("PATCH", path, {"deleted": False}),
            ("DELETE", path, None),
            ("GET", f"{path}/export?format=json", None),
            ("GET", f"/v1/streams/{stream.id}", None),
            ("POST", f"/v1/streams/{stream.id}/cancel", None),
            ("POST", CONVERSATION, question("x", **ids)),
            ("POST", CONVERSATION, {"action": "continue", **ids}),
            ("POST", CONVERSATION, {"action": "variant", **ids | {"parent_message_id": where["parent_message_id"]}}),
        ]
        for method, target, body in attempts:
            assert request(server.url, method, target, body, ben).status == 404, (method, target)
            assert request(server.url, method, target, body).status == 401, (method, target)
        assert request(server.url, "GET", "/backend-api/conversations?q=word", headers=ben).json()["total"] == 0
        with open_stream(server.url, "GET", CHANGES, headers=ben | {"Last-Event-ID": "changes.0"}) as feed:
            with post_message(server.url, question("x"), ben | {"Idempotency-Key": "k"}) as own:
                assert place(own.read())["conversation_id"] != chat
            feed.until(lambda feed: b'"ended"' in feed.body)
            assert {change["conversation_id"] for change in told(feed) if "conversation_id" in change} == {
                place(own)["conversation_id"]
            }
        assert texts(stream.read().events) == "word " * 30
    assert request(server.url, "GET", path, headers=ann).json()["title"].startswith("word")


def test_a_damaged_file_of_conversations_is_one_sentence_and_is_left_as_it_is(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "chats.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(ServerEnded) as ended:
        serve(data=tmp_path)
    assert f"tickertape: The conversations {file} cannot be used" in str(ended.value)
    assert "Traceback" not in str(ended.value)
    assert file.read_bytes() == b"SQLite format 3\0" + b"\xff" * 4096
