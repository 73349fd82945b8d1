"""``tickertape serve``: what it refuses, in one sentence."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from support.http import request
from support.server import ServerEnded, clean_environment
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "tickertape", "serve", "--port=0", *arguments],
        capture_output=True,
        text=True,
        env=clean_environment(environment),
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host=0.0.0.0", "--provider=echo"), "Others can reach 0.0.0.0"),
        (("--upstream=ftp://x",), "upstream URL"),
        (("--upstream=http://localhost:1", "--provider=echo"), "--upstream needs a --provider that has one"),
        (("--config=/nothing.toml",), "/nothing.toml cannot be read"),
        (("--config=/nothing.toml", "--upstream=http://localhost:1"), "--config is for several upstreams"),
        (("--model-path=/nothing.gguf",), "/nothing.gguf"),
        (("--provider=echo", "--echo-rate=-1"), "echo rate"),
        (("--provider=echo", "--api-key="), "An --api-key is empty"),
        (("--provider=echo", "--host=0.0.0.0", "--api-key=k", "--api-key= "), "An --api-key is empty"),
        (("--provider=echo", "--disconnect=maybe"), "--disconnect is continue, cancel or abandon_after=SECONDS"),
        (("--provider=echo", "--host=not.a.host.invalid", "--insecure"), "Cannot listen on not.a.host.invalid"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    code, err = run(f"--data={tmp_path}", *arguments)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("tickertape: ")
    assert says in err


def test_a_key_or_a_word_of_consent_opens_it_to_others(serve: Serve) -> None:
    for consent in ("--insecure", "--api-key=secret"):
        server = serve("--host=0.0.0.0", consent)
        assert request(server.url, "GET", "/healthz").status == 200
        server.kill()


def test_the_key_may_come_from_the_environment(serve: Serve) -> None:
    server = serve(env={"TICKERTAPE_API_KEY": "secret"})
    assert request(server.url, "GET", "/v1/models").status == 401
    assert request(server.url, "GET", "/v1/models", headers={"Authorization": "Bearer secret"}).status == 200


def test_without_the_built_in_model_and_a_network_the_echo_model_serves(serve: Serve, tmp_path: Path) -> None:
    nowhere = {"TICKERTAPE_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    server = serve(provider=None, env=nowhere)
    assert server.stderr.count("\n") == 2
    assert server.stderr.startswith("Fetching the built-in model")
    assert "Until then the page runs with the echo model" in server.stderr
    assert [model["id"] for model in request(server.url, "GET", "/v1/models").json()["data"]] == ["echo"]
    with pytest.raises(ServerEnded, match="exit code 1"):
        serve("--provider=local", provider=None, env=nowhere, data=tmp_path / "other")


def test_an_upstream_that_is_down_does_not_keep_the_server_from_starting(serve: Serve) -> None:
    server = serve("--upstream=http://127.0.0.1:9/v1", provider=None)
    reply = request(server.url, "POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]})
    assert reply.status in (502, 503)
    assert "127.0.0.1:9" in reply.error["message"]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.2", "::1"])
def test_on_this_machine_alone_no_key_is_wanted(host: str) -> None:
    import_module("tickertape.cli.serve")._check_reach(Settings(host=host), insecure=False)
