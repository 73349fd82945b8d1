"""Base URLs: what is understood, what is refused, and the proxy on the way."""

import pytest

from tickertape.errors import SettingsError
from tickertape.providers.address import read_address


def test_slashes_at_the_end_do_not_matter() -> None:
    for url in ("https://api.example.com/v1", " https://api.example.com/v1// "):
        address = read_address(url)
        assert address.endpoint(address.roots[0], "/models") == "https://api.example.com/v1/models"
        assert (address.host, len(address.roots)) == ("api.example.com", 1)


def test_a_port_is_part_of_the_name_that_people_see() -> None:
    assert read_address("http://127.0.0.1:11434/v1").host == "127.0.0.1:11434"
    assert read_address("http://[::1]:8080").host == "[::1]:8080"


@pytest.mark.parametrize(
    "url",
    ["", "x", "localhost:8000", "ftp://h/v1", "http://", "http:///v1", "http://h:99999/v1", "http://h:x/",
     "http://a b/", "http://[::1/v1", "https://h/v1/chat/completions", "http://" + "a" * 70 + "/v1"],
)  # fmt: skip
def test_what_is_no_base_url_is_one_sentence(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^The upstream URL"):
        read_address(url)


@pytest.mark.parametrize("url", ["https://me:secret@h/v1", "https://me:secret@h:x/v1"])
def test_a_password_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_address(url)
    assert "secret" not in str(caught.value)


def test_the_proxy_of_the_environment_is_used_except_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert read_address("https://api.example.com/v1").proxy == "http://proxy.example:3128"
    for url in ("https://inside.example/v1", "http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:5/v1"):
        assert read_address(url).proxy is None
