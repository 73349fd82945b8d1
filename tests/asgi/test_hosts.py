"""The API mounted in somebody else's app, on every ASGI server (TT-14): whole, resumed, private, ended in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from asgi.host_app import IMPORTED, make_api, make_host
from asgi.stacks import MIDDLEWARE
from support.http import ask, open_stream, request, texts
from support.server import clean_environment
from tickertape import Decoder
from tickertape.asgi import App
from tickertape.deltas import End, State, decode_delta, encode_delta
from tickertape.generation import LOST
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "asgi.host_app:app"
SERVERS = {
    "uvicorn with httptools": ["uvicorn", APP, "--port={port}", "--http=httptools", "--loop=asyncio"],
    "uvicorn with h11": ["uvicorn", APP, "--port={port}", "--http=h11", "--loop=asyncio"],
    "uvicorn with uvloop": ["uvicorn", APP, "--port={port}", "--http=httptools", "--loop=uvloop"],
    "hypercorn": ["hypercorn", APP, "--bind=127.0.0.1:{port}", "--graceful-timeout=2"],
    "granian": ["granian", APP, "--interface=asgi", "--port={port}", "--workers-kill-timeout=10s"],
    "gunicorn with two workers": [
        "gunicorn", APP, "--workers=2", "--worker-class=uvicorn_worker.UvicornWorker", "--bind=127.0.0.1:{port}",
    ],
}  # fmt: skip
ANN, BOB = {"X-User": "ann"}, {"X-User": "bob"}
WORDS = "one two three four five six seven eight nine ten"


class Host:
    """A server with the app, in a process of its own."""

    def __init__(self, name: str, data: Path, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self.log = data / "host.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(part.format(port=self.port) for part in SERVERS[name])],
                env=clean_environment({"PYTHONPATH": os.pathsep.join(IMPORTED), "HOST_DATA": str(data), **environment}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=data,
            )
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                return

    def end(self) -> None:
        """Ask it to end, as an init system does; it must."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@contextmanager
def hosted(name: str, data: Path, **environment: str) -> Iterator[Host]:
    host = Host(name, data, **environment)
    try:
        yield host
    finally:
        host.process.kill()
        host.process.wait()


async def stored(data: Path, stream_id: str) -> tuple[str, State]:
    """Return a stream's text and state, from a log of our own on the files."""
    async with SqliteEngine(data / "tape.db", lost=encode_delta(LOST)) as engine:
        stream = await engine.get(stream_id, "ann")
    *deltas, end = map(decode_delta, stream.entries)
    assert isinstance(end, End)
    return "".join(getattr(delta, "text", "") for delta in deltas), end.state


@pytest.mark.parametrize("name", SERVERS)
async def test_an_app_with_the_api_mounted_streams_resumes_and_ends_on_every_server(name: str, tmp_path: Path) -> None:
    with hosted(name, tmp_path) as host:
        with open_stream(host.url, "POST", "/ai/api/openai/stream", ask(WORDS), ANN) as first:
            location = first.headers["location"]
            assert location.startswith("/ai/v1/streams/")
            first.until(lambda stream: len(stream.events) >= 4)
            seen = first.events[:3]
        with open_stream(host.url, "GET", location, headers=ANN | {"Last-Event-ID": seen[-1].id}) as rest:
            rest.read()
        assert rest.complete
        events = [*seen, *rest.events]
        assert texts(events) == WORDS
        assert events[-1].data == "[DONE]"
        assert [int(event.id.rpartition(".")[2]) for event in events] == list(range(1, len(events) + 1))
        assert request(host.url, "GET", location, headers=BOB).status == 404
        assert request(host.url, "GET", location).status == 401

        with open_stream(host.url, "POST", "/ai/v1/chat/completions", ask("x " * 4000, stream=True), ANN) as long:
            stream_id = long.headers["location"].rpartition("/")[2]
            long.until(lambda stream: len(stream.events) >= 5)
            host.process.send_signal(signal.SIGTERM)
            long.read()
            assert b"[DONE]" not in long.body
            host.process.wait(30)
    text, state = await stored(tmp_path, stream_id)
    assert text.startswith(texts(long.events))
    assert state in (State.LOST, State.CANCELLED)  # whoever cannot come back has it cancelled when it is cut


