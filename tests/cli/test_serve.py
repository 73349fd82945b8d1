"""``tickertape serve``: what it refuses, in one sentence."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.http import request
from support.server import ServerEnded, clean_environment
from tickertape.errors import SettingsError
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from conftest import Serve

    Run = Callable[..., Result]


@pytest.fixture
def run_here(run: Callable[..., Result]) -> Run:
    """Run `tickertape serve` in this process, which ends before it listens."""
    return lambda *arguments: run(import_module("tickertape.cli.serve").serve, *arguments)


def in_a_process(*arguments: str, **environment: str) -> tuple[int, str]:
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
    code, err = in_a_process(f"--data={tmp_path}", *arguments)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("tickertape: ")
    assert says in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--provider=echo", "--model=gpt-5"), "--model: The model 'gpt-5' is not served here. Served are: echo."),
        (("--provider=echo", "--model-path=a.gguf"), "--model-path is for --provider local"),
        (("--provider=echo", "--config=a.toml"), "--config is for upstreams, and --provider echo is none"),
        (("--model-path=a.gguf", "--config=a.toml"), "--config is for upstreams, and --model-path is none"),
        (("--upstream=http://localhost:1", "--model-path=a.gguf"), "--model-path is for a model on this machine"),
        (("--provider=echo", "--model="), "--model is empty"),
        (("--upstream=",), "--upstream is empty"),
        (("--provider=echo", "--host="), "--host is empty"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(
    run_here: Run, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """It is not dropped in silence: whoever gave it meant something."""
    result = run_here(f"--data={tmp_path}", "--port=0", *arguments)
    assert isinstance(result.exception, SettingsError)
    assert says in str(result.exception)


def test_an_empty_data_folder_is_refused(run_here: Run) -> None:
    """It would be the current folder, which nobody named."""
    result = run_here("--data=", "--provider=echo")
    assert (result.exit_code, "'--data': is empty" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("proxy", "says"),
    [("socks5://h.example:1", "HTTPS_PROXY names a SOCKS proxy"), ("::", "HTTPS_PROXY is not the URL")],
)
def test_a_proxy_that_cannot_be_used_is_told_at_the_start(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, says: str
) -> None:
    """Not with the first question."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    result = run_here(f"--data={tmp_path}", "--port=0", "--upstream=https://up.example/v1")
    assert isinstance(result.exception, SettingsError)
    assert says in str(result.exception)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_server_whose_output_is_full_serves_and_says_so_once(tmp_path: Path) -> None:
    """Its address goes to standard error; nothing is a traceback, at the end neither."""
    program = [sys.executable, "-m", "tickertape", "serve", "--port=0", "--provider=echo", f"--data={tmp_path}"]
    with Path("/dev/full").open("w") as full:
        server = subprocess.Popen(program, stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment())
    assert server.stderr is not None
    said = server.stderr.readline()
    found = re.fullmatch(r"tickertape is listening on (\S+) .*; standard output cannot be written: No space .*\n", said)
    assert found is not None, said
    assert request(found[1], "GET", "/healthz").status == 200
    server.terminate()
    assert server.communicate(timeout=60)[1] == ""
    assert server.returncode in (0, -signal.SIGTERM)


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
