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
from tickertape.testing.answer import BROKEN, WORDS
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serve

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
        where = [f'dialect = "{name}"', f'base_url = "http://127.0.0.1:{upstream.port}"', 'key_env = "SOME_KEY"']
        lines += ["[[upstream]]", f'name = "{name}"', *where]
        lines += [
            "[[upstream]]",
            f'name = "{name}-hasty"',
            *where,
            "idle_timeout = 0.5",
            'models = ["stall"]',
            'parameters = ["my_own"]',
        ]
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
    model = f"{name}-hasty/stall" if fault == "stall" else f"{name}/{fault}"
    streamed = post(server, model, stream=True)
    assert streamed.status == 200
    assert b"[DONE]" not in streamed.body
    last = json.loads(streamed.body.rstrip().rpartition(b"data: ")[2])
    assert last["tickertape"]["state"] == state
    assert fault != "error-message" or BROKEN in last["error"]["message"]
    snapshot = json.loads(
        request(server.url, "GET", streamed.headers["location"], headers={"Accept": "application/json"}).body
    )
    assert (snapshot["state"], snapshot["text"]) == (state, HALF)
    whole = post(server, model)
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
    refused = post(server, "anthropic/healthy", stream=True, logprobs=True)
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["param"] == "logprobs"


def test_all_models_are_listed_and_told_apart(server: Server) -> None:
    listed = [model["id"] for model in json.loads(request(server.url, "GET", "/v1/models").body)["data"]]
    assert {"healthy", "anthropic/healthy", "gemini/healthy", "ollama/healthy", "openai-hasty/stall"} <= set(listed)


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
    for id_ in stopped:
        while (state := request(server.url, "POST", f"/v1/streams/{id_}/cancel").json()["state"]) == "running":
            pass  # each waits for a second by itself
        assert state == "cancelled"
    while upstream.open > len(names):  # one kept connection a dialect
        time.sleep(0.02)
    while len(list(files.iterdir())) > before + len(names):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:{port}"}, "/v1/messages"),
        ({"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:{port}"}, "streamGenerateContent?alt=sse"),
        ({"OLLAMA_HOST": "127.0.0.1:{port}"}, "/api/chat"),
    ],
)
def test_a_key_or_a_running_ollama_alone_is_enough(
    serve: Serve, upstream: Upstream, environment: dict[str, str], asked: str
) -> None:
    env = {name: value.format(port=upstream.port) for name, value in environment.items()}
    reply = request(serve(provider=None, env=env).url, "POST", "/api/openai/stream", ask("hi", model="healthy"))
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert upstream.asked[-1].path.endswith(asked)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("field", ["extra_headers", "api_base", "chat_template", "contents"])
def test_a_field_that_is_on_no_list_reaches_no_upstream(
    server: Server, upstream: Upstream, name: str, field: str
) -> None:
    asked = len(upstream.asked)
    reply = post(server, f"{name}/healthy", **{field: {"Authorization": "Bearer theirs"}})
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_parameter", field)
    assert "parameters in its [[upstream]]" in reply.error["message"]
    assert len(upstream.asked) == asked
    assert post(server, f"{name}/healthy", **{field: None}).status == 200, "null asks for nothing"


def test_whoever_runs_the_server_can_allow_a_field(server: Server, upstream: Upstream) -> None:
    assert post(server, "openai-hasty/healthy", repetition_penalty=1.1, my_own=[1]).status == 200
    assert upstream.asked[-1].body["my_own"] == [1]
    assert upstream.asked[-1].body["repetition_penalty"] == 1.1
