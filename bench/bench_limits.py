"""What clients that do not play by the rules cost: idle and partial connections, an endless header, and the others.

``python bench/bench_limits.py`` attacks a server that it starts, and prints a row for each attack, as Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


class Target:
    """``tickertape serve`` with the echo model, in a process of its own."""

    def __init__(self, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [sys.executable, "-m", "tickertape", "serve", "--port=0", "--provider=echo", "--log-level=warning"]
        self._errors = Path(self._folder.name, "errors").open("w")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [*command, f"--data={self._folder.name}", *options], stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        raise SystemExit("the server did not start")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    @property
    def rss(self) -> float:
        """MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 1e6

    @property
    def cpu(self) -> float:
        """Seconds, user and kernel."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._errors.close()
        self._folder.cleanup()


def health(target: Target) -> float:
    """Return the seconds that ``/healthz`` takes, on a new connection."""
    begun = time.perf_counter()
    with target.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
    return time.perf_counter() - begun


def waits(target: Target, over: threading.Event) -> list[float]:
    seen = []
    while not over.is_set():
        with contextlib.suppress(OSError):
            seen.append(health(target))
        over.wait(0.05)
    return seen


def still_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def idle(seconds: float) -> str:
    target = Target()
    connections = [target.connect() for _ in range(400)]
    for number, connection in enumerate(connections):
        if number % 2:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Partial: ")
    time.sleep(seconds)
    left = sum(still_open(connection) for connection in connections)
    row = f"| 400 connections, idle or with half a header, after {seconds:g} s | {left} open |"
    target.stop()
    return row


def endless(size: int) -> str:
    target = Target()
    health(target)
    rss, cpu, over, peak = target.rss, target.cpu, threading.Event(), 0.0
    others: list[float] = []
    watcher = threading.Thread(target=lambda: others.extend(waits(target, over)))
    watcher.start()
    sent, answer = 0, b""
    with target.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Endless: ")
        with contextlib.suppress(OSError):
            while sent < size:
                sent += connection.send(b"a" * 65536)
                peak = max(peak, target.rss)
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            answer = connection.recv(65536)
    over.set()
    watcher.join()
    row = (
        f"| an endless header: {sent / 1e6:.1f} MB taken, answer {answer[9:12].decode() or 'none'} "
        f"| {target.cpu - cpu:.2f} s of CPU, RSS {rss:.0f} → {peak:.0f} MB, slowest `/healthz` {max(others):.3f} s |"
    )
    target.stop()
    return row


def large(what: str, head: bytes) -> str:
    target = Target()
    with target.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz" + head + b"Connection: close\r\n\r\n")
        with contextlib.suppress(OSError):
            answer = connection.recv(65536)
    target.stop()
    return f"| {what} | {answer[9:12].decode()} |"


def memory(count: int) -> str:
    """Idle connections that have been answered once, over and over asked again."""
    target = Target("--set", "keep_alive=3600") if "keep_alive" in _names() else Target()
    health(target)
    before = target.rss
    connections = [target.connect() for _ in range(count)]
    for connection in connections:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    for connection in connections:
        connection.recv(65536)
    row = f"| {count} kept connections | {(target.rss - before) * 1000 / count:.1f} kB each |"
    target.stop()
    return row


def requests(seconds: float) -> str:
    """One kept connection, asked again and again: CPU of the server."""
    target = Target()
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with target.connect() as connection:
        begun, cpu, count = time.perf_counter(), target.cpu, 0
        while time.perf_counter() - begun < seconds:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            count += 1
        kept = (target.cpu - cpu) / count * 1e6
    begun, cpu, fresh = time.perf_counter(), target.cpu, 0
    while time.perf_counter() - begun < seconds:
        health(target)
        fresh += 1
    new = (target.cpu - cpu) / fresh * 1e6
    target.stop()
    return f"| `/healthz`, CPU-µs a request: on one connection · a new one each | {kept:.0f} · {new:.0f} |"


def _names() -> tuple[str, ...]:
    from tickertape.server.settings import TUNABLE

    return TUNABLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter waits: a first impression")
    quick = parser.parse_args().quick
    print("| attack | what it costs |\n| --- | --- |")
    print(idle(20 if quick else 70), flush=True)
    print(endless(2**25 if quick else 111_000_000), flush=True)
    print(large("a header of 1 MB", b" HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 2**20 + b"\r\n"))
    print(large("20 000 headers", b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 20_000))
    print(large("a URL of 1 MB", b"?" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"))
    print(memory(500 if quick else 2000), flush=True)
    print(requests(2 if quick else 5), flush=True)


if __name__ == "__main__":
    main()
