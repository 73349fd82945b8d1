"""Signing in on the page, and out again."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask, request
from support.in_process import InProcess
from tickertape.errors import ApiError
from tickertape.providers.openai import OpenAI
from tickertape.server import sessions as sessions_module
from tickertape.server.login_throttle import LoginThrottle
from tickertape.server.sessions import Sessions
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSION = "/api/session"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("locked"), api_keys=("secret", "other"), login_attempts=1000) as server:
        yield server


def sign_in(server: InProcess, key: str = "secret", **headers: str) -> dict[str, str]:
    reply = request(server.url, "POST", SESSION, {"key": key}, headers)
    assert reply.status == 204
    return {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


def status(server: InProcess, headers: dict[str, str]) -> int:
    return request(server.url, "GET", "/v1/models", headers=headers).status


def test_who_signs_out_is_out_everywhere_and_others_stay(locked: InProcess) -> None:
    one, another = sign_in(locked), sign_in(locked)
    assert one != another, "the token is not random"
    assert (status(locked, one), status(locked, another)) == (200, 200)
    out = request(locked.url, "DELETE", SESSION, headers=one)
    assert out.status == 204
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert (status(locked, one), status(locked, another)) == (401, 200)
    assert request(locked.url, "DELETE", SESSION, headers=one).status == 204, "again does nothing"
    assert request(locked.url, "DELETE", SESSION).status == 204


def test_a_session_outlives_a_restart_and_is_seen_by_every_worker_but_not_without_its_key(tmp_path: Path) -> None:
    with InProcess(tmp_path, api_keys=("secret", "other")) as first:
        cookie = sign_in(first)
        with InProcess(tmp_path, api_keys=("secret",)) as neighbour:
            assert status(neighbour, cookie) == 200
            request(neighbour.url, "DELETE", SESSION, headers=sign_in(first))
    with InProcess(tmp_path, api_keys=("secret", "new")) as again:
        assert status(again, cookie) == 200
    with InProcess(tmp_path, api_keys=("other",)) as without:
        assert status(without, cookie) == 401, "the key was taken away, and its sessions live on"


def test_a_session_is_for_its_owner_only(locked: InProcess) -> None:
    mine, others = sign_in(locked), sign_in(locked, "other")
    made = request(locked.url, "POST", "/v1/streams", ask("mine"), mine)
    assert request(locked.url, "GET", made.headers["location"], headers=mine).status == 200
    assert request(locked.url, "GET", made.headers["location"], headers=others).status == 404


def test_nothing_on_the_disk_signs_anybody_in(tmp_path: Path) -> None:
    kept = Sessions(tmp_path, 1000)
    token = kept.begin("key-1")
    assert kept.owner(token) == "key-1"
    [file] = (tmp_path / "sessions").iterdir()
    assert token not in file.name + file.read_text()
    assert kept.owner(file.name) is None
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    for wrong in ("", "../../chats.db", "x" * 4000, "é"):
        assert kept.owner(wrong) is None
    file.write_text("{")
    assert kept.owner(token) is None


def test_a_session_ends_after_its_time_and_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = sessions_module.time.time()
    kept = Sessions(tmp_path, 1000)
    token = kept.begin("key-1")
    monkeypatch.setattr(sessions_module.time, "time", lambda: now + 999)
    assert kept.owner(token) == "key-1"
    monkeypatch.setattr(sessions_module.time, "time", lambda: now + 1001)
    assert kept.owner(token) is None
    kept.begin("key-1")
    assert len(list((tmp_path / "sessions").iterdir())) == 1


def test_sessions_without_number_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MOST", 5)
    kept = Sessions(tmp_path, 1000)
    tokens = [kept.begin("key-1") for _ in range(12)]
    assert len(list((tmp_path / "sessions").iterdir())) == 5
    assert kept.owner(tokens[-1]) == "key-1"


def test_a_session_that_cannot_be_kept_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text("not a folder")
    with pytest.raises(ApiError, match="cannot keep a session now") as refused:
        Sessions(tmp_path, 1000).begin("key-1")
    assert refused.value.status == 503


def test_a_server_without_keys_has_nothing_to_sign_in_to(tmp_path: Path) -> None:
    with InProcess(tmp_path) as server:
        for key in ("secret", ""):
            reply = request(server.url, "POST", SESSION, {"key": key})
            assert (reply.status, reply.error["code"]) == (400, "no_keys")
            assert "set-cookie" not in reply.headers


def test_guesses_are_limited_and_logged_and_the_right_key_has_to_wait_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"api_keys": ("secret",), "login_attempts": 3, "trusted_proxies": ("127.0.0.1",)}
    with InProcess(tmp_path, **settings) as server, caplog.at_level(logging.INFO, "tickertape"):
        guesser, other = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "203.0.113.10"}
        for _ in range(3):
            assert request(server.url, "POST", SESSION, {"key": "guess"}, guesser).status == 401
        for key in ("guess", "secret"):
            reply = request(server.url, "POST", SESSION, {"key": key}, guesser)
            assert (reply.status, reply.error["code"]) == (429, "too_many_logins")
            assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert sign_in(server, **other)
        assert status(server, guesser | {"Authorization": "Bearer secret"}) == 200, "programs are not held up"
    logged = [record.getMessage() for record in caplog.records if "login" in record.getMessage()]
    assert [line.split(",")[0] for line in logged[:3]] == ["A login from 203.0.113.9 failed"] * 3
    assert "it has to wait now" in logged[2]
    assert logged[3].startswith("A login from 203.0.113.10 as key-")
    assert "secret" not in caplog.text
    assert "guess" not in caplog.text


def test_failures_are_forgotten_after_a_minute_and_one_customers_ipv6_addresses_are_one() -> None:
    now = 0.0
    logins = LoginThrottle(2, lambda: now)
    logins.failed("2001:db8::1")
    logins.failed("2001:db8::2")
    with pytest.raises(ApiError, match="Try again in 60 s"):
        logins.check("2001:db8:0:0:ffff::3")
    logins.check("2001:db8:0:1::1")
    now = 59.5
    with pytest.raises(ApiError, match="Try again in 1 s"):
        logins.check("2001:db8::1")
    now = 60.5
    logins.check("2001:db8::1")
    logins.failed("unknown")
    logins.succeeded("unknown", "key-1")
    logins.failed("unknown")
    logins.check("unknown")


def test_the_cookie_is_secure_where_the_reader_has_https(tmp_path: Path) -> None:
    with InProcess(tmp_path, api_keys=("secret",), trusted_proxies=("127.0.0.1",), root_path="/chat") as server:
        for protocol, secure in (("https", True), ("http", False), ("gopher", False)):
            reply = request(server.url, "POST", SESSION, {"key": "secret"}, {"X-Forwarded-Proto": protocol})
            flags = reply.headers["set-cookie"].split("; ")[1:]
            assert {"Path=/chat/", "HttpOnly", "SameSite=Strict", "Max-Age=2592000"} <= set(flags)
            assert ("Secure" in flags) is secure


@pytest.mark.parametrize("stream", [True, False])
def test_an_upstream_that_refuses_its_key_does_not_look_like_a_wrong_key_of_ours(tmp_path: Path, stream: bool) -> None:
    with Upstream() as upstream, InProcess(tmp_path, OpenAI(upstream.url("openai"), "sk-x"), api_keys=("a",)) as server:
        bearer = {"Authorization": "Bearer a"}
        theirs = request(server.url, "POST", "/v1/chat/completions", ask("hi", model="bad-key", stream=stream), bearer)
        ours = request(server.url, "POST", "/v1/chat/completions", ask("hi", model="bad-key", stream=stream))
        assert (theirs.status, ours.status) == (401, 401)
        assert ours.error["code"] == "invalid_api_key"
        assert theirs.error["code"].startswith("upstream_")
        assert ours.headers["www-authenticate"] == "Bearer"
        assert "www-authenticate" not in theirs.headers


@pytest.mark.parametrize(
    "body", [{"error": {"message": "No.", "code": "invalid_api_key"}}, {"error": "invalid_api_key"}]
)
def test_no_upstream_can_use_our_code(body: Any) -> None:
    from tickertape.providers.upstream_errors import UpstreamErrors

    words = UpstreamErrors("openai", "sk-x")
    assert words.refused(401, json.dumps(body).encode(), {}, "m").code != "invalid_api_key"
    assert words.reported(body).code != "invalid_api_key"
