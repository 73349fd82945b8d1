"""Reads many streams with little CPU, so that the server is what is measured: one epoll loop, no event loop.

Takes a job as JSON, prints what it saw as JSON. The CPU time of the server (`pid`) is read at the beginning and
the end of a window in which all streams are open.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from machine import cpu, kernel_share, rss

EVENT = b"\ndata: "
TOKEN = b" word"
ENDS = b"0\r\n\r\n"


class Stream:
    """One connection."""

    __slots__ = ("begun", "sent", "socket", "tail", "tokens")

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.sent = time.monotonic()
        self.socket.sendall(request)
        self.socket.setblocking(False)
        self.begun = False
        self.tokens = 0  # that the answer has had, also before this connection
        self.tail = b""


class Load:
    """All connections of a job."""

    def __init__(self, job: dict) -> None:
        self.port, self.pid = job["port"], job["pid"]
        self.request = job["request"].encode()
        self.rate = job.get("rate", 0)
        self.since = job.get("since")  # when the one stream that all read was asked for
        self.poll = select.epoll()
        self.streams: dict[int, Stream] = {}
        self.events = self.tokens = self.begun = self.finished = 0
        self.delays: list[float] | None = None

    def open(self) -> None:
        stream = Stream(self.port, self.request)
        self.streams[stream.socket.fileno()] = stream
        self.poll.register(stream.socket, select.EPOLLIN)

    def turn(self, timeout: float) -> None:
        """Read what is there, once."""
        for number, _flags in self.poll.poll(max(0, timeout)):
            stream = self.streams[number]
            try:
                data = stream.socket.recv(262144)
            except BlockingIOError:
                continue
            if not data:
                self.close(stream)
                continue
            if not stream.begun and EVENT in data:
                self.begin(stream, data)
            self.events += data.count(EVENT) if not stream.tail else (stream.tail + data).count(EVENT)
            found = data.count(TOKEN) if not stream.tail else (stream.tail[-4:] + data).count(TOKEN)
            if found:
                stream.tokens += found
                self.tokens += found
                if self.delays is not None:  # the first token is due at once, number n after (n - 1) / rate seconds
                    due = (self.since or stream.sent) + (stream.tokens - 1) / self.rate
                    self.delays.append(time.monotonic() - due)
            if data.endswith(ENDS):
                self.close(stream)
            else:  # a mark may be cut in two
                stream.tail = b"" if data.endswith(b"\r\n") else data[-6:]

    def begin(self, stream: Stream, data: bytes) -> None:
        """Note the first event: number n has token n - 1."""
        stream.begun = True
        self.begun += 1
        at = data.index(b"\nid: ")
        end = data.index(b"\n", at + 5)
        stream.tokens = max(0, int(data[data.rindex(b".", at, end) + 1 : end]) - 2)

    def close(self, stream: Stream) -> None:
        del self.streams[stream.socket.fileno()]
        stream.socket.close()
        self.finished += 1

    def until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.turn(left)


def quantiles(delays: list[float]) -> dict:
    ordered = sorted(delays)
    return {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] if ordered else None for q in (50, 99)}


def window(load: Load, job: dict) -> dict:
    """Open all streams over some seconds, wait until they are settled, and watch."""
    start = time.monotonic()
    for index in range(job["streams"]):
        load.until(start + job["ramp"] * index / job["streams"])
        load.open()
    load.until(time.monotonic() + job["settle"])
    load.events, load.tokens, load.delays = 0, 0, []
    used, began, mine, parts = cpu(load.pid), time.monotonic(), time.process_time(), kernel_share(load.pid)
    load.until(began + job["window"])
    after = kernel_share(load.pid)
    user, system = after[0] - parts[0], after[1] - parts[1]
    seconds = time.monotonic() - began
    return {
        "events": load.events,
        "tokens": load.tokens,
        "cpu": cpu(load.pid) - used,
        "kernel": system / max(1, user + system),
        "seconds": seconds,
        "reader_load": (time.process_time() - mine) / seconds,
        "lost": load.finished,
        **quantiles(load.delays),
    }


def drain(load: Load, job: dict) -> dict:
    """Open all streams at once and read them to their ends."""
    used, began = cpu(load.pid), time.monotonic()
    for _index in range(job["streams"]):
        load.open()
    while load.streams:
        load.turn(10)
    return {"events": load.events, "seconds": time.monotonic() - began, "cpu": cpu(load.pid) - used}


def idle(load: Load, job: dict) -> dict:
    """Open some, then many more; return the memory that one of the many costs."""
    sizes = []
    for count in (job["streams"] // 10, job["streams"]):
        for _index in range(count):
            load.open()
            load.turn(0)
        while load.begun < len(load.streams):
            load.turn(1)
        load.until(time.monotonic() + 1)
        sizes.append(rss(load.pid))
    return {"bytes": (sizes[1] - sizes[0]) / job["streams"]}


def short(load: Load, job: dict) -> dict:
    """Keep some connections going, each for one answer."""
    used, began = cpu(load.pid), time.monotonic()
    while (left := began + job["window"] - time.monotonic()) > 0:
        while len(load.streams) < job["streams"]:
            load.open()
        load.turn(left)
    seconds = time.monotonic() - began
    return {"answers": load.finished, "events": load.events, "seconds": seconds, "cpu": cpu(load.pid) - used}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="JSON: what (window, drain, idle, short), port, pid, request, streams, …")
    job = json.loads(parser.parse_args().job)
    what = {"window": window, "drain": drain, "idle": idle, "short": short}[job["what"]]
    print(json.dumps(what(Load(job), job)))


if __name__ == "__main__":
    main()
