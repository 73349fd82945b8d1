"""What a name costs: each client brings its own HTTP library and not the other's."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "brings"),
    [
        ("Decoder", set()),
        ("EventSource", {"urllib3"}),
        ("ask", {"urllib3"}),
        ("AsyncEventSource", {"aiohttp", "asyncio"}),
        ("aask", {"aiohttp", "asyncio"}),
    ],
)
def test_a_name_brings_only_what_it_stands_on(name: str, brings: set[str]) -> None:
    libraries = {"urllib3", "aiohttp", "asyncio", "click", "rich", "starlette", "uvicorn"}
    code = f"import sys, tickertape; tickertape.{name}; print(*({libraries} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(told.split()) == brings


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    from tickertape import client

    with pytest.raises(AttributeError, match="EventSauce"):
        client.EventSauce  # noqa: B018


def test_every_name_of_the_clients_is_there_and_documented() -> None:
    from tickertape import client

    for name in client.__all__:
        assert (getattr(client, name).__doc__ or "").strip(), name
