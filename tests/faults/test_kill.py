"""The server dies, as by a power cut (kill -9), and is started again.

One oracle: the echo model answers with the question, so every text is known; what any reader ever got is the
beginning of what the log holds, byte for byte.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.http import ask, open_stream, request

from .readers import check_dense, check_end, read_in_pieces, resume, whole_events

if TYPE_CHECKING:
    from conftest import Serve
    from support.http import Stream
    from support.server import Server

SHOW = {"Accept": "application/json"}
GO_ON = {"Tickertape-Disconnect": "continue"}


def words(name: object, count: int = 3000) -> str:
    return " ".join(f"{name}/{number}" for number in range(count))


def begin(server: Server, text: str) -> Stream:
    stream = open_stream(server.url, "POST", "/api/openai/stream", ask(text), GO_ON)
    assert stream.status == 200
    return stream


def test_tt4_a_killed_server_keeps_the_text_ends_the_answer_as_lost_and_readers_go_on_where_they_were(
    serve: Serve,
) -> None:
    """Guards: commit before delivery; the reaping at the start; one terminal event. TT-1, TT-2, TT-3, TT-4."""
    server = serve(echo_rate=100)
    with ExitStack() as connections:
        streams = {words(n): connections.enter_context(begin(server, words(n))) for n in range(12)}
        for number, stream in enumerate(streams.values()):
            stream.until(lambda stream: len(stream.events) > number)  # noqa: B023 - called at once
        server.kill()
        for stream in streams.values():
            assert not stream.read().complete, "the reader was told that this was all"
            assert b"[DONE]" not in stream.body
    server.start()
    for text, stream in streams.items():
        had = whole_events(stream.body)
        with resume(server.url, stream.id, had) as rest:
            rest.read()
        assert (rest.status, rest.complete) == (200, True)
        logged = request(server.url, "GET", f"/v1/streams/{stream.id}").body
        assert had + rest.body == logged
        partial = check_end(check_dense(stream.id, logged), "lost")
        assert text.startswith(partial)
        assert len(partial) > 0
        snapshot = request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).json()
        assert (snapshot["state"], snapshot["text"], snapshot["finish_reason"]) == ("lost", partial, None)
        assert snapshot["error"]["code"] == "lost"
        with resume(server.url, stream.id, logged) as after:
            assert after.status == 204


def test_tt1_three_deaths_change_not_one_byte_of_what_was_read_before(serve: Serve) -> None:
    """Guards: that a restart folds, and does not rewrite, what is in the log. TT-1, TT-3."""
    server = serve(echo_rate=500)
    known: dict[str, tuple[str, bytes]] = {}
    for death in range(3):
        with begin(server, f"short {death}") as short:
            known[short.id] = "completed", short.read().body
        with begin(server, words(death)) as stream:
            stream.until(lambda stream: len(stream.events) > 5)
            server.kill()
            stream.read()
        server.start()
        logged = request(server.url, "GET", f"/v1/streams/{stream.id}").body
        assert logged.startswith(whole_events(stream.body))
        known[stream.id] = "lost", logged
        for stream_id, (state, body) in known.items():
            assert request(server.url, "GET", f"/v1/streams/{stream_id}").body == body
            check_end(check_dense(stream_id, body), state)


def test_tt6_after_a_death_a_repeated_post_attaches_to_the_lost_answer_and_generates_nothing(serve: Serve) -> None:
    """Guards: that key and stream are stored in one transaction. TT-6."""
    server = serve(echo_rate=100)
    key = {"Idempotency-Key": "once"} | GO_ON
    with open_stream(server.url, "POST", "/api/openai/stream", ask(words("a")), key) as stream:
        stream.until(lambda stream: len(stream.events) > 5)
        server.kill()
    server.start()
    with open_stream(server.url, "POST", "/api/openai/stream", ask(words("a")), key) as again:
        again.read()
    assert again.id == stream.id
    assert again.body.startswith(whole_events(stream.body))
    check_end(check_dense(stream.id, again.body), "lost")
    assert request(server.url, "POST", "/api/openai/stream", ask("b"), key).status == 422
    assert b'answers_total{state="completed"}' not in request(server.url, "GET", "/metrics").body


def test_tt1_readers_cut_at_any_byte_of_a_running_answer_read_exactly_the_log(serve: Serve) -> None:
    """Guards: the cursor; that a reader who leaves changes nothing for others. TT-1, TT-5."""
    server = serve(echo_rate=150)
    text = words("cut", 200)
    with begin(server, text) as stream, ThreadPoolExecutor(6) as pool:
        pieces = [pool.submit(read_in_pieces, server.url, stream.id, random.Random(number)) for number in range(6)]
        stream.read()
        assert stream.complete
        for piece in pieces:
            assert piece.result() == stream.body
    assert check_end(check_dense(stream.id, stream.body), "completed") == text
    assert request(server.url, "GET", f"/v1/streams/{stream.id}").body == stream.body


def test_tt1_a_reader_cut_at_every_boundary_and_beside_it_goes_on_byte_exact(echo_server: Server) -> None:
    """Guards: the id is taken when the event is complete, not when its line was read. TT-1."""
    with begin(echo_server, "Hä? 😀 " + words("x", 150)) as stream:
        stream.read()
    body = stream.body
    boundaries = [place for place in range(len(body) + 1) if body[:place].endswith(b"\n\n")]
    lines = [place for place in range(len(body) + 1) if body[:place].endswith(b"\n")]
    dice = random.Random(1)
    cuts = {0, 1, len(body), *boundaries, *(place + step for place in lines for step in (-1, 1))}
    cuts |= {dice.randrange(len(body)) for _ in range(50)}
    for cut in sorted(cut for cut in cuts if cut <= len(body)):
        had = whole_events(body[:cut])
        with resume(echo_server.url, stream.id, body[:cut]) as rest:
            rest.read()
        assert rest.status == (204 if had == body else 200)
        assert had + rest.body == body, f"cut after {cut} bytes"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tt6_fifty_posts_at_once_with_one_key_make_one_answer(serve: Serve, workers: str) -> None:
    """Guards: the claim of a key inside the transaction that makes the stream. TT-6, TT-1."""
    server = serve(f"--workers={workers}", echo_rate=100)
    routes = ["/api/openai/stream", "/v1/chat/completions"]
    body = ask(words("once", 40), stream=True)

    def post(number: int) -> tuple[str, bytes]:
        key = {"Idempotency-Key": "fifty"}
        with open_stream(server.url, "POST", routes[number % 2], body, key) as stream:
            assert stream.status == 200
            assert stream.read().complete
            return stream.id, stream.body

    with ThreadPoolExecutor(50) as pool:
        answers = set(pool.map(post, range(50)))
    assert len(answers) == 1
    ((stream_id, said),) = answers
    assert check_end(check_dense(stream_id, said), "completed") == words("once", 40)


def test_tt8_a_reader_that_does_not_read_costs_nobody_anything_and_gets_every_byte_later(serve: Serve) -> None:
    """Guards: that a slow reader is an index, not a queue, and that the flush parks it. TT-8, TT-1."""
    server = serve()
    text = words("slow", 60_000)
    made = request(server.url, "POST", "/v1/streams", ask(text)).json()
    lazy = [open_stream(server.url, "GET", made["url"]) for _ in range(5)]
    with open_stream(server.url, "GET", made["url"]) as quick:
        assert quick.read().complete
    assert check_end(check_dense(made["id"], quick.body), "completed") == text
    assert request(server.url, "POST", "/v1/chat/completions", ask("hi")).status == 200
    for reader in lazy:
        with reader:
            assert reader.read().complete
            assert reader.body == quick.body
