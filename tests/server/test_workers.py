"""The parent that watches over its workers, without the processes."""

from __future__ import annotations

import logging
import signal
import socket
from typing import TYPE_CHECKING

from tickertape.server import workers
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    import pytest


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

    def spawn(_order: bytes, _listener: socket.socket) -> Worker:
        made = next(starts)
        if isinstance(made, OSError):
            raise made
        return made

    received = iter([None, None, signal.SIGTERM])
    monkeypatch.setattr(workers, "_spawn", spawn)
    monkeypatch.setattr(workers, "_next", lambda _signals, _seconds: next(received, None))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.socket() as listener, caplog.at_level(logging.ERROR, "tickertape"):
        assert workers.supervise(Settings(), None, listener, 2, lambda: None) == 0
    assert "cannot be started now: Resource temporarily unavailable" in caplog.text
    assert (steady.poll(), last.poll()) == (0, 0)
