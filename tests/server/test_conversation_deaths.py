"""The server is killed at any moment while conversations go on: what was asked is kept, and nothing is asked twice."""

from __future__ import annotations

import http.client
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support.conversations import CONVERSATION, finished, listed, place, tree
from support.http import open_stream, request, texts

if TYPE_CHECKING:
    from conftest import Serve
    from support.server import Server

SHOW = {"Accept": "application/json"}


def body_of(number: int) -> dict[str, Any]:
    """Return a request with ids of its own, so that it can be repeated; its answer is its text."""
    asked = [{"id": f"{number:032x}", "role": "user", "content": f"q{number} " + "word " * 20}]
    return {"messages": asked, "conversation_id": f"c{number:031x}", "message_id": f"a{number:031x}"}


def post(server: Server, number: int) -> bool:
    """Ask; say whether the first event came, which a killed server may not send."""
    try:
        with open_stream(server.url, "POST", CONVERSATION, body_of(number)) as stream:
            return bool(stream.read().events)
    except (OSError, http.client.HTTPException):
        return False


def check(server: Server, number: int) -> str:
    """Return the state of the answer, which must agree with the log; "unknown" if it was never asked."""
    chat = f"c{number:031x}"
    if request(server.url, "GET", f"{CONVERSATION}/{chat}").status == 404:
        return "unknown"
    answer = finished(server.url, {"conversation_id": chat, "message_id": f"a{number:031x}"})
    assert len(tree(server.url, chat)["mapping"]) == 2
    if answer["streams"]:
        (stream,) = answer["streams"]
        logged = request(server.url, "GET", f"/v1/streams/{stream}", headers=SHOW).json()
        assert (answer["state"], answer["text"]) == (logged["state"], logged["text"])
    else:
        assert (answer["state"], answer["text"]) == ("lost", "")
    assert f"q{number} {'word ' * 20}".startswith(answer["text"])
    return str(answer["state"])


AT_ONCE = 4


def live_through(server: Server, deaths: int, dice: random.Random) -> None:
    number = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(deaths):
            asked = range(number, number + AT_ONCE)
            number += AT_ONCE
            posts = [pool.submit(post, server, each) for each in asked]
            with suppress(OSError, http.client.HTTPException):  # some way into it: after so many other requests
                for _ in range(dice.randrange(40)):
                    request(server.url, "GET", "/healthz")
            server.kill()
            told = [done.result() for done in posts]
            server.start()
            states = [check(server, each) for each in asked]
            for each, first, state in zip(asked, told, states, strict=True):
                assert not (first and state == "unknown"), "a question whose answer had begun is gone"
                with open_stream(server.url, "POST", CONVERSATION, body_of(each)) as again:
                    again.read()
                if again.status == 200:
                    assert place(again)["message_id"] == f"a{each:031x}"
                else:  # it died before its first word
                    assert (again.status, state) == (503, "lost")
                wanted = "completed" if state in ("unknown", "completed") else None
                final = check(server, each)
                assert final == (wanted or final)
                if final == "completed":
                    assert texts(again.events) == f"q{each} {'word ' * 20}"
    assert len(listed(server.url, "?limit=100")) == min(number, 100)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whenever_the_server_dies_every_question_is_kept_and_asked_once(serve: Serve, workers: str) -> None:
    live_through(serve(f"--workers={workers}", echo_rate=200), 2, random.Random(int(workers)))


@pytest.mark.soak
def test_through_fifty_deaths_every_question_is_kept_and_asked_once(serve: Serve) -> None:
    live_through(serve("--workers=2", echo_rate=200), 50, random.Random(3))
