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
