"""Starting, ending and dying."""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uvicorn.logging import TRACE_LOG_LEVEL

from support.http import ask, open_stream, request, texts
from support.server import ServerEnded, clean_environment
from tickertape.errors import SettingsError
from tickertape.server import run
from tickertape.server.run import bind, prepare
from tickertape.server.settings import Settings
from tickertape.streams.sqlite.file_format import connect

if TYPE_CHECKING:
    from conftest import Serve

LONG = "word " * 5000
SHOW = {"Accept": "application/json"}
GO_ON = {"Tickertape-Disconnect": "continue"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_cuts_the_readers_and_the_second_one_ends_at_once(serve: Serve, workers: str) -> None:
    """A proper end of the response would look like a whole answer: it is left unfinished.

    The answers get an hour here: the second signal alone ends them.
    """
    server = serve(f"--workers={workers}", "--set=grace=3600", echo_rate=50)
    streams = [open_stream(server.url, "POST", "/api/openai/stream", ask(LONG), GO_ON) for _ in range(10)]
    for stream in streams:
        stream.until(lambda stream: len(stream.events) > 3)
    server.signal(signal.SIGTERM)
    for stream in streams:
        stream.read()
        assert stream.complete is False, "the reader was told that this was all"
        assert stream.events[-1].data != "[DONE]"
        stream.close()
    server.signal(signal.SIGTERM)  # the second one: do not wait for the answers
    server.wait()
    server.start()
    for stream in streams:
        path = f"/v1/streams/{stream.id}"
        snapshot = request(server.url, "GET", path, headers=SHOW).json()
        assert snapshot["state"] == "lost"
        assert snapshot["text"].startswith(texts(stream.events))
        with open_stream(server.url, "GET", path, headers={"Last-Event-ID": stream.last_event_id}) as rest:
            rest.read()
        assert json.loads(rest.events[-1].data)["error"]["code"] == "lost"
        assert texts(stream.events) + texts(rest.events) == snapshot["text"]


def test_an_answer_that_is_nearly_done_is_finished_before_the_end(serve: Serve) -> None:
    server = serve(echo_rate=50)
    with open_stream(server.url, "POST", "/api/openai/stream", ask("word " * 60), GO_ON) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
        server.terminate()
        stream.read()
    server.start()
    snapshot = request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).json()
    assert (snapshot["state"], snapshot["text"]) == ("completed", "word " * 60)


def test_ctrl_c_is_an_orderly_end_too(serve: Serve) -> None:
    server = serve()
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.stderr


def test_ctrl_c_twice_ends_at_once_and_in_silence(serve: Serve) -> None:
    """The answer gets an hour: until the second one, the server waits for it."""
    server = serve("--set=grace=3600", echo_rate=50)
    with open_stream(server.url, "POST", "/api/openai/stream", ask(LONG), GO_ON) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
        server.signal(signal.SIGINT)
        stream.read()  # it is cut: the first signal was taken
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.stderr


def test_a_worker_that_is_killed_is_replaced_and_its_answers_end_as_lost(serve: Serve) -> None:
    server = serve("--workers=2", echo_rate=50)
    workers = server.workers
    assert len(workers) == 2
    streams = [open_stream(server.url, "POST", "/api/openai/stream", ask(LONG), GO_ON) for _ in range(12)]
    for stream in streams:
        stream.until(lambda stream: len(stream.events) > 2)
    busiest = max(workers, key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))  # the other may have got no connection
    os.kill(busiest, signal.SIGKILL)
    states = set()
    for stream in streams:
        stream.close()
        path, cursor = f"/v1/streams/{stream.id}", {"Last-Event-ID": stream.last_event_id}
        with open_stream(server.url, "GET", path, headers=cursor) as again:
            again.until(lambda again: len(again.events) > 200 or b'"lost"' in again.body)
        states.add("lost" if b'"lost"' in again.body else "running")
        if b'"lost"' in again.body:
            assert json.loads(again.events[-1].data)["tickertape"] == {"state": "lost"}
        else:
            assert request(server.url, "POST", f"{path}/cancel").json()["text"].startswith("word word")
    assert "lost" in states
    assert request(server.url, "GET", "/readyz").status == 200


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the end of other processes can be waited for on Linux only")
def test_workers_end_when_their_parent_is_killed_and_the_port_is_free_again(serve: Serve) -> None:
    server = serve("--workers=2", echo_rate=50)
    workers = [os.pidfd_open(pid) for pid in server.workers]
    with open_stream(server.url, "POST", "/api/openai/stream", ask("word " * 50), GO_ON) as stream:
        stream.until(lambda stream: len(stream.events) > 2)
        os.kill(server.pid, signal.SIGKILL)
        assert not stream.read().complete
    server.wait()
    for worker in workers:
        assert select.select([worker], [], [], 60)[0], "a worker lives on without its parent"
        os.close(worker)
    server.start()
    assert request(server.url, "GET", f"/v1/streams/{stream.id}", headers=SHOW).json()["state"] == "completed"


