"""Reads many streams through a gateway with little CPU: one epoll loop. Takes a job as JSON, prints JSON.

First all streams are opened, and the gateway's CPU time is read at both ends of a window in which they run. Then, with
all of them still running, one more is opened at a time and closed at its first token: how long that took is the
first-token time.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from machine import cpu

TOKEN = b" word"
PROBES = 0.05
"""Seconds between two probes."""

PATIENCE = 30.0
"""Seconds that all probes may take."""


class Load:
    """All connections of a job."""

    def __init__(self, port: int, request: bytes) -> None:
        self.port, self.request = port, request
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.tails: dict[int, bytes] = {}
        self.begun: set[int] = set()
        self.tokens = self.lost = 0

    def open(self) -> int:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.sendall(self.request)
        sock.setblocking(False)
        number = sock.fileno()
        self.sockets[number], self.tails[number] = sock, b""
        self.poll.register(sock, select.EPOLLIN)
        return number

    def close(self, number: int) -> None:
        self.sockets.pop(number).close()
        self.begun.discard(number)

    def turn(self, timeout: float) -> None:
        """Read what is there, once."""
        for number, _flags in self.poll.poll(max(0.0, timeout)):
            try:
                data = self.sockets[number].recv(262144)
            except BlockingIOError:
                continue
            if not data:
                self.lost += 1
                self.close(number)
                continue
            data = self.tails[number] + data
            found = data.count(TOKEN)
            self.tails[number] = b"" if data.endswith(b"\n") else data[-len(TOKEN) + 1 :]  # a mark may be cut in two
            if found:
                self.tokens += found
                self.begun.add(number)

    def until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.turn(left)

    def first_token(self) -> float | None:
        """Open one more stream, and return the seconds to its first token; None after ten."""
        since = time.monotonic()
        number = self.open()
        while number not in self.begun:
            self.turn(0.1)
            if time.monotonic() - since > 10 or number not in self.sockets:
                break
        taken = time.monotonic() - since if number in self.begun else None
        if number in self.sockets:
            self.close(number)
        return taken


def main() -> None:
    job = json.loads(sys.argv[1])
    load = Load(job["port"], job["request"].encode())
    start = time.monotonic()
    for index in range(job["streams"]):
        load.until(start + job["ramp"] * index / job["streams"])
        load.open()
    load.until(time.monotonic() + job["settle"])
    load.tokens, began, mine = 0, time.monotonic(), time.process_time()
    used = cpu(job["pid"])
    load.until(began + job["window"])
    used, seconds, tokens = cpu(job["pid"]) - used, time.monotonic() - began, load.tokens
    reader = (time.process_time() - mine) / seconds
    firsts = []
    for number in range(job["probes"]):
        if time.monotonic() - began > job["window"] + PATIENCE:
            break  # one that is saturated answers nobody, and it would take for ever to see that
        load.until(began + job["window"] + number * PROBES)
        firsts.append(load.first_token())
    told = sorted(first for first in firsts if first is not None)
    print(
        json.dumps(
            {
                "cpu": used,
                "tokens": tokens,
                "seconds": seconds,
                "reader_load": reader,
                "begun": len(load.begun),
                "lost": load.lost,
                "p50": told[len(told) // 2] if told else None,
                "p99": told[len(told) * 99 // 100] if told else None,
                "unanswered": len(firsts) - len(told),
            }
        )
    )


if __name__ == "__main__":
    main()
