"""A request chooses its dialect: the stream, the whole answer, errors, headers and every URL are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from asgi.host_app import make_api
from support.http import ask
from tickertape import Decoder
from tickertape.dialects import DIALECTS
from tickertape.dialects.base import Dialect
from tickertape.dialects.events import EventView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tickertape.streams.contract import Stream

ANN = {"X-User": "ann"}


class Toy(Dialect):
    """Says all that a dialect can say in a way of its own."""

    name = "toy"
    view = EventView
    headers = ((b"x-toy", b"yes"),)

    def answer(self, stream: Stream) -> dict[str, Any]:
        return {"whole": stream.header.id}

    def error(self, error: dict[str, Any]) -> dict[str, Any]:
        return {"sorry": error["message"]}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setitem(DIALECTS, "toy", Toy())
    with TestClient(make_api(tmp_path), headers=ANN) as running:
        yield running


def types(body: bytes) -> list[str]:
    return [event.type for event in Decoder().feed(body)]


POSTS: dict[str, dict[str, Any]] = {
    "/api/openai/stream": ask("Hello there"),
    "/backend-api/conversation": {
        "action": "next", "messages": [{"author": {"role": "user"}, "content": {"parts": ["Hello there"]}}],
    },
}  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_a_question_is_answered_in_its_dialect_and_read_again_where_its_location_says(
    client: TestClient, path: str
) -> None:
    answer = client.post(f"{path}?dialect=toy", json=POSTS[path])
    assert answer.status_code == 200, answer.text
    assert (types(answer.content)[0], types(answer.content)[-1]) == ("open", "end")
    assert answer.headers["x-toy"] == "yes"
    location = answer.headers["location"]
    assert location.endswith("?dialect=toy")
    again = client.get(location)
    assert (again.text, again.headers["x-toy"], again.headers["location"]) == (answer.text, "yes", location)
    cursor = Decoder().feed(answer.content)[1].id
    resumed = client.post(f"{path}?dialect=toy", json=POSTS[path], headers={"Last-Event-ID": cursor})
    assert answer.text.endswith(resumed.text)
    assert types(resumed.content) == types(answer.content)[2:]
    stream_id = location.rpartition("/")[2].partition("?")[0]
    assert client.get(location, headers={"Accept": "application/json"}).json() == {"whole": stream_id}
    assert client.get(f"/v1/streams/{stream_id}", headers={"Accept": "application/json"}).json()["state"] == "completed"


def test_what_is_asked_now_and_read_later_keeps_its_dialect(client: TestClient) -> None:
    later = client.post("/v1/streams?dialect=events", json=ask("Hello there"))
    assert later.json()["url"] == later.headers["location"]
    assert types(client.get(later.json()["url"]).content)[0] == "open"


def test_a_whole_answer_in_a_dialect_is_given_once_it_has_ended(
    client: TestClient,
) -> None:
    long = client.post("/v1/streams", json=ask("Hello " * 20)).json()["url"]
    whole = client.get(f"{long}?dialect=openai", headers={"Accept": "application/json"}).json()
    assert (whole["object"], whole["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert whole["choices"][0]["message"]["content"].startswith("Hello Hello")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/openai/stream?dialect=toy", 400),
        ("POST", "/v1/streams?dialect=toy", 400),
        ("POST", "/backend-api/conversation?dialect=toy", 400),
        ("POST", "/v1/streams/nowhere/continue?dialect=toy", 404),
        ("GET", "/v1/streams/nowhere?dialect=toy", 404),
    ],
)
def test_errors_before_the_first_byte_are_in_the_dialect(
    client: TestClient, method: str, path: str, status: int
) -> None:
    refused = client.request(method, path, json={} if method == "POST" else None)
    assert refused.status_code == status
    assert list(refused.json()) == ["sorry"]


@pytest.mark.parametrize("path", ["/api/openai/stream", "/v1/streams", "/backend-api/conversation"])
@pytest.mark.parametrize("name", ["klingon", "", "OpenAI"])
def test_a_dialect_that_there_is_not_is_refused_before_anything_is_asked(
    client: TestClient, path: str, name: str
) -> None:
    refused = client.post(f"{path}?dialect={name}", json=POSTS.get(path, ask("Hello")))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dialect")
    assert client.get("/backend-api/conversations").json()["items"] == []


def test_the_head_of_a_stream_is_that_of_its_get(client: TestClient) -> None:
    answer = client.post("/api/openai/stream", json=ask("Hello there"))
    location, events = answer.headers["location"], Decoder().feed(answer.content)
    head = client.head(f"{location}?dialect=toy")
    assert (head.status_code, head.headers["x-toy"], head.content) == (200, "yes", b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert client.head(location, headers={"Last-Event-ID": events[-1].id}).status_code == 204
    assert client.head(location, headers={"Last-Event-ID": "x.1"}).headers["tickertape-cursor"] == "reset"
    assert client.head("/v1/streams/nowhere").status_code == 404


def test_a_cursor_of_one_dialect_is_good_in_another(client: TestClient) -> None:
    answer = client.post("/api/openai/stream", json=ask("Hello there"))
    cursor = Decoder().feed(answer.content)[1].id
    rest = client.get(f"{answer.headers['location']}?dialect=events", headers={"Last-Event-ID": cursor})
    whole = client.get(f"{answer.headers['location']}?dialect=events")
    assert whole.text.endswith(rest.text)
    assert Decoder().feed(rest.content)[0].id.rpartition(".")[2] == "3"