def test_a_busy_port_is_one_sentence(serve: Serve) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(ServerEnded) as ended:
            serve(f"--port={port}")
    assert "exit code 1\n" in str(ended.value)
    assert f"tickertape: Cannot listen on 127.0.0.1:{port}: Address already in use." in str(ended.value)
    assert "--port" in str(ended.value)
    assert "Traceback" not in str(ended.value)


@pytest.mark.parametrize("host", ["a" * 300, "\udcff", "256.1.1.1", "192.0.2.1"])
def test_a_name_that_no_host_has_is_one_sentence(host: str) -> None:
    with pytest.raises(SettingsError, match=r"^Cannot listen on .* with --host") as refused:
        bind(host, 0)
    assert "--port" not in str(refused.value)


def test_a_port_that_needs_rights_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(SettingsError, match=r"^Cannot listen on 127.0.0.1:80: Permission denied. .* below 1024"):
        bind("127.0.0.1", 80)


def test_a_folder_that_cannot_be_used_is_one_sentence(serve: Serve) -> None:
    with pytest.raises(ServerEnded) as ended:
        serve(data=Path("/proc/nothing"))
    assert "tickertape: The folder /proc/nothing cannot be used for the stream log" in str(ended.value)
    assert "Traceback" not in str(ended.value)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at as one" * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_damaged_log_is_one_sentence_and_is_left_as_it_is(serve: Serve, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tape.db"
    file.write_bytes(content)
    with pytest.raises(ServerEnded) as ended:
        serve(data=tmp_path)
    assert f"tickertape: The stream log {file} cannot be used" in str(ended.value)
    assert "Traceback" not in str(ended.value)
    assert file.read_bytes() == content


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_is_damaged_further_in_ends_the_server_with_a_sentence(tmp_path: Path, workers: str) -> None:
    connection = connect(tmp_path / "tape.db")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'producer'").fetchone()
    connection.close()
    damaged = bytearray((tmp_path / "tape.db").read_bytes())
    damaged[(page - 1) * 4096 : page * 4096] = b"\xaa" * 4096
    (tmp_path / "tape.db").write_bytes(damaged)
    options = ["--provider=echo", "--port=0", f"--data={tmp_path}", f"--workers={workers}"]
    ended = subprocess.run(
        [sys.executable, "-m", "tickertape", "serve", *options],
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert set(ended.stderr.splitlines()) == {
        f"tickertape: The stream log {tmp_path / 'tape.db'} cannot be used: the file is damaged; "
        "move it away (a new one is made) or restore a backup."
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")
def test_uvicorn_formats_no_trace_of_every_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks its logger for the logger's own level, which is 0 unless somebody sets it."""
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "asyncio")]
    levels = [logger.level for logger in loggers]
    monkeypatch.setattr(run, "raise_limit", lambda: None)
    loggers[1].setLevel(logging.NOTSET)
    try:
        prepare(Settings(data=tmp_path))
        assert loggers[1].level > TRACE_LOG_LEVEL
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def test_connections_that_come_at_once_wait_in_line(serve: Serve) -> None:
    """They are accepted a few in a turn of the event loop; that makes the line before it no shorter."""
    server = serve()
    server.signal(signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(100)]
    server.signal(signal.SIGCONT)
    for connection in waiting:
        with connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
