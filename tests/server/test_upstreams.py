"""Several upstreams behind one server: what callers see, on every route, of answers that are whole and that are not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask, request
from support.server import Server
from tickertape.providers.dialects import DIALECTS
from tickertape.testing.said import BROKEN, WORDS
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "sk-secret-0123456789"
TEXT, HALF = "".join(WORDS), "".join(WORDS[: len(WORDS) // 2])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("upstreams")
    lines = []
    for name in DIALECTS:
        lines += ["[[upstream]]", f'name = "{name}"', f'dialect = "{name}"', 'key_env = "SOME_KEY"']
        lines += [f'base_url = "http://127.0.0.1:{upstream.port}"', "idle_timeout = 0.5"]
    (folder / "tickertape.toml").write_text("\n".join(lines))
    options = [f"--config={folder / 'tickertape.toml'}", "--log-level=debug"]
    with Server(folder / "data", *options, provider=None, env={"SOME_KEY": KEY}) as running:
        yield running


def post(server: Server, model: str, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return request(server.url, "POST", "/v1/chat/completions", body)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_whole_answer_is_whole_streamed_and_not(server: Server, name: str) -> None:
    streamed = post(server, f"{name}/healthy", stream=True, stream_options={"include_usage": True})
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert b'"total_tokens":16' in streamed.body
    whole = json.loads(post(server, f"{name}/healthy").body)
    assert whole["choices"][0]["message"]["content"] == TEXT
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["total_tokens"] == 16


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("fault", "state"), [("clean-eof", "incomplete"), ("error-message", "failed"), ("stall", "failed")]
)
def test_an_answer_that_is_not_whole_is_never_said_to_be(server: Server, name: str, fault: str, state: str) -> None:
    streamed = post(server, f"{name}/{fault}", stream=True)
    assert streamed.status == 200
    assert b"[DONE]" not in streamed.body
    last = json.loads(streamed.body.rstrip().rpartition(b"data: ")[2])
    assert last["tickertape"]["state"] == state
    assert fault != "error-message" or BROKEN in last["error"]["message"]
    snapshot = json.loads(
        request(server.url, "GET", streamed.headers["location"], headers={"Accept": "application/json"}).body
    )
    assert (snapshot["state"], snapshot["text"]) == (state, HALF)
    whole = post(server, f"{name}/{fault}")
    assert whole.status >= 500
    assert json.loads(whole.body)["error"]["text"] == HALF


@pytest.mark.parametrize("name", DIALECTS)
def test_a_fast_refusal_is_a_real_status_with_a_sentence(server: Server, name: str) -> None:
    refused = post(server, f"{name}/too-many", stream=True)
    assert refused.status == 429
    assert refused.headers["retry-after"] == "7"
    error = json.loads(refused.body)["error"]
    assert "is limiting requests (HTTP 429): Slow down. Try again in 7 s" in error["message"]
    assert post(server, f"{name}/unavailable", stream=True).status == 503


def test_an_option_that_a_dialect_has_not_is_a_clear_400(server: Server) -> None:
    refused = post(server, "anthropic/healthy", stream=True, seed=7)
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["param"] == "seed"


def test_all_models_are_listed_and_told_apart(server: Server) -> None:
    listed = [model["id"] for model in json.loads(request(server.url, "GET", "/v1/models").body)["data"]]
    assert {"healthy", "anthropic/healthy", "gemini/healthy", "ollama/healthy"} <= set(listed)


def test_asking_again_is_counted_by_upstream_and_the_key_is_nowhere(server: Server, upstream: Upstream) -> None:
    assert post(server, "gemini/recovers", stream=True).body.endswith(b"data: [DONE]\n\n")
    metrics = request(server.url, "GET", "/metrics").body.decode()
    [counted] = [line for line in metrics.splitlines() if 'retries_total{upstream="gemini"}' in line]
    assert int(counted.split()[1]) >= 2
    assert any(asked.headers.get("x-goog-api-key") == KEY for asked in upstream.asked)
    page = request(server.url, "GET", "/").body + request(server.url, "GET", "/v1/models").body
    assert KEY not in server.stderr
    assert KEY.encode() not in page


def test_a_hundred_stopped_answers_under_load_leave_no_connection_and_no_file(
    server: Server, upstream: Upstream
) -> None:
    files = Path(f"/proc/{server.pid}/fd")
    names = list(DIALECTS)
    post(server, "openai/healthy", stream=True)
    before = len(list(files.iterdir()))
    stopped = []
    for number in range(100):
        fault = ("stall", "stall-opening", "no-answer", "stall-comments")[number // 4 % 4]
        asked = request(server.url, "POST", "/v1/streams", ask("hi", model=f"{names[number % 4]}/{fault}"))
        stopped.append(asked.json()["id"])
        if number % 10 == 0:  # others are answered meanwhile
            assert post(server, f"{names[number % 4]}/healthy", stream=True).body.endswith(b"[DONE]\n\n")
    states = [request(server.url, "POST", f"/v1/streams/{id_}/cancel").json()["state"] for id_ in stopped]
    assert set(states) <= {"cancelled", "failed"}  # those in the middle were silent for longer than they may be
    assert states.count("cancelled") >= 50
    while upstream.open > len(names):  # one kept connection a dialect
        time.sleep(0.02)
    while len(list(files.iterdir())) > before + len(names):
        time.sleep(0.02)
