"""Who may come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.http import ask, open_stream, request

if TYPE_CHECKING:
    from conftest import Serve
    from support.server import Server

BEARER = {"Authorization": "Bearer secret"}


@pytest.fixture
def locked(serve: Serve) -> Server:
    return serve("--api-key=secret", "--api-key=other")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_foreign_host_is_refused(echo_server: Server, host: str) -> None:
    """DNS rebinding: a page's own name made to point to loopback."""
    reply = request(echo_server.url, "GET", "/v1/models", headers={"Host": host})
    assert (reply.status, reply.error["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:9", "[::1]:80"])
def test_every_name_of_this_machine_is_welcome(echo_server: Server, host: str) -> None:
    assert request(echo_server.url, "GET", "/v1/models", headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_is_refused(echo_server: Server, origin: str) -> None:
    reply = request(echo_server.url, "POST", "/api/openai/stream", ask("hi"), {"Origin": origin})
    assert (reply.status, reply.error["code"]) == (403, "wrong_origin")


def test_the_own_page_is_welcome(echo_server: Server) -> None:
    reply = request(echo_server.url, "POST", "/api/openai/stream", ask("hi"), {"Origin": echo_server.url})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({}, "wants a key"),
        ({"Authorization": "Bearer wrong"}, "is not one of the server's"),
        ({"Authorization": "Basic secret"}, "wants a key"),
        ({"Cookie": "tickertape_session=x"}, "wants a key"),
    ],
)
def test_without_a_key_nothing_is_answered(locked: Server, header: dict[str, str], says: str) -> None:
    reply = request(locked.url, "POST", "/api/openai/stream", ask("hi"), header)
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert says in reply.error["message"]
    assert reply.headers["www-authenticate"] == "Bearer"
    for path in ("/v1/models", "/metrics", "/v1/streams/x"):
        assert request(locked.url, "GET", path, headers=header).status == 401
    for path in ("/", "/healthz"):
        assert request(locked.url, "GET", path, headers=header).status == 200


def test_a_key_opens_and_a_stream_is_for_its_owner_only(locked: Server) -> None:
    with open_stream(locked.url, "POST", "/api/openai/stream", ask("mine"), BEARER) as stream:
        stream.read()
    path = f"/v1/streams/{stream.id}"
    assert request(locked.url, "GET", path, headers=BEARER).body == stream.body
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/cancel")):
        foreign = request(locked.url, method, where, headers={"Authorization": "Bearer other"})
        assert (foreign.status, foreign.error["code"]) == (404, "unknown_stream")


def test_a_key_is_exchanged_for_a_cookie_because_eventsource_sends_no_headers(locked: Server) -> None:
    wrong = request(locked.url, "POST", "/api/session", {"key": "wrong"})
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    assert request(locked.url, "POST", "/api/session", {"kex": 1}).status == 400
    right = request(locked.url, "POST", "/api/session", {"key": "secret"})
    cookie = right.headers["set-cookie"]
    assert right.status == 204
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "secret" not in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert request(locked.url, "GET", "/v1/models", headers=session).status == 200


def test_the_same_key_of_two_owners_makes_two_answers(locked: Server) -> None:
    made = set()
    for secret in ("secret", "other"):
        headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k"}
        made.add(request(locked.url, "POST", "/v1/streams", ask("hi"), headers).json()["id"])
    assert len(made) == 2


def test_every_loopback_address_has_the_wall(serve: Serve) -> None:
    server = serve("--host=127.0.0.2")
    url = f"http://127.0.0.2:{server.port}"
    assert request(url, "GET", "/v1/models").status == 200
    assert request(url, "GET", "/v1/models", headers={"Host": "evil.example"}).status == 421


def test_a_session_request_as_deep_as_it_gets_is_refused(locked: Server) -> None:
    reply = request(locked.url, "POST", "/api/session", b"[" * 4000, {"Content-Type": "application/json"})
    assert (reply.status, reply.error["param"]) == (400, "key")