async def test_an_app_whose_host_hands_on_no_lifespan_starts_with_its_first_request(tmp_path: Path) -> None:
    with hosted("uvicorn with h11", tmp_path, HOST_LIFESPAN="none") as host:
        with open_stream(host.url, "POST", "/ai/api/openai/stream", ask(WORDS), ANN) as stream:
            stream.read()
        assert texts(stream.events) == WORDS
        with open_stream(host.url, "POST", "/ai/api/openai/stream", ask("x " * 4000), ANN) as stream:
            stream.until(lambda stream: len(stream.events) >= 3)
            host.process.send_signal(signal.SIGTERM)
            stream.read()
            assert stream.complete is False
            host.process.wait(30)
    text, state = await stored(tmp_path, stream.headers["location"].rpartition("/")[2])
    assert text.startswith(texts(stream.events))
    assert state is State.LOST


def test_a_test_client_reads_whole_answers_and_knows_who_asks(tmp_path: Path) -> None:
    with TestClient(make_host(tmp_path)) as client:
        answer = client.post("/ai/api/openai/stream", json=ask("Hello there"), headers=ANN)
        assert answer.headers["location"].startswith("/ai/v1/streams/")
        assert answer.text.endswith("data: [DONE]\n\n")
        again = client.get(answer.headers["location"], headers=ANN)
        assert again.text == answer.text
        assert client.get(answer.headers["location"], headers=BOB).status_code == 404
        assert client.get("/ai/nowhere", headers=ANN).status_code == 404
        made = client.post("/ai/backend-api/conversations", json={}, headers=ANN)
        assert made.headers["location"].startswith("/ai/backend-api/conversation/")


@pytest.mark.parametrize("name", MIDDLEWARE)
def test_behind_any_middleware_an_answer_is_whole_and_is_read_again_from_any_cursor(name: str, tmp_path: Path) -> None:
    api = make_api(tmp_path)
    app: Any = MIDDLEWARE[name](api)  # type: ignore[arg-type]
    host = FastAPI(lifespan=api.lifespan)
    host.mount("/ai", app)
    with TestClient(host) as client:
        answer = client.post("/ai/api/openai/stream", json=ask("Hello there, world"), headers=ANN)
        events = Decoder().feed(answer.content)
        assert (texts(events), events[-1].data) == ("Hello there, world", "[DONE]")
        rest = client.get(answer.headers["location"], headers=ANN | {"Last-Event-ID": events[1].id})
        assert answer.text.endswith(rest.text)
        assert Decoder().feed(rest.content)[0].id == events[2].id


def test_nothing_of_the_host_process_is_changed(tmp_path: Path) -> None:
    code = f"""
import gc, logging, signal, sys, asyncio
sys.path[:0] = {IMPORTED!r}
def state():
    root, own = logging.getLogger(), logging.getLogger("tickertape")
    return [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), root.handlers, root.level, own.handlers,
            own.level, *map(signal.getsignal, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))]
before = state()
from pathlib import Path
from asgi.host_app import make_api
async def main():
    before = state()
    api = make_api(Path({str(tmp_path)!r}))
    async with api.lifespan():
        during = state()
        assert during[:7] == before[:7], (before, during)
        assert during[7] != before[7], "SIGTERM is chained while it runs"
        assert during[9] == before[9]
    assert state() == before
asyncio.run(main())
assert state() == before, state()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


async def test_an_owner_may_be_a_function_or_a_coroutine_and_refuse_as_fastapi_does(tmp_path: Path) -> None:

    def refusing(_request: Any) -> str:
        raise HTTPException(403, "Not in this house")

    api = make_api(tmp_path)
    with TestClient(api) as client:
        assert client.get("/v1/models", headers=ANN).status_code == 200
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "not_signed_in")
    other = make_api(tmp_path / "other")

    with TestClient(App(other.core, owner=refusing)) as client:
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["message"]) == (403, "Not in this house")


def test_an_app_that_is_used_from_two_event_loops_says_so(tmp_path: Path) -> None:
    client = TestClient(make_api(tmp_path))  # without `with`, every request has an event loop of its own
    client.get("/v1/models", headers=ANN)
    with pytest.raises(RuntimeError, match="with TestClient"):
        client.get("/v1/models", headers=ANN)


def test_a_folder_that_cannot_be_opened_is_an_answer_in_words(tmp_path: Path) -> None:
    (tmp_path / "tape.db").mkdir()
    refused = TestClient(make_api(tmp_path)).get("/v1/models", headers=ANN)
    assert refused.status_code == 503
    assert json.loads(refused.text)["error"]["message"].endswith(".")
