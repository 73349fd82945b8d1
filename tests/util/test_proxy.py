"""The proxy that the environment names for a URL: which variable counts, what is exempt, and what is of no use."""

from __future__ import annotations

import os

import pytest

from tickertape.errors import SettingsError
from tickertape.util import proxy
from tickertape.util.proxy import proxy_for

P = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Start every test without a proxy."""
    for name in (*os.environ,):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    return monkeypatch


def named(monkeypatch: pytest.MonkeyPatch, url: str, **variables: str) -> str | None:
    """Return the proxy's URL for these variables."""
    with monkeypatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        found = proxy_for(url)
    return None if found is None else found.url


def test_the_variable_of_the_scheme_counts_then_all_and_lower_case_comes_first(
    environment: pytest.MonkeyPatch,
) -> None:
    """Where they differ, the more specific one and the lower-case one win; one that is empty means none."""
    a, b = "http://a.example:1", "http://b.example:2"
    http, https = "http://up.example/v1", "https://up.example/v1"
    assert named(environment, http) is None
    assert named(environment, http, HTTPS_PROXY=a) is None
    assert named(environment, https, HTTPS_PROXY=a, HTTP_PROXY=b) == a
    assert named(environment, http, HTTPS_PROXY=a, HTTP_PROXY=b) == b
    for url in (http, https):
        assert named(environment, url, ALL_PROXY=a) == a
        assert named(environment, url, all_proxy=a, ALL_PROXY=b) == a
    assert named(environment, https, https_proxy=a, HTTPS_PROXY=b, ALL_PROXY=b) == a
    assert named(environment, https, HTTPS_PROXY=a, ALL_PROXY="socks5://b:1") == a
    assert named(environment, https, https_proxy="", HTTPS_PROXY=b, ALL_PROXY=b) is None
    assert named(environment, https, HTTPS_PROXY=" ") is None


