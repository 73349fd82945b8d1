"""Conversations as a page has them: asked, read again, branched, searched, changed, deleted, exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.conversations import (
    CHANGES,
    CONVERSATION,
    CONVERSATIONS,
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

if TYPE_CHECKING:
    from support.server import Server

NOBODY = "0" * 32
LONG = "word " * 2000


# --- asking


def test_a_question_begins_a_conversation_and_the_first_event_says_where_its_answer_belongs(
    echo_server: Server,
) -> None:
    url = echo_server.url
    with post_message(url, question("Hello there, world")) as stream:
        stream.read()
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert texts(stream.events) == "Hello there, world"
    assert stream.events[-1].data == "[DONE]"
    again = request(url, "GET", f"/v1/streams/{stream.id}")
    assert again.body == stream.body, "a replay is not the same to the byte"
    where = place(stream)
    answer = finished(url, where)
    assert (answer["text"], answer["state"], answer["finish_reason"]) == ("Hello there, world", "completed", "stop")
    assert (answer["model"], answer["streams"]) == ("echo", [stream.id])
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["seconds"] >= 0
    whole = tree(url, where["conversation_id"])
    asked = whole["mapping"][where["parent_message_id"]]
    assert asked["message"]["content"] == {"content_type": "text", "parts": ["Hello there, world"]}
    assert (asked["parent"], asked["children"]) == (None, [where["message_id"]])
    assert (whole["title"], whole["current_node"]) == ("Hello there, world", where["message_id"])


def test_chatgpts_own_message_shape_and_the_callers_ids_are_taken(echo_server: Server) -> None:
    chat, asked, answer = "c" * 32, "a1" * 16, "b" * 24
    shaped = {"id": asked, "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["One", "two"]}}
    with post_message(echo_server.url, {"messages": [shaped], "conversation_id": chat, "message_id": answer}) as stream:
        stream.read()
    assert place(stream) == {"conversation_id": chat, "message_id": answer, "parent_message_id": asked}
    assert texts(stream.events) == "One\ntwo"


def test_a_repeated_request_with_the_same_ids_finds_the_same_answer(echo_server: Server) -> None:
    ids = {"conversation_id": "d" * 32, "message_id": "e" * 32}
    body = {"messages": [{"id": "f" * 32, "role": "user", "content": "Once"}], **ids}
    streams = []
    for _ in range(3):
        with post_message(echo_server.url, body) as stream:
            streams.append(stream.read().body)
    assert streams[0] == streams[1] == streams[2]
    assert len(tree(echo_server.url, "d" * 32)["mapping"]) == 2
    body["messages"] = [{"id": "f" * 32, "role": "user", "content": "Twice"}]
    body["message_id"] = "a" * 32
    reply = request(echo_server.url, "POST", CONVERSATION, body)
    assert (reply.status, reply.error["code"]) == (409, "conflict")


def test_the_next_question_goes_under_the_answer_and_the_model_is_told_what_was_said(serve: Any) -> None:
    """The echo model counts the words of all that it is told."""
    server = serve()
    first = tell(server.url, "One two three")
    chat = first["conversation_id"]
    request(server.url, "PATCH", f"{CONVERSATION}/{chat}", {"system": "Be brief now please"})
    second = tell(server.url, "four", conversation_id=chat)
    assert tree(server.url, chat)["mapping"][second["parent_message_id"]]["parent"] == first["message_id"]
    assert finished(server.url, second)["usage"]["prompt_tokens"] == 4 + 3 + 3 + 1
    edited = tell(server.url, "five", conversation_id=chat, parent_message_id=None)
    assert finished(server.url, edited)["usage"]["prompt_tokens"] == 4 + 1, "another root knows nothing of the first"
    assert [node["parent"] for node in tree(server.url, chat)["mapping"].values()].count(None) == 2


def test_who_has_read_the_end_may_ask_on_at_once_and_the_model_is_told_all(echo_server: Server) -> None:
    where = tell(echo_server.url, "One")
    for number in range(2, 12):
        where = tell(echo_server.url, "Two", conversation_id=where["conversation_id"])
        answer = message(echo_server.url, where)
        assert answer["usage"]["prompt_tokens"] == 2 * number - 1
        assert answer["seconds"] is not None


def test_another_answer_is_a_sibling_of_the_first(echo_server: Server) -> None:
    url = echo_server.url
    first = tell(url, "Say it")
    ids = {name: first[name] for name in ("conversation_id", "parent_message_id")}
    with post_message(url, {"action": "variant", **ids}) as stream:
        second = place(stream.read())
    whole = tree(url, first["conversation_id"])
    assert whole["mapping"][first["parent_message_id"]]["children"] == [first["message_id"], second["message_id"]]
    assert whole["current_node"] == second["message_id"]
    back = request(url, "PATCH", f"{CONVERSATION}/{whole['id']}", {"current_node": first["message_id"]})
    assert back.status == 200
    assert tree(url, whole["id"])["current_node"] == first["message_id"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        ([], 400, None),
        ({}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": ["hi"]}, 400, "messages[0]"),
        ({"messages": [{"role": "system", "content": "hi"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content"),
        ({"messages": [{"id": "../etc", "role": "user", "content": "hi"}]}, 400, "id"),
        (question("hi", action="previous"), 400, "action"),
        (question("hi", conversation_id="x"), 400, "conversation_id"),
        (question("hi", parent_message_id=3), 400, "parent_message_id"),
        (question("hi", model=3), 400, "model"),
        (question("hi", stream_options=3), 400, "stream_options"),
        (question("hi", parent_message_id=NOBODY), 404, None),
        ({"action": "variant"}, 400, "parent_message_id"),
        ({"action": "variant", "conversation_id": NOBODY, "parent_message_id": NOBODY}, 404, None),
        ({"action": "continue", "conversation_id": NOBODY, "parent_message_id": NOBODY}, 404, None),
    ],
)
def test_a_turn_that_makes_no_sense_is_told_what_is_wrong_and_changes_nothing(
    echo_server: Server, body: Any, status: int, param: str | None
) -> None:
    before = listed(echo_server.url)
    reply = request(echo_server.url, "POST", CONVERSATION, body, {"Content-Type": "application/json"})
    assert (reply.status, reply.error["param"]) == (status, param), reply.body
    assert listed(echo_server.url) == before


def test_a_question_that_cannot_be_answered_is_kept_with_the_reason(echo_server: Server) -> None:
    reply = request(echo_server.url, "POST", CONVERSATION, question("Keep me", model="gpt-9"))
    assert reply.status == 404
    where = reply.error["tickertape"]
    answer = message(echo_server.url, where)
    assert (answer["state"], answer["text"], answer["streams"]) == ("failed", "", [])
    assert "'gpt-9' is not served here" in answer["error"]["message"]
    assert tree(echo_server.url, where["conversation_id"])["title"] == "Keep me"


# --- the list


def test_the_list_is_by_recency_in_pages(serve: Any) -> None:
    url = serve().url
    assert request(url, "GET", CONVERSATIONS).json() == {"items": [], "total": 0, "offset": 0, "limit": 50}
    chats = [tell(url, f"Question {number}")["conversation_id"] for number in range(3)]
    tell(url, "More", conversation_id=chats[0])
    assert [item["id"] for item in listed(url)] == [chats[0], chats[2], chats[1]]
    page = request(url, "GET", f"{CONVERSATIONS}?offset=1&limit=1").json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([chats[2]], 3)
    for query in ("?limit=1000", "?offset=-1", "?limit=x"):
        assert request(url, "GET", f"{CONVERSATIONS}{query}").status == 400


def test_a_search_finds_words_in_titles_and_in_all_branches(serve: Any) -> None:
    url = serve().url
    where = tell(url, "The Straße of Gibraltar")
    chat = where["conversation_id"]
    tell(url, "50% of _all_ whales", conversation_id=chat)
    tell(url, "A hidden BRANCH", conversation_id=chat, parent_message_id=None)
    tell(url, "Something else")
    for words in ("gibraltar", "STRASSE", "whales+gibr", "branch", "50%25", "_all_", "%C3%9Fe"):
        assert [item["id"] for item in listed(url, f"?q={words}")] == [chat], words
    assert listed(url, "?q=whales+else") == []
    assert listed(url, "?q=a%25z") == []
    (found,) = listed(url, "?q=whales")
    assert "whales" in found["snippet"]
    assert "whales" in message(url, {"conversation_id": chat, "message_id": found["message_id"]})["text"]
    request(url, "PATCH", f"{CONVERSATION}/{chat}", {"title": "Ölkanne"})
    (renamed,) = listed(url, "?q=%C3%B6lk")
    assert (renamed["title"], renamed["message_id"], renamed["snippet"]) == ("Ölkanne", None, None)


def test_a_title_is_made_of_the_first_question_and_one_that_was_given_stays(echo_server: Server) -> None:
    url = echo_server.url
    where = tell(url, "# What is\n\nthis " + "and that " * 30)
    chat = where["conversation_id"]
    assert tree(url, chat)["title"] == "What is"
    assert request(url, "PATCH", f"{CONVERSATION}/{chat}", {"title": " My  own "}).json()["title"] == "My own"
    tell(url, "More", conversation_id=chat)
    assert tree(url, chat)["title"] == "My own"


def test_an_empty_conversation_holds_a_system_prompt_before_the_first_question(echo_server: Server) -> None:
    url = echo_server.url
    made = request(url, "POST", CONVERSATIONS, {"id": "9" * 32, "system": "Be kind"})
    assert (made.status, made.headers["location"]) == (201, f"{CONVERSATION}/{'9' * 32}")
    where = tell(url, "Hi", conversation_id="9" * 32)
    whole = tree(url, where["conversation_id"])
    assert (whole["system"], whole["title"]) == ("Be kind", "Hi")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"title": ""}, 400, "title"),
        ({"title": "x" * 201}, 400, "title"),
        ({"system": "x" * 100_001}, 400, "system"),
        ({"system": 3}, 400, "system"),
        ({"current_node": NOBODY}, 404, None),
        ({"deleted": True}, 400, "deleted"),
        ({"owner": "me"}, 400, "owner"),
    ],
)
def test_a_change_that_cannot_be_made_is_told(echo_server: Server, body: Any, status: int, param: str | None) -> None:
    chat = tell(echo_server.url, "Change me")["conversation_id"]
    reply = request(echo_server.url, "PATCH", f"{CONVERSATION}/{chat}", body)
    assert (reply.status, reply.error["param"]) == (status, param)
    assert tree(echo_server.url, chat)["title"] == "Change me"


def test_a_deleted_conversation_is_gone_at_once_and_can_be_taken_back(echo_server: Server) -> None:
    url = echo_server.url
    chat = tell(url, "Delete me")["conversation_id"]
    first = request(url, "DELETE", f"{CONVERSATION}/{chat}").json()
    assert first["deleted"] is True
    assert request(url, "DELETE", f"{CONVERSATION}/{chat}").json() == first
    assert chat not in [item["id"] for item in listed(url)]
    for reply in (
        request(url, "GET", f"{CONVERSATION}/{chat}"),
        request(url, "PATCH", f"{CONVERSATION}/{chat}", {"title": "x"}),
        request(url, "POST", CONVERSATION, question("x", conversation_id=chat)),
    ):
        assert (reply.status, reply.error["code"]) == (404, "unknown_conversation")
    assert request(url, "PATCH", f"{CONVERSATION}/{chat}", {"deleted": False}).json()["title"] == "Delete me"
    assert chat in [item["id"] for item in listed(url)]


def test_a_conversation_can_be_exported(echo_server: Server) -> None:
    url = echo_server.url
    where = tell(url, 'Grüße "an" ../alle')
    chat = where["conversation_id"]
    finished(url, where)
    markdown = request(url, "GET", f"{CONVERSATION}/{chat}/export?format=markdown")
    assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    assert markdown.headers["content-disposition"] == (
        "attachment; filename=\"Gre an alle.md\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20an%20alle.md"
    )
    assert markdown.body.decode().endswith('## You\n\nGrüße "an" ../alle\n\n## echo\n\nGrüße "an" ../alle\n')
    exported = request(url, "GET", f"{CONVERSATION}/{chat}/export?format=json")
    assert exported.headers["content-disposition"].endswith("alle.json")
    whole = tree(url, chat)
    assert {name: exported.json()[name] for name in whole} == whole
    assert request(url, "GET", f"{CONVERSATION}/{chat}/export?format=pdf").status == 400


def test_a_deep_link_serves_the_page(echo_server: Server) -> None:
    assert request(echo_server.url, "GET", f"/c/{NOBODY}").body == request(echo_server.url, "GET", "/").body


# --- changes


def test_the_feed_of_changes_tells_what_happens_and_goes_on_where_it_was_cut(serve: Any) -> None:
    url = serve().url
    with open_stream(url, "GET", CHANGES) as feed:
        feed.until(lambda feed: len(feed.events) == 1)
        assert json.loads(feed.events[0].data) == {"what": "reset"}
        where = tell(url, "Hello")
        feed.until(lambda feed: len(feed.events) == 4)
    chat, answer = where["conversation_id"], where["message_id"]
    wanted: list[dict[str, str]] = [
        {"conversation_id": chat, "what": "created"},
        {"conversation_id": chat, "what": "message", "message_id": answer},
        {"conversation_id": chat, "what": "ended", "message_id": answer},
    ]
    assert [json.loads(event.data) for event in feed.events[1:]] == wanted
    request(url, "PATCH", f"{CONVERSATION}/{chat}", {"title": "New"})
    request(url, "DELETE", f"{CONVERSATION}/{chat}")
    with open_stream(url, "GET", CHANGES, headers={"Last-Event-ID": feed.last_event_id}) as rest:
        rest.until(lambda rest: len(rest.events) == 2)
        request(url, "PATCH", f"{CONVERSATION}/{chat}", {"deleted": False})
        rest.until(lambda rest: len(rest.events) == 3)
    assert [json.loads(event.data)["what"] for event in rest.events] == ["updated", "deleted", "created"]
    with open_stream(url, "GET", CHANGES, headers={"Last-Event-ID": "changes.999"}) as lost:
        lost.until(lambda lost: len(lost.events) == 1)
        assert lost.headers["tickertape-cursor"] == "reset"
        assert json.loads(lost.events[0].data) == {"what": "reset"}
