"""Several processes behind one port: a parent that holds the socket and watches over its workers.

All workers accept from the same socket and share one log file. A worker that dies is replaced; the streams it was
producing end as lost, told to their readers by its neighbours.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path  # noqa: TC003 - the same
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import SettingsError, TickertapeError
from tickertape.server.metrics import SharedFigures
from tickertape.server.providers import select
from tickertape.server.run import prepare, serve
from tickertape.server.settings import Settings  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tickertape")

RESPAWN = 1.0
"""Seconds between two starts of workers that keep dying."""

_ENDING = (signal.SIGINT, signal.SIGTERM)

REFUSED = 78
"""Exit code of a worker that cannot start and has logged the reason; EX_CONFIG of sysexits.h."""


class Order(msgspec.Struct, frozen=True):
    """What a worker reads from its standard input."""

    settings: Settings
    model_file: Path | None
    fd: int
    figures_fd: int
    slot: int
    count: int


def supervise(
    settings: Settings, model_file: Path | None, listener: socket.socket, count: int, started: Callable[[], object]
) -> int:
    """Run ``count`` workers until SIGINT or SIGTERM, then end them; return the exit code.

    This process sleeps until a signal comes. The end of a worker is one too: SIGCHLD.
    """
    with tempfile.TemporaryFile() as figures:  # where the workers keep what /metrics sums
        figures.truncate(SharedFigures.size(count))
        orders = [
            Order(settings, model_file, listener.fileno(), figures.fileno(), slot, count) for slot in range(count)
        ]
        return _supervise(orders, started)


def _supervise(orders: list[Order], started: Callable[[], object]) -> int:
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (*_ENDING, signal.SIGCHLD):
        signal.signal(number, lambda received, _frame: signals.put(received))
    first = [_spawn(order) for order in orders]
    workers = list(first)
    started()
    code = 0
    restarted = float("-inf")
    while not _ended(signals, _until_restart(workers, restarted)):
        if _until_restart(workers, restarted) != 0:
            continue
        if any(worker.poll() == REFUSED for worker in first):
            code = 1  # it has logged the reason, which another worker would meet too
            break
        for index, worker in enumerate(workers):
            if worker.poll() is not None:
                logger.error("Worker %d ended with exit code %d; starting another", worker.pid, worker.returncode)
                try:
                    workers[index] = _spawn(orders[index])
                except OSError as error:  # too many processes, or too little memory: the others serve on
                    logger.error("A worker cannot be started now: %s", error.strerror or error)
        restarted = time.monotonic()
    _signal(workers)
    deadline = time.monotonic() + orders[0].settings.grace + 5
    while any(worker.poll() is None for worker in workers):
        if _ended(signals, max(0.0, deadline - time.monotonic())):
            _signal(workers)  # the second signal: at once
        elif time.monotonic() > deadline:
            for worker in workers:
                worker.kill()
            deadline += RESPAWN
    return code


def _until_restart(workers: list[subprocess.Popen[bytes]], restarted: float) -> float | None:
    """Return the seconds until dead workers are to be replaced, None if all live."""
    if all(worker.poll() is None for worker in workers):
        return None
    return max(0.0, restarted + RESPAWN - time.monotonic())


def _ended(signals: queue.SimpleQueue[int], seconds: float | None) -> bool:
    """Wait for a signal, for ever with None; return whether it was one that asks for the end."""
    try:
        return signals.get(timeout=seconds) in _ENDING
    except queue.Empty:
        return False


def _signal(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()


def _spawn(order: Order) -> subprocess.Popen[bytes]:
    worker = subprocess.Popen(  # our own module, in a session of its own: Ctrl-C reaches the parent only
        [sys.executable, "-m", "tickertape.server.workers"],
        stdin=subprocess.PIPE,
        pass_fds=[order.fd, order.figures_fd],
        start_new_session=True,
    )
    assert worker.stdin is not None  # noqa: S101 - it is a pipe
    worker.stdin.write(msgspec.json.encode(order, enc_hook=str) + b"\n")
    worker.stdin.flush()  # and stays open: its end tells the worker that this process is gone, however it went
    return worker


def main() -> None:
    """Be a worker: take the order from standard input, serve on the inherited socket until the parent is gone."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order, dec_hook=lambda kind, value: kind(value))
    threading.Thread(target=_watch_parent, name="tickertape-parent", daemon=True).start()
    try:
        data = order.settings.data
        if not data.is_dir():  # the parent made it; the other workers write into files that are in no folder now
            raise SettingsError(f"The data folder {data} was deleted while the server runs. Restart the server.")
        prepare(order.settings)
        listener = socket.socket(fileno=order.fd)
        figures = SharedFigures(order.figures_fd, order.count, order.slot)
        serve(order.settings, select(order.settings, order.model_file), listener, lambda: None, figures)
    except TickertapeError as error:
        sys.stderr.write(f"tickertape: {error}\n")
        sys.exit(REFUSED)


def _watch_parent() -> None:
    """End in order when the parent has died: nobody else would end this process."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
