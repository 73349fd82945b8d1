"""The parent that watches over its workers, without the processes."""

from __future__ import annotations

import io
import logging
import signal
import socket
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import pytest

from tickertape.server import workers
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class Worker:
    """Runs until it is told to end, or has ended with this exit code."""

    def __init__(self, returncode: int | None = None) -> None:
        self.pid, self.returncode = 1, returncode

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.returncode = 0


def test_a_worker_that_cannot_be_started_now_is_started_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steady, dead, last = Worker(), Worker(-9), Worker()
    starts = iter([steady, dead, BlockingIOError(11, "Resource temporarily unavailable"), last])

    def spawn(_order: workers.Order) -> Worker:
        made = next(starts)
        if isinstance(made, OSError):
            raise made
        return made

    ended = iter([False, False, True])
    monkeypatch.setattr(workers, "_spawn", spawn)
    monkeypatch.setattr(workers, "_ended", lambda _signals, _seconds: next(ended, False))
    monkeypatch.setattr(workers, "RESPAWN", 0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.socket() as listener, caplog.at_level(logging.ERROR, "tickertape"):
        assert workers.supervise(Settings(), None, listener, 2, lambda: None) == 0
    assert "cannot be started now: Resource temporarily unavailable" in caplog.text
    assert (steady.poll(), last.poll()) == (0, 0)


class Crowd:
    """Makes workers that die at once, as often as a supervisor starts one, and counts the starts."""

    def __init__(self) -> None:
        self.made: list[Worker] = []

    def __call__(self, _order: workers.Order) -> Worker:
        self.made.append(Worker(-11 if self.made else None))
        return self.made[-1]


def test_a_supervisor_sleeps_until_a_signal_comes_and_a_worker_that_keeps_dying_is_not_restarted_in_a_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd()
    waits: list[float | None] = []

    def ended(_signals: object, seconds: float | None) -> bool:
        waits.append(seconds)
        if len(waits) == 9:
            crowd.made[-1].returncode = None  # the last one lives
        return len(waits) == 10

    monkeypatch.setattr(workers, "_spawn", crowd)
    monkeypatch.setattr(workers, "_ended", ended)
    monkeypatch.setattr(workers, "RESPAWN", 3600)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.socket() as listener:
        assert workers.supervise(Settings(), None, listener, 2, lambda: None) == 0
    assert len(crowd.made) == 3, "restarted again before its time"
    assert waits[0] == 0, "the dead worker was seen at once"
    assert all(seconds is not None and seconds > 3000 for seconds in waits[1:9])
    assert waits[9] is None, "with all alive it wakes up for signals alone"


def test_a_worker_that_starts_after_the_data_folder_was_deleted_says_so_and_makes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other workers go on with the files that were deleted: in a new folder, one would be alone."""
    order = workers.Order(Settings(data=tmp_path / "gone"), None, 0, 0, 0, 2)
    line = io.BytesIO(msgspec.json.encode(order, enc_hook=str) + b"\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=line))
    monkeypatch.setattr(workers, "_watch_parent", lambda: None)
    monkeypatch.setattr(workers, "serve", lambda *_: pytest.fail("it serves"))
    monkeypatch.setattr(socket, "socket", lambda **_: None)
    monkeypatch.setattr(workers, "SharedFigures", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        workers.main()
    assert ended.value.code == workers.REFUSED
    assert "was deleted while the server runs. Restart the server." in capsys.readouterr().err
    assert not (tmp_path / "gone").exists()