def test_the_header_of_a_cgi_server_is_no_proxy(environment: pytest.MonkeyPatch) -> None:
    """A caller could name a proxy with its header Proxy: there."""
    assert named(environment, "http://up.example", HTTP_PROXY=P, REQUEST_METHOD="GET") is None
    assert named(environment, "http://up.example", http_proxy=P, REQUEST_METHOD="GET") == P


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://proxy.example:3128", P),
        ("HTTP://proxy.example:3128/", P),
        ("proxy.example:3128", P),
        ("http://proxy.example", "http://proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("http://[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_a_proxy_is_a_url_or_a_host_and_port(environment: pytest.MonkeyPatch, value: str, url: str) -> None:
    """As curl takes it."""
    assert named(environment, "https://up.example", HTTPS_PROXY=value) == url


def test_a_user_and_password_are_sent_and_never_shown(environment: pytest.MonkeyPatch) -> None:
    """They may hold any character, escaped."""
    environment.setenv("HTTPS_PROXY", "http://me%40home:s%3Acret%C3%A9@proxy.example:3128")
    found = proxy_for("https://up.example")
    assert found is not None
    assert (found.url, found.user, found.password) == (P, "me@home", "s:cret\u00e9")
    assert found.authorization == "Basic bWVAaG9tZTpzOmNyZXTDqQ=="
    assert str(found) == "the proxy http://proxy.example:3128 that HTTPS_PROXY names"


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks"])
def test_a_socks_proxy_is_named_as_what_cannot_be_used(environment: pytest.MonkeyPatch, scheme: str) -> None:
    """The sentence names the variable, the proxy without its password, and what to do."""
    environment.setenv("ALL_PROXY", f"{scheme}://me:secret@proxy.example:1080")
    with pytest.raises(SettingsError) as caught:
        proxy_for("https://up.example")
    assert str(caught.value) == (
        f"ALL_PROXY names a SOCKS proxy ({scheme}://proxy.example:1080), and only HTTP proxies can be used. "
        "Name one in HTTPS_PROXY, or exempt the host in NO_PROXY."
    )
    environment.setenv("NO_PROXY", "up.example")
    assert proxy_for("https://up.example") is None
    assert proxy_for("http://localhost:11434") is None


@pytest.mark.parametrize(
    "value", ["http://", "ftp://h:1", "http://h:99999", "http://h:x", "http://a b:1", "://", "\x7f"]
)
def test_a_value_that_is_no_proxy_is_named(environment: pytest.MonkeyPatch, value: str) -> None:
    """The variable that is wrong is in the sentence, and what it should be like; a password is not."""
    environment.setenv("HTTPS_PROXY", value.replace("://", "://me:secret@"))
    with pytest.raises(
        SettingsError, match=r"^HTTPS_PROXY is not the URL of a proxy: .* like http://host:3128"
    ) as caught:
        proxy_for("https://up.example")
    assert "secret" not in str(caught.value)


EXEMPT = [
    *[("*", url) for url in ("https://up.example", "https://10.1.2.3", "https://[2001:db8::1]")],
    *[(entry, "https://up.example") for entry in ("up.example", "UP.Example", "example", ".example", "*.example")],
    *[("up.example", url) for url in ("https://a.b.up.example", "https://UP.EXAMPLE:8443", "https://up.example.")],
    *[(entry, "https://up.example") for entry in ("up.example:443", "a, up.example", "a up.example", "a,,up.example,")],
    *[(entry, "https://10.1.2.3") for entry in ("10.1.2.3", "10.0.0.0/8", "10.1.2.3/32", "10.1.2.3:443", "0.0.0.0/0")],
    *[("2001:db8::1", "https://[2001:db8::1]"), ("[2001:db8::1]:443", "https://[2001:db8:0::1]")],
    *[("2001:db8::/32", "https://[2001:db8::1]"), ("10.0.0.0/8", "https://[::ffff:10.0.0.1]")],
    *[
        ("b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "https://b\u00fccher.example"),
    ],
]
PROXIED = [
    *[("", "https://up.example"), ("other.example", "https://up.example"), ("p.example", "https://up.example")],
    *[("up.example:444", "https://up.example"), ("up.example:8443", "https://up.example")],
    *[("10.0.0.0/8", "https://11.0.0.1"), ("10.0.0.0/8", "https://up.example"), ("10.1.2.3:80", "https://10.1.2.3")],
    *[("10.1.2", "https://10.1.2.3"), (".3", "https://10.1.2.3"), ("10.0.0.0/33", "https://10.0.0.1")],
    *[("a.up.example", "https://up.example"), (".", "https://up.example"), ("2001:db8::/32", "https://[2001:db9::1]")],
    ("[2001:db8::1]:80", "https://[2001:db8::1]"),
]


@pytest.mark.parametrize(("listed", "url"), EXEMPT)
def test_what_no_proxy_lists_is_connected_to(environment: pytest.MonkeyPatch, listed: str, url: str) -> None:
    """Names and all below them, addresses, networks, ports, and everything."""
    assert named(environment, url, HTTPS_PROXY=P, NO_PROXY=listed) is None
    assert named(environment, url, ALL_PROXY=P, no_proxy=listed, NO_PROXY="") is None


@pytest.mark.parametrize(("listed", "url"), PROXIED)
def test_what_no_proxy_does_not_list_is_not(environment: pytest.MonkeyPatch, listed: str, url: str) -> None:
    """A part of a name, another port and another network are not meant."""
    assert named(environment, url, HTTPS_PROXY=P, NO_PROXY=listed) == P


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0"]
)
def test_this_machine_is_never_behind_a_proxy(environment: pytest.MonkeyPatch, host: str) -> None:
    """A model on this machine would be looked for on the proxy's."""
    for scheme in ("http", "https"):
        assert named(environment, f"{scheme}://{host}:11434/v1", ALL_PROXY=P) is None


def test_the_settings_of_the_system_count_where_no_variable_does(environment: pytest.MonkeyPatch) -> None:
    """macOS and Windows have them in a dialog."""
    environment.setattr(proxy, "getproxies", lambda: {"https": P})
    environment.setattr(proxy, "proxy_bypass", lambda host: host == "inside.example")
    assert named(environment, "https://up.example") == P
    assert named(environment, "https://inside.example") is None
    assert named(environment, "https://up.example", https_proxy="") is None
