"""The limits as a caller meets them: a place in the line, then 429 and when to come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.http import ask, open_stream, request

if TYPE_CHECKING:
    from conftest import Serve
    from support.http import Stream
    from support.server import Server

LONG = "word " * 5000
SHOW = {"Accept": "application/json"}
GO_ON = {"Tickertape-Disconnect": "continue"}


def place(server: Server, stream_id: str) -> int:
    return int(request(server.url, "GET", f"/v1/streams/{stream_id}", headers=SHOW).json()["queued"])


def waits(stream: Stream) -> bool:
    return b": queued, " in stream.body


def test_who_waits_in_line_is_told_the_place_and_who_finds_it_full_when_to_come_again(serve: Serve) -> None:
    server = serve("--set=limits.running=1", "--set=limits.waiting=2", echo_rate=50)
    with ExitStack() as connections:

        def begin() -> Stream:
            return connections.enter_context(open_stream(server.url, "POST", "/api/openai/stream", ask(LONG), GO_ON))

        first = begin()
        first.until(lambda stream: len(stream.events) > 1)
        second = begin()
        second.until(waits)
        third = begin()
        third.until(waits)
        assert b": queued, 0 before you\n" in second.body
        assert b": queued, 1 before you\n" in third.body
        assert [place(server, stream.id) for stream in (first, second, third)] == [0, 1, 2]
        for route in ("/api/openai/stream", "/v1/chat/completions", "/v1/streams"):
            refused = request(server.url, "POST", route, ask("hi"))
            assert (refused.status, refused.headers["retry-after"], refused.error["code"]) == (
                429,
                "5",
                "too_many_answers",
            )
        request(server.url, "DELETE", f"/v1/streams/{first.id}")
        second.until(lambda stream: len(stream.events) > 1)
        third.until(lambda stream: b": queued, 0 before you\n" in stream.body)
        assert [place(server, stream.id) for stream in (second, third)] == [0, 1]
        for stream in (second, third):
            request(server.url, "DELETE", f"/v1/streams/{stream.id}")
            assert stream.read().complete


@pytest.mark.parametrize(
    ("limit", "says"), [("events=20", "20 events"), ("size=100", "100 bytes"), ("seconds=0.2", "0.2 seconds")]
)
def test_an_answer_that_takes_too_much_ends_failed_with_the_limit_and_its_text(
    serve: Serve, limit: str, says: str
) -> None:
    server = serve(f"--set=limits.{limit}", echo_rate=100)
    with open_stream(server.url, "POST", "/api/openai/stream", ask(LONG)) as stream:
        assert stream.read().complete
    snapshot = request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).json()
    assert (snapshot["state"], snapshot["error"]["code"]) == ("failed", "answer_too_long")
    assert f"more than {says}, the limit of this server" in snapshot["error"]["message"]
    assert snapshot["text"].startswith("word word")


def test_an_owner_with_as_many_answers_as_allowed_is_told_and_other_owners_are_not(serve: Serve) -> None:
    server = serve("--set=limits.per_owner=2", "--api-key=ann", "--api-key=ben", echo_rate=50)
    keys = {name: {"Authorization": f"Bearer {name}"} for name in ("ann", "ben")}
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda _n: request(server.url, "POST", "/v1/streams", ask(LONG), keys["ann"]), range(20))
        )
    assert sorted(reply.status for reply in replies) == [202] * 2 + [429] * 18
    assert request(server.url, "POST", "/v1/streams", ask("hi"), keys["ben"]).status == 202


def test_how_soon_the_upstream_was_closed_after_a_stop_is_shown_logged_and_counted(serve: Serve) -> None:
    server = serve("--log-level=debug", echo_rate=50)
    with open_stream(server.url, "POST", "/api/openai/stream", ask(LONG), GO_ON) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
        stopped = request(server.url, "DELETE", f"/v1/streams/{stream.id}").json()
    assert 0 <= stopped["closed_after_ms"] < 60_000
    assert f"Stream {stream.id}: upstream closed {stopped['closed_after_ms']:g} ms after stop" in server.stderr
    figures = request(server.url, "GET", "/metrics").body
    assert b"\ntickertape_upstream_close_seconds_count 1\n" in figures
    assert b"\ntickertape_upstream_close_seconds_sum " in figures
