"""A provider behind the proxy that the environment names: what goes through it, and what is told when it fails."""

from __future__ import annotations

import socket

import pytest

from support.proxy import Proxy
from support.pushed import batches
from tickertape.deltas import Text
from tickertape.errors import ApiError, SettingsError
from tickertape.providers.base import ChatRequest
from tickertape.providers.openai import OpenAI
from tickertape.testing.answer import WORDS
from tickertape.testing.upstream import Upstream

ASK = ChatRequest(model="healthy", messages=[{"role": "user", "content": "hi"}])


async def answer(url: str) -> str:
    provider = OpenAI(url, "sk-secret", retries=0, connect_timeout=5)
    try:
        return "".join([d.text async for batch in batches(provider, ASK) for d in batch if isinstance(d, Text)])
    finally:
        await provider.close()


async def failure(url: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await answer(url)
    assert "secret" not in caught.value.message
    return caught.value


async def test_an_answer_comes_through_the_proxy_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream's name is the proxy's to resolve; what NO_PROXY and loopback say is not sent there."""
    async with Upstream() as upstream:
        with Proxy(upstream.port) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
            assert await answer("http://up.example/v1") == "".join(WORDS)
            [head] = proxy.asked
            assert head.startswith("POST http://up.example/v1/chat/completions HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in head
            assert await answer(upstream.url("openai")) == "".join(WORDS)
            assert len(proxy.asked) == 1


async def test_tls_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees a name and a port, and no key."""
    async with Upstream() as upstream:
        with Proxy(upstream.port) as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            error = await failure("https://up.example/v1")  # the upstream has no TLS: so far it came
            [head] = proxy.asked
            assert head.startswith("CONNECT up.example:443 HTTP/1.1\r\n")
            assert "secret" not in head
            assert "TLS" in error.message or "closed the connection" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("status", "words"), [(407, "user name and password"), (403, "403"), (503, "503")])
async def test_a_proxy_that_refuses_is_a_bad_gateway_in_words(
    monkeypatch: pytest.MonkeyPatch, scheme: str, status: int, words: str
) -> None:
    """A caller is not asked for the password of a proxy that is not theirs."""
    with Proxy(0, status=status) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        error = await failure(f"{scheme}://up.example/v1")
        assert words in error.message
        if scheme == "https":
            assert f"the proxy {proxy.url} that https_proxy names" in error.message
            assert (error.status, error.code) == (502, "upstream_unreachable")
        assert error.status != 407


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """It is the proxy that cannot be reached, not the upstream."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://me:secret@127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("ALL_PROXY", url)
        error = await failure(f"{scheme}://up.example/v1")
    named = url.replace("me:secret@", "")
    assert f"through the proxy {named} that ALL_PROXY names (connection refused)" in error.message
    assert error.message.endswith("or exempt the upstream in NO_PROXY.")
    assert error.status == 502


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1080", "not a proxy"])
def test_a_proxy_of_no_use_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A server says it when it starts; one with an upstream on this machine does not mind."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY "):
        OpenAI("https://up.example/v1")
    OpenAI("https://127.0.0.1/v1")
    OpenAI("http://up.example/v1")
