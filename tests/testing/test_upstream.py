"""The fault upstream itself: what it promises to those who test with it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from tickertape.testing.actions import Body, Final, Head
from tickertape.testing.answer import WORDS
from tickertape.testing.dialects import DIALECTS
from tickertape.testing.faults import FAULTS
from tickertape.testing.upstream import Upstream, main

ASK = {"model": "healthy", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


def post(url: str, body: object = ASK) -> str:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return str(answer.read(), "utf-8")


def test_from_code_that_is_not_async_it_runs_in_a_thread() -> None:
    with Upstream() as upstream:
        text = post(upstream.url("openai") + "/chat/completions")
        assert text.count("data: ") == len(WORDS) + 4
        assert text.endswith("data: [DONE]\n\n")
        [asked] = upstream.asked
        assert (asked.method, asked.path, asked.body) == ("POST", "/v1/chat/completions", ASK)


def test_a_port_that_is_taken_is_told_and_nobody_waits() -> None:
    with Upstream() as running:
        with pytest.raises(OSError, match="address already in use"), Upstream(port=running.port):
            pass
        command = [sys.executable, "-m", "tickertape.testing.upstream", "--port", str(running.port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    said = f"Error: Cannot listen on port {running.port}: {os.strerror(errno.EADDRINUSE)}. Choose another with --port."
    assert ended.stderr == said + "\n"


def test_its_help_shows_the_faults_option_as_it_is_given() -> None:
    shown = CliRunner().invoke(main, ["-h"])
    assert shown.exit_code == 0
    assert "--fault NAME" in shown.output


def test_the_name_of_the_model_is_the_fault_and_else_the_one_that_was_set() -> None:
    with Upstream(fault="clean-eof") as upstream:
        url = upstream.url("openai") + "/chat/completions"
        assert "[DONE]" in post(url)
        assert "[DONE]" not in post(url, ASK | {"model": "some-model"})


def test_every_fault_is_a_model_in_every_dialects_list() -> None:
    with Upstream() as upstream:
        base = f"http://127.0.0.1:{upstream.port}"
        for path, headers in (
            ("/v1/models", {}),
            ("/v1/models", {"anthropic-version": "2023-06-01"}),
            ("/v1beta/models", {}),
            ("/api/tags", {}),
        ):
            with urlopen(Request(base + path, headers=headers), timeout=60) as answer:
                listed = answer.read().decode()
            assert all(f'"{name}"' in listed or f'"models/{name}"' in listed for name in FAULTS), path


def test_an_unknown_fault_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="There is no fault 'gremlins'; there are healthy, "):
        Upstream(fault="gremlins")


async def test_the_pace_is_kept_and_what_happens_can_be_waited_for() -> None:
    async with Upstream(pace=200, words=["a "] * 21) as upstream:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.to_thread(post, upstream.url("ollama") + "/api/chat")
        assert loop.time() - begun >= 0.1  # 20 pauses of 5 ms
        await upstream.until(lambda here: len(here.asked) == 1 and here.open == 0)
        assert upstream.connections == 1


async def test_a_script_may_answer_in_place_of_the_faults() -> None:
    async with Upstream() as upstream:
        upstream.script = lambda asked: [Head(200, "text/plain", chunked=True), Body(asked.method.encode()), Final.END]
        assert await asyncio.to_thread(post, upstream.url("gemini") + "/anything") == "POST"


def test_it_runs_for_programs_in_any_language() -> None:
    words = [sys.executable, "-m", "tickertape.testing.upstream"]
    listing = subprocess.run([*words, "--list"], check=True, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in listing.splitlines()] == list(FAULTS)
    running = subprocess.Popen([*words, "--port", "0", "--pace", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        url = running.stdout.readline().split()[5]
        assert "message_stop" in post(url + "/v1/messages")
    finally:
        running.terminate()
        running.communicate(timeout=60)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_an_upstream_that_is_not_asked_to_stream_answers_whole(dialect: object) -> None:
    name = getattr(dialect, "name", "")
    paths = {
        "openai": "/v1/chat/completions",
        "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/healthy:generateContent",
        "ollama": "/api/chat",
    }
    with Upstream() as upstream:
        answer = post(f"http://127.0.0.1:{upstream.port}{paths[name]}", ASK | {"stream": False})
        assert "".join(WORDS) in json.dumps(json.loads(answer), ensure_ascii=False)
