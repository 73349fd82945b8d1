"""Both clients behind the proxy that the environment names."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from support.proxy import Proxy
from tickertape.errors import ConnectionFailed
from tickertape.sse.actions import Policy
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from .conftest import Client

AT_ONCE = Policy(await_server=False)


def test_a_question_goes_through_the_proxy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is sent to it; what NO_PROXY lists and this machine are asked directly."""
    with Upstream() as upstream, Proxy(upstream.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://me:p%40ss@"))
        asked = client.ask("http://up.example/v1", "hi", model="healthy")
        assert asked.error is None
        assert asked.answer.finish_reason == "stop"
        [head] = proxy.asked
        assert head.startswith("POST http://up.example/v1/chat/completions HTTP/1.1\r\n")
        assert "proxy-authorization: basic bwu6cebzcw==\r\n" in head.lower()
        assert client.ask(upstream.url("openai"), "hi", model="healthy").error is None
        assert len(proxy.asked) == 1


def test_tls_goes_through_a_tunnel(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for a connection, and no more."""
    with Upstream() as upstream, Proxy(upstream.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        outcome = client.read("https://up.example/events", policy=AT_ONCE, waits=1, max_retries=0)
        assert proxy.asked[0].startswith("CONNECT up.example:443 HTTP/1.")
        assert outcome.error is not None  # the upstream has no TLS: so far it came


def test_a_proxy_that_wants_a_password_is_final(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking again would bring the same."""
    for scheme in ("http", "https"):
        with Proxy(0, status=407) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            outcome = client.read(f"{scheme}://up.example/events")
            assert isinstance(outcome.error, ConnectionFailed)
            assert "407" in str(outcome.error)
            assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(client: Client, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """It is the proxy that cannot be reached, and it may come back like a server."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("ALL_PROXY", url)
        outcome = client.read(f"{scheme}://up.example/events", policy=AT_ONCE)
        assert isinstance(outcome.error, ConnectionFailed)
        assert str(outcome.error).endswith(
            f"refused (through the proxy {url.replace('me:secret@', '')} that ALL_PROXY names)."
        )
        assert client.read(f"{scheme}://up.example/events", waits=1).reconnecting


@pytest.mark.parametrize("value", ["socks5://me:secret@h.example:1080", "not a proxy"])
def test_a_proxy_of_no_use_is_final_and_named(client: Client, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Its variable is in the sentence, its password is not."""
    monkeypatch.setenv("ALL_PROXY", value)
    outcome = client.read("http://up.example/events")
    assert isinstance(outcome.error, ConnectionFailed)
    assert "ALL_PROXY " in str(outcome.error)
    assert "secret" not in str(outcome.error)
    monkeypatch.setenv("NO_PROXY", "*.example")
    assert "ALL_PROXY" not in str(client.read("http://up.invalid.example/events", policy=AT_ONCE).error)
