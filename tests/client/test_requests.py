"""What is sent: methods, bodies, headers, credentials, cursors."""

from __future__ import annotations

import json

import pytest

from faults import server as faults
from faults.server import FaultServer
from tickertape.errors import ConnectionFailed

BODY = b"id: 1\ndata: x\n\n"


def test_a_plain_source_sends_what_a_browser_sends(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1)
    request = script.requests[0]
    assert request.method == "GET"
    assert request.body == b""
    assert request.headers["accept"] == b"text/event-stream"
    assert request.headers["cache-control"] == b"no-cache"
    assert "last-event-id" not in request.headers


def test_a_json_body_makes_it_a_post_with_a_content_type(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1, json={"text": "Gr\u00fc\u00dfe"})
    request = script.requests[0]
    assert request.method == "POST"
    assert json.loads(request.body) == {"text": "Gr\u00fc\u00dfe"}
    assert request.headers["content-type"] == b"application/json"


def test_a_body_and_a_method_go_out_as_given(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1, method="put", body="text", headers={"Content-Type": "text/plain"})
    request = script.requests[0]
    assert (request.method, request.body, request.headers["content-type"]) == ("PUT", b"text", b"text/plain")


def test_two_bodies_are_refused(client) -> None:
    with pytest.raises(ValueError, match="one body"):
        client.read("http://host/", json={}, body=b"")


def test_the_callers_headers_win(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1, headers={"ACCEPT": "text/event-stream, application/json", "X-Mine": "1"})
    headers = script.requests[0].headers
    assert headers["accept"] == b"text/event-stream, application/json"
    assert headers["x-mine"] == b"1"


def test_a_header_that_cannot_be_sent_is_an_error_and_not_a_loop(client, server) -> None:
    script = server.serve(faults.events(BODY))
    outcome = client.read(script.url, headers={"X-Mine": "a\r\nX-Injected: b"})
    assert isinstance(outcome.error, ConnectionFailed)
    assert script.requests == []


def test_the_cursor_of_another_day_is_sent_first(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1, last_event_id="\u2026")
    assert script.requests[0].last_event_id == b"\xe2\x80\xa6"


def test_last_event_id_is_that_of_the_last_event_handed_out_not_of_the_last_one_read(client, server) -> None:
    script = server.serve(faults.events(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n"))
    assert client.read(script.url, limit=2).last_event_id == "2"


def test_auth_is_asked_for_on_every_connection(client, server) -> None:
    tokens = iter(["Bearer one", "Bearer two", "Bearer three"])
    script = server.serve(faults.events(BODY), faults.events(BODY), faults.status(204))
    client.read(script.url, auth=lambda: next(tokens))
    assert [request.headers["authorization"] for request in script.requests] == [
        b"Bearer one",
        b"Bearer two",
        b"Bearer three",
    ]


def test_auth_may_be_a_plain_value(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=1, auth="Basic dTpw")
    assert script.requests[0].headers["authorization"] == b"Basic dTpw"


def test_credentials_stay_with_their_origin(client, server) -> None:
    with FaultServer() as elsewhere:
        target = elsewhere.serve(faults.events(BODY))
        script = server.serve(faults.redirect(307, target.url))
        headers = {"Cookie": "session=1", "X-Api-Key": "secret", "X-Mine": "1"}
        client.read(script.url, limit=1, auth=lambda: "Bearer secret", headers=headers)
    assert script.requests[0].headers["authorization"] == b"Bearer secret"
    assert target.requests[0].headers["x-mine"] == b"1"
    assert not {"authorization", "cookie", "x-api-key"} & set(target.requests[0].headers)


def test_credentials_follow_a_redirect_within_the_origin(client, server) -> None:
    target = server.serve(faults.events(BODY))
    script = server.serve(faults.redirect(307, target.url))
    client.read(script.url, limit=1, auth="Bearer secret")
    assert target.requests[0].headers["authorization"] == b"Bearer secret"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirected_post_keeps_its_method_and_body(client, server, code: int) -> None:
    target = server.serve(faults.events(BODY))
    script = server.serve(faults.redirect(code, target.url))
    client.read(script.url, limit=1, json={"a": 1})
    assert (target.requests[0].method, target.requests[0].body) == ("POST", b'{"a":1}')


def test_a_post_answered_with_303_reads_what_it_is_shown(client, server) -> None:
    target = server.serve(faults.events(BODY), faults.events(b"id: 2\ndata: y\n\n"), faults.status(204))
    script = server.serve(faults.redirect(303, target.url))
    outcome = client.read(script.url, json={"a": 1})
    assert outcome.data == ["x", "y"]
    assert [(request.method, request.body) for request in target.requests] == [("GET", b"")] * 3
    assert "content-type" not in target.requests[0].headers
    assert len(script.requests) == 1


def test_a_post_is_sent_once_and_ends_with_its_connection(client, server) -> None:
    script = server.serve(faults.events(BODY))
    outcome = client.read(script.url, json={})
    assert outcome.data == ["x"]
    assert outcome.error is None
    assert len(script.requests) == 1


def test_a_post_that_breaks_is_an_error_and_is_sent_once(client, server) -> None:
    script = server.serve(faults.truncated(BODY, "inside a chunk"))
    outcome = client.read(script.url, json={})
    assert outcome.data == ["x"]
    assert isinstance(outcome.error, ConnectionFailed)
    assert "sent only once" in str(outcome.error)
    assert len(script.requests) == 1


def test_a_post_is_sent_again_with_repost(client, server) -> None:
    script = server.serve(faults.truncated(BODY, "inside a chunk"), faults.events(BODY), faults.status(204))
    outcome = client.read(script.url, json={"a": 1}, repost=True)
    assert outcome.data == ["x", "x"]
    assert [request.body for request in script.requests] == [b'{"a":1}'] * 3
    assert [request.last_event_id for request in script.requests] == [None, b"1", b"1"]


def test_a_post_that_is_given_a_location_is_read_on_from_there(client, server) -> None:
    def play(connection) -> None:
        if connection.request.method == "POST":
            connection.head(chunked=True, Location=f"{connection.script.url}/streams/7")
            connection.send(BODY)
            connection.reusable = False
        else:
            faults.resumable([BODY, b"id: 2\ndata: y\n\n"])(connection)

    script = server.serve(play)
    outcome = client.read(script.url, json={"a": 1})
    assert outcome.data == ["x", "y"]
    assert outcome.location == f"{script.url}/streams/7"
    assert [(request.method, request.last_event_id) for request in script.requests] == [
        ("POST", None),
        ("GET", b"1"),
        ("GET", b"2"),
    ]


def test_on_open_gets_the_head_of_every_connection(client, server) -> None:
    script = server.serve(faults.events(BODY, X_Number="1"), faults.events(BODY, X_Number="2"), faults.status(204))
    outcome = client.read(script.url)
    assert [head["x-number"] for head in outcome.heads] == ["1", "2"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":{"message":"no such model"}}', ": no such model"),
        (b'{"error":"no such model"}', ": no such model"),
        (b'{"detail":"no such model"}', ": no such model"),
        (b"no such\n model", ": no such model"),
        (b"<html><body>no such model</body></html>", "."),
        (b'{"detail":[1]}', "."),
        (b'{"error":"\xff"}', ': {"error":"\ufffd"}'),
        (b"", "."),
    ],
)
def test_a_refusals_own_words_are_in_the_error(client, server, body: bytes, said: str) -> None:
    script = server.serve(faults.status(404, body))
    outcome = client.read(script.url)
    assert str(outcome.error) == f"{script.url} answered 404{said}"
    assert outcome.error.status == 404
