"""Every route of a real server: statuses, headers, bodies."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from support.http import JSON, ask, open_stream, request, texts
from tickertape.asgi.endpoint import Endpoint

if TYPE_CHECKING:
    from conftest import Serve
    from support.server import Server

STREAM_ROUTES = ["/api/openai/stream", "/v1/chat/completions"]
SHOW = {"Accept": "application/json"}


def begin(server: Server, text: str, **fields: Any) -> str:
    """Ask without reading; return where the stream is."""
    reply = request(server.url, "POST", "/v1/streams", ask(text, **fields))
    assert reply.status == 202
    made = reply.json()
    assert made["url"] == reply.headers["location"] == f"/v1/streams/{made['id']}"
    return str(made["url"])


# --- asking


@pytest.mark.parametrize("route", STREAM_ROUTES)
def test_the_answer_is_a_stream_of_events_that_ends_in_done(echo_server: Server, route: str) -> None:
    with open_stream(echo_server.url, "POST", route, ask("Hello there, world", stream=True)) as stream:
        stream.read()
    assert stream.complete
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert "content-length" not in stream.headers
    assert "content-encoding" not in stream.headers
    assert texts(stream.events) == "Hello there, world"
    assert stream.events[-1].data == "[DONE]"
    assert [event.id for event in stream.events] == [f"{stream.id}.{n}" for n in range(1, len(stream.events) + 1)]
    assert stream.events[0].retry == 1000
    assert b"\n\n\n" not in stream.body, "an empty block crashes clients"


def test_post_get_and_a_cursor_before_everything_give_the_same_bytes(echo_server: Server) -> None:
    with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("One two three")) as stream:
        stream.read()
    path = f"/v1/streams/{stream.id}"
    assert request(echo_server.url, "GET", path).body == stream.body
    zero = {"Last-Event-ID": f"{stream.id}.0"}
    assert request(echo_server.url, "GET", path, headers=zero).body == stream.body


def test_an_answer_that_is_not_streamed_is_one_object(echo_server: Server) -> None:
    reply = request(echo_server.url, "POST", "/v1/chat/completions", ask("Hello there"))
    whole = reply.json()
    assert (reply.status, whole["object"], whole["model"]) == (200, "chat.completion", "echo")
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "Hello there"}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens"] == 2


def test_usage_comes_in_the_stream_only_when_asked_for(echo_server: Server) -> None:
    for options, wanted in (({}, 0), ({"stream_options": {"include_usage": True}}, 1)):
        with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("Hi", **options)) as stream:
            stream.read()
        assert sum("usage" in event.data for event in stream.events) == wanted


def test_the_unmodified_openai_client_streams_and_does_not(echo_server: Server) -> None:
    with openai.OpenAI(base_url=f"{echo_server.url}/v1", api_key="none") as client:
        question: Any = {"model": "echo", "messages": [{"role": "user", "content": "Hello there"}]}
        chunks = list(client.chat.completions.create(**question, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert client.chat.completions.create(**question).choices[0].message.content == "Hello there"
        assert [model.id for model in client.models.list()] == ["echo"]
        with pytest.raises(openai.NotFoundError, match="not served here"):
            client.chat.completions.create(**question | {"model": "gpt-9"})


def test_the_models_are_listed_with_the_default_first(echo_server: Server) -> None:
    listed = request(echo_server.url, "GET", "/v1/models").json()
    assert listed["object"] == "list"
    assert [(model["id"], model["object"], model["owned_by"]) for model in listed["data"]] == [
        ("echo", "model", "tickertape")
    ]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[]", 400, None),
        ({}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hi"}, 400, "messages"),
        ({"messages": ["hi"]}, 400, "messages[0]"),
        ({"messages": [{"role": "king", "content": "hi"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        (ask("hi", model=3), 400, "model"),
        (ask("hi", model="none"), 404, "model"),
        (ask("hi", stream="yes"), 400, "stream"),
        (ask("hi", stream_options=3), 400, "stream_options"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, 400, "messages"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_what_is_wrong_with_it(
    echo_server: Server, body: Any, status: int, param: str | None
) -> None:
    for route in STREAM_ROUTES:
        reply = request(echo_server.url, "POST", route, body, JSON)
        assert (reply.status, reply.error["param"], reply.error["type"]) == (status, param, "invalid_request_error")


def test_a_body_that_is_not_declared_as_json_is_refused(echo_server: Server) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        reply = request(
            echo_server.url, "POST", "/api/openai/stream", json.dumps(ask("hi")).encode(), {"Content-Type": kind}
        )
        assert reply.status == 415
        assert "application/json" in reply.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/v1/models", 405),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/models/", 404),
    ],
)
def test_what_is_not_there_is_said_in_openais_shape(echo_server: Server, method: str, path: str, status: int) -> None:
    reply = request(echo_server.url, method, path)
    assert reply.status == status
    assert path.rstrip("/") in reply.error["message"]


def test_a_method_that_is_not_allowed_is_told_which_are(echo_server: Server) -> None:
    reply = request(echo_server.url, "PUT", f"/v1/streams/{'0' * 32}")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, DELETE")


async def test_an_error_that_nobody_foresaw_is_said_in_openais_shape_and_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await Endpoint({"GET": broken})(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["error"]["type"] == "server_error"
    assert b"swordfish" not in sent[1]["body"]
    assert "swordfish" in caplog.text


def test_a_stopped_answer_that_is_not_streamed_says_that_it_is_not_whole(serve: Serve) -> None:
    server = serve(echo_rate=50)
    key, body = {"Idempotency-Key": "k"}, ask("word " * 500)
    path = request(server.url, "POST", "/v1/streams", body, key).json()["url"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(request, server.url, "POST", "/v1/chat/completions", body, key)
        with open_stream(server.url, "GET", path) as stream:
            stream.until(lambda stream: len(stream.events) > 3)
        request(server.url, "POST", f"{path}/cancel")
        reply = waiting.result()
    told = reply.json()
    assert (reply.status, told["tickertape"]) == (200, {"state": "cancelled"})
    assert told["choices"][0]["finish_reason"] is None
    assert ("word " * 500).startswith(told["choices"][0]["message"]["content"])


# --- reading again


def test_a_reader_that_was_cut_anywhere_goes_on_exactly_there(echo_server: Server) -> None:
    with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("a b c d e f g")) as stream:
        stream.read()
    path = f"/v1/streams/{stream.id}"
    for number, event in enumerate(stream.events[:-1], 1):
        rest = stream.body.partition(f"id: {event.id}\n".encode())[2].partition(b"\n\n")[2]
        by_header = request(echo_server.url, "GET", path, headers={"Last-Event-ID": event.id})
        by_query = request(echo_server.url, "GET", f"{path}?last_event_id={event.id}")
        assert by_header.body == by_query.body == rest, f"after event {number}"


def test_after_the_end_there_is_nothing_to_come_back_for(echo_server: Server) -> None:
    with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("hi")) as stream:
        stream.read()
    reply = request(echo_server.url, "GET", f"/v1/streams/{stream.id}", headers={"Last-Event-ID": stream.last_event_id})
    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize(
    "cursor", ["garbage", "0123.4", "{id}.999999", "{id}.-1", "{id}.x", "{other}.2", "é.1", "." * 4000]
)
def test_a_cursor_that_is_not_of_this_stream_is_told_and_everything_comes_again(
    echo_server: Server, cursor: str
) -> None:
    stream_id = begin(echo_server, "Hello there").rpartition("/")[2]
    other = begin(echo_server, "Something else").rpartition("/")[2]
    cursor = cursor.format(id=stream_id, other=other)
    path = f"/v1/streams/{stream_id}"
    reply = request(echo_server.url, "GET", path, headers={"Last-Event-ID": cursor.encode().decode("latin-1")})
    assert (reply.status, reply.headers["tickertape-cursor"]) == (200, "reset")
    assert reply.body == request(echo_server.url, "GET", path).body


def test_an_unknown_stream_is_not_found(echo_server: Server) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
        reply = request(echo_server.url, method, f"/v1/streams/{'0' * 32}{path}")
        assert (reply.status, reply.error["code"]) == (404, "unknown_stream")


def test_a_post_with_a_cursor_resumes_and_never_asks_again(echo_server: Server) -> None:
    with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("a b c d")) as stream:
        stream.read()
    cursor = {"Last-Event-ID": stream.events[2].id}
    for route in STREAM_ROUTES:
        again = request(echo_server.url, "POST", route, ask("a b c d", stream=True), cursor)
        assert again.status == 200
        assert stream.body.endswith(again.body)
        assert again.body.startswith(f"id: {stream.events[3].id}\n".encode())
    unknown = request(echo_server.url, "POST", "/api/openai/stream", ask("a b"), {"Last-Event-ID": "x.1"})
    assert unknown.status == 404


def test_the_snapshot_says_how_far_it_is_and_how_it_ended(serve: Serve) -> None:
    server = serve(echo_rate=50)
    path = begin(server, "word " * 500)
    running = request(server.url, "GET", path, headers=SHOW).json()
    assert (running["state"], running["finish_reason"]) == ("running", None)
    stopped = request(server.url, "POST", f"{path}/cancel").json()
    assert (stopped["state"], stopped["cancelled_by"]) == ("cancelled", "request")
    assert stopped["text"]
    assert ("word " * 500).startswith(stopped["text"])
    assert request(server.url, "GET", path, headers=SHOW).json() == stopped


# --- stopping


@pytest.mark.parametrize(("method", "suffix"), [("POST", "/cancel"), ("DELETE", "")])
def test_stop_ends_the_stream_for_its_readers_and_keeps_the_text(serve: Serve, method: str, suffix: str) -> None:
    server = serve(echo_rate=50)
    with open_stream(server.url, "POST", "/api/openai/stream", ask("word " * 500)) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
        first = request(server.url, method, f"/v1/streams/{stream.id}{suffix}").json()
        again = request(server.url, method, f"/v1/streams/{stream.id}{suffix}").json()
        stream.read()
    assert stream.complete
    assert first == again
    assert texts(stream.events) == first["text"]
    assert json.loads(stream.events[-2].data)["tickertape"] == {"state": "cancelled"}
    assert stream.events[-1].data == "[DONE]"


# --- keys that make a post safe to repeat


def test_the_same_key_and_body_attach_to_the_answer_that_exists(echo_server: Server) -> None:
    key = {"Idempotency-Key": "one"}
    bodies = {
        route: request(echo_server.url, "POST", route, ask("Hi you", stream=True), key).body for route in STREAM_ROUTES
    }
    assert len(set(bodies.values())) == 1
    other = request(echo_server.url, "POST", "/api/openai/stream", ask("Hi them", stream=True), key)
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
    for bad in ("", "x" * 256):
        reply = request(echo_server.url, "POST", "/api/openai/stream", ask("Hi"), {"Idempotency-Key": bad})
        assert reply.status == 400


# --- the rest


def test_the_probes_and_figures_answer(echo_server: Server) -> None:
    assert request(echo_server.url, "GET", "/healthz").json() == {"status": "ok"}
    assert request(echo_server.url, "GET", "/readyz").json() == {"status": "ready"}
    metrics = request(echo_server.url, "GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\ntickertape_answers_running 0\n" in metrics.body


def test_the_policy_for_a_reader_that_leaves_can_be_chosen(serve: Serve) -> None:
    server = serve(echo_rate=50)
    cancel, go_on = ({"Tickertape-Disconnect": policy} for policy in ("cancel", "continue"))
    with open_stream(server.url, "POST", "/api/openai/stream", ask("word " * 999), cancel) as left:
        left.until(lambda stream: len(stream.events) > 3)
    with open_stream(server.url, "POST", "/api/openai/stream", ask("word " * 999), go_on) as kept:
        kept.until(lambda stream: len(stream.events) > 3)
    with open_stream(server.url, "GET", f"/v1/streams/{kept.id}") as reader:
        reader.until(lambda stream: len(stream.events) > 20)
    snapshot = request(server.url, "GET", f"/v1/streams/{left.id}", headers=SHOW).json()
    assert (snapshot["state"], snapshot["cancelled_by"]) == ("cancelled", "disconnect")
    assert request(server.url, "GET", f"/v1/streams/{kept.id}", headers=SHOW).json()["state"] == "running"
    odd = request(server.url, "POST", "/api/openai/stream", ask("hi"), {"Tickertape-Disconnect": "maybe"})
    assert odd.status == 400
    assert "continue, cancel or abandon_after=SECONDS" in odd.error["message"]


# --- dialects


def test_the_same_stream_is_read_as_typed_events_from_any_cursor(echo_server: Server) -> None:
    path = begin(echo_server, "One two")
    with open_stream(echo_server.url, "GET", f"{path}?dialect=events") as stream:
        stream.read()
    first, *pieces, finish, end = stream.events
    assert (first.type, {piece.type for piece in pieces}, finish.type, end.type) == (
        "open",
        {"message"},
        "finish",
        "end",
    )
    assert "".join(json.loads(piece.data) for piece in pieces) == "One two"
    assert json.loads(end.data)["state"] == "completed"
    with open_stream(echo_server.url, "GET", path) as chunks:
        chunks.read()
    assert [event.id for event in chunks.events] == [event.id for event in stream.events]
    rest = request(echo_server.url, "GET", f"{path}?dialect=events&last_event_id={pieces[-1].id}").body
    assert stream.body.endswith(rest)
    assert rest.startswith(b"id: " + finish.id.encode())


def test_a_dialect_that_there_is_not_is_refused_with_those_that_there_are(echo_server: Server) -> None:
    reply = request(echo_server.url, "GET", f"{begin(echo_server, 'Hi')}?dialect=morse")
    assert reply.status == 400
    assert "openai, events" in reply.json()["error"]["message"]
    assert reply.json()["error"]["param"] == "dialect"
