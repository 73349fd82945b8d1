"""A rolling restart shows no reader an error."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

import tickertape
from support.http import request
from support.server import ServerEnded, clean_environment
from tickertape.server import takeover
from tickertape.server.takeover import SOCKET, Handover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Serve

WORDS = " ".join(f"word{number}" for number in range(3000))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_readers_and_callers_see_no_error_while_the_next_process_takes_over(serve: Serve, workers: str) -> None:
    """Guards the handed-over socket: with two sockets, connections waiting in the old one's queue are reset."""
    old = serve(f"--workers={workers}", echo_rate=30)
    reconnects = 0

    def reconnected(_wait: object) -> None:
        nonlocal reconnects
        reconnects += 1

    answers = [tickertape.aask(old.url, WORDS, on_reconnect=reconnected) for _ in range(10)]
    reading = [asyncio.create_task(answer.read()) for answer in answers]
    over = asyncio.Event()
    calling = asyncio.create_task(call_until(over, f"{old.url}/healthz"))
    await until(lambda: all(answer.text for answer in answers))
    new = await asyncio.to_thread(serve, "--takeover", f"--workers={workers}", echo_rate=30)
    await until(lambda: reconnects >= len(answers))
    before = [len(answer.text) for answer in answers]
    await until(lambda: all(len(answer.text) > size for answer, size in zip(answers, before, strict=True)))
    for answer in answers:
        await answer.cancel()  # asked of the new process, done by the old one
    for text in await asyncio.gather(*reading):
        assert WORDS.startswith(text)
    await asyncio.to_thread(old.wait)
    over.set()
    assert await calling > 0
    assert new.port == old.port
    assert new.process.poll() is None


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def call_until(over: asyncio.Event, url: str) -> int:
    """Call on a new connection each time, as fast as it goes; return how often. Any error is raised."""
    calls = 0
    while not over.is_set():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            calls += 1
    return calls


def test_a_folder_with_a_path_too_long_for_a_unix_socket_is_served_all_the_same(serve: Serve, tmp_path: Path) -> None:
    server = serve(data=tmp_path / ("long" * 30))
    assert request(server.url, "GET", "/readyz").status == 200
    assert "No process can take over from this one" in server.stderr
    server.terminate()
    assert "Traceback" not in server.stderr


def test_a_folder_in_which_something_else_has_the_name_of_the_socket_is_served_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET).mkdir()
    with socket.socket() as listener:
        Handover(tmp_path, listener).run()
    assert "No process can take over from this one" in caplog.text


def test_taking_over_from_nobody_is_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tickertape", "serve", "--provider=echo", f"--data={tmp_path}", "--takeover"],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"tickertape: There is no running server to take over from in {tmp_path}")
    assert "Traceback" not in ended.stderr


def test_a_second_server_on_a_folder_has_the_settings_of_the_first_or_is_refused_and_steals_nothing(
    serve: Serve,
) -> None:
    """Guards: that the socket of a server that lives is not taken, and that a takeover may bring other settings."""
    first = serve("--set", "retention=3600")
    second = serve("--set", "retention=3600")
    assert "--takeover takes over from that one, not from this one" in second.stderr
    with pytest.raises(ServerEnded, match=r"has retention=3600\.0, this one retention=86400\.0") as refused:
        serve()
    assert "Traceback" not in str(refused.value)
    third = serve("--takeover")
    first.wait()
    assert (third.port, second.process.poll()) == (first.port, None)


def test_the_socket_that_a_killed_server_left_is_taken(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left, socket.socket() as listener:
        left.bind(str(tmp_path / SOCKET))
        left.close()
        gate = Handover(tmp_path, listener)._gate
        with gate, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
            visitor.connect(str(tmp_path / SOCKET))


def test_a_server_that_had_no_free_descriptor_can_be_taken_over_from_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gate:
        """The socket at which the next process is waited for; its first accept fails, its second finds it closed."""

        tries = 0

        def fileno(self) -> int:
            return 5 if self.tries < 2 else -1

        def accept(self) -> None:
            self.tries += 1
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(takeover, "RETRY", 0)
    with socket.socket() as listener:
        handover = Handover(tmp_path, listener)
        handover._gate.close()
        handover._gate = gate = Gate()  # type: ignore[assignment]
        handover.run()
    assert gate.tries == 2
    assert "No process can take over from this one just now: Too many open files" in caplog.text
