"""The upstream misbehaves, and the reader is told the truth: by the status if it is known in time, else in-stream."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask, open_stream, request

from .readers import check_dense, check_end
from .server import Connection, FaultServer, events, silence, status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serve
    from support.server import Server

    from .server import Script

MODELS = status(200, b'{"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "x"}]}')


def chunk(content: str = "", reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": reason}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def served(serve: Serve, upstream: FaultServer, play: Any) -> tuple[Server, Script]:
    """Start a server whose upstream plays this for every question."""

    def answer(connection: Connection) -> None:
        (MODELS if connection.request.method == "GET" else play)(connection)

    script = upstream.serve(answer, path="/v1")
    return serve(f"--upstream={script.url}", provider="openai"), script


def test_tt10_an_error_that_comes_at_once_is_the_status(serve: Serve, upstream: FaultServer) -> None:
    play = status(429, b'{"error": {"message": "Slow down.", "type": "rate_limit"}}', Retry_After="7")
    server, _ = served(serve, upstream, play)
    for route in ("/api/openai/stream", "/v1/chat/completions"):
        reply = request(server.url, "POST", route, ask("hi"))
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        assert "Slow down." in reply.error["message"]


def test_tt10_an_error_after_some_text_ends_the_stream_without_done(serve: Serve, upstream: FaultServer) -> None:
    play = events(chunk("Hel"), chunk("lo"), b'data: {"error": {"message": "The model fell over.", "code": 500}}\n\n')
    server, _ = served(serve, upstream, play)
    with open_stream(server.url, "POST", "/api/openai/stream", ask("hi")) as stream:
        assert stream.read().complete
    assert check_end(check_dense(stream.id, stream.body), "failed") == "Hello"
    assert b"The model fell over." in stream.body
    whole = request(server.url, "POST", "/v1/chat/completions", ask("hi"))
    assert whole.status >= 500
    assert whole.json()["error"]["text"] == "Hello"


@pytest.mark.parametrize("chunked", [True, False])
def test_tt3_an_upstream_that_ends_without_saying_so_makes_no_whole_answer(
    serve: Serve, upstream: FaultServer, chunked: bool
) -> None:
    server, _ = served(serve, upstream, events(chunk("Hel"), chunk("lo"), chunked=chunked))
    with open_stream(server.url, "POST", "/api/openai/stream", ask("hi")) as stream:
        assert stream.read().complete
    assert check_end(check_dense(stream.id, stream.body), "incomplete") == "Hello"
    whole = request(server.url, "POST", "/v1/chat/completions", ask("hi"))
    assert (whole.status, whole.json()["error"]["code"]) == (502, "incomplete")


@pytest.mark.parametrize("text", ["", "Hel"], ids=["before the first token", "after some text"])
def test_tt5_stop_closes_the_upstream_call_and_keeps_the_text(serve: Serve, upstream: FaultServer, text: str) -> None:
    """Guards: that a stop cancels the provider's call, also while it waits for the first token."""
    server, script = served(serve, upstream, silence(chunk(text) if text else b""))
    with open_stream(server.url, "POST", "/api/openai/stream", ask("hi")) as stream:
        stream.until(lambda stream: len(stream.events) > len(text) // 3)
        assert not script.closed_by_client.is_set()
        first = request(server.url, "POST", f"/v1/streams/{stream.id}/cancel").json()
        again = request(server.url, "DELETE", f"/v1/streams/{stream.id}").json()
        assert stream.read().complete
    assert script.closed_by_client.wait(60)
    assert check_end(check_dense(stream.id, stream.body), "cancelled") == text
    assert (first["state"], first["text"]) == ("cancelled", text)
    assert first == again


def test_tt5_the_first_event_comes_before_the_first_token(serve: Serve, upstream: FaultServer) -> None:
    """Guards: that a cut at any moment can be resumed, even while the upstream still thinks. TT-5, TT-9."""
    server, _script = served(serve, upstream, silence())
    go_on = {"Tickertape-Disconnect": "continue"}  # else it comes when the answer is given up
    with open_stream(server.url, "POST", "/api/openai/stream", ask("hi"), go_on) as stream:
        stream.until(lambda stream: len(stream.events) == 1)
        cursor = {"Last-Event-ID": stream.last_event_id}
    with open_stream(server.url, "GET", f"/v1/streams/{stream.id}", headers=cursor) as again:
        assert again.status == 200
        request(server.url, "POST", f"/v1/streams/{stream.id}/cancel")
        assert stream.body + again.read().body == request(server.url, "GET", f"/v1/streams/{stream.id}").body


def test_tt6_a_post_that_is_cut_before_the_head_and_sent_again_asks_the_upstream_once(
    serve: Serve, upstream: FaultServer
) -> None:
    """Guards: that a stream outlives the request that began it, and that the key finds it."""
    asked: list[Connection] = []

    def slow(connection: Connection) -> None:
        asked.append(connection)
        events(chunk("Hello"), chunk(reason="stop"), b"data: [DONE]\n\n")(connection)

    server, script = served(serve, upstream, slow)
    key = {"Idempotency-Key": "k", "Tickertape-Disconnect": "continue"}

    def post(_number: int) -> str:
        with open_stream(server.url, "POST", "/api/openai/stream", ask("hi"), key) as stream:
            stream.take(_number * 10)
            return stream.id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(post, range(30)))
    assert len(ids) == 1
    assert len(asked) == sum(asked.method == "POST" for asked in script.requests) == 1
