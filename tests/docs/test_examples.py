"""The programs in the documentation are files, and they run."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from faults import server as faults

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reading-a-stream.md"
SHOWN = re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
LOG = [
    b"id: 1\nretry: 1\ndata: one\n\n",
    b": ping\n",
    "id: 2\nevent: note\ndata: Gr\u00fc\u00dfe\u2028\ndata: two\n\n".encode(),
]
TOLD = "message 1 one\nnote 2 Gr\u00fc\u00dfe\u2028\ntwo\n"
ANSWER = [
    b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n',
]


@pytest.fixture(scope="module")
def server() -> Iterator[faults.FaultServer]:
    with faults.FaultServer() as running:
        yield running


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-X", "utf8", "-W", "error", str(ROOT / "examples" / name), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout


@pytest.mark.parametrize(("path", "text"), SHOWN, ids=[path for path, _ in SHOWN])
def test_the_page_shows_the_file_as_it_is(path: str, text: str) -> None:
    assert text == (ROOT / path).read_text()


def test_the_page_shows_every_way_to_read_a_stream() -> None:
    names = {path.name for path in (ROOT / "examples").glob("read_with_*.py")}
    assert names <= {Path(path).name for path, _ in SHOWN}


@pytest.mark.parametrize("library", ["httpx2", "requests"])
@pytest.mark.parametrize("chunked", [True, False])
def test_the_decoder_reads_what_another_client_fetches(server, library: str, chunked: bool) -> None:
    script = server.serve(faults.one_by_one(b"".join(LOG), chunked=chunked))
    assert run(f"read_with_{library}.py", script.url) == TOLD


def test_the_decoder_reads_what_a_socket_receives(server) -> None:
    url = urlsplit(server.serve(faults.events(*LOG, chunked=False)).url)
    assert run("read_with_a_socket.py", "127.0.0.1", str(url.port), url.path) == TOLD


def test_the_socket_example_reads_a_real_server_too(echo_server) -> None:
    import tickertape

    answer = tickertape.ask(echo_server.url, "hello")
    answer.read()
    url = urlsplit(answer.location or "")
    assert "[DONE]" in run("read_with_a_socket.py", "127.0.0.1", str(url.port), url.path)


def test_a_stream_is_followed_over_a_cut(server) -> None:
    script = server.serve(faults.truncated(LOG[0], "inside a chunk"), faults.events(*LOG[1:]), faults.status(204))
    told = [line for line in run("follow_a_stream.py", script.url).split("\n") if not line.startswith("The connection")]
    assert "\n".join(told) == TOLD


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([*ANSWER, b"data: [DONE]\n\n"], "Hello\n(completed: None)\n"),
        (ANSWER, "Hello\n(cut off after 5 characters)\n"),
        (
            [*ANSWER, b'data: {"error":{"message":"boom"}}\n\n'],
            "Hello\n(failed: The answer ended with an error: boom)\n",
        ),
    ],
)
def test_an_answer_is_asked_for_and_its_end_told(server, frames: list[bytes], told: str) -> None:
    assert run("ask_a_server.py", server.serve(faults.events(*frames)).url, "hi") == told


def test_the_api_that_an_app_of_ones_own_mounts_knows_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = runpy.run_path(str(ROOT / "examples" / "mount_in_fastapi.py"))["app"]
    with TestClient(app) as client:
        question = {"messages": [{"role": "user", "content": "Hello"}]}
        answer = client.post("/ai/api/openai/stream", json=question, headers={"X-User": "ann"})
        assert answer.text.endswith("data: [DONE]\n\n")
        where = answer.headers["location"]
        assert client.get(where, headers={"X-User": "ann"}).text == answer.text
        assert client.get(where, headers={"X-User": "bob"}).status_code == 404
        assert client.get(where).status_code == 401
