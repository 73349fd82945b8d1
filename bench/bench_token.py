"""The budget of one token on its way through the gateway: Python calls and CPU-µs, stage by stage.

Everything runs in this process: an upstream's bytes are handed to the protocols of its connections, as asyncio does it,
the log is on disk, and each stream has one subscriber with a socket. Tokens of all streams come together, so what a
turn of the loop, a commit and a flush cost is shared. Times are the least of many rounds: a machine that other work
shares adds to a round, but hardly to the least of them, and never to the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import describe, free_port
from tickertape.asgi.uvicorn_transport import ConnectionSubscriber
from tickertape.delivery.fanout import Fanout
from tickertape.delivery.subscriber import Subscriber
from tickertape.dialects.openai_chat import ChunkView
from tickertape.generation import Generations, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.providers.openai import OpenAI
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(content: str) -> bytes:
    """Return an event of OpenAI's, as one chunk of a body."""
    choice = {"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1795399764, "model": "m"}
    event = f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


class Connection(Subscriber):
    """A subscriber with a socket to itself, framed as uvicorn's transport frames it."""

    frame = staticmethod(ConnectionSubscriber.frame)

    def __init__(self, stream: Any, transport: asyncio.WriteTransport) -> None:
        super().__init__(stream, 0, ChunkView)
        self._transport = transport

    def write(self, framed: bytes, last: bool) -> None:
        self._transport.write(framed)

    def cut(self, reason: str) -> None:
        self.channel.leave(self)


class Calls:
    """Counts the calls of Python functions in this thread."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Calls:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_exc: object) -> None:
        sys.setprofile(None)

    def _called(self, _frame: object, event: str, _argument: object) -> None:
        self.count += event == "call"


class Streams:
    """Streams from an upstream that says what it is told to, into sockets that are emptied."""

    def __init__(self, fanout: Fanout, upstream: list[asyncio.Transport], sockets: list[socket.socket]) -> None:
        self.fanout, self.sockets = fanout, sockets
        self.transports = upstream
        self._token = chunk(" word")

    def receive(self) -> None:
        """Have a token arrive in every stream."""
        for transport in self.transports:
            transport.get_protocol().data_received(self._token)  # type: ignore[attr-defined]

    async def sent(self, count: int) -> None:
        """Wait until so many events were written in all."""
        while self.fanout.sent < count:
            await asyncio.sleep(0)

    def empty(self) -> None:
        """Take what was written."""
        for one in self.sockets:
            with contextlib.suppress(BlockingIOError):
                one.recv(1 << 20)


@contextlib.asynccontextmanager
async def path(count: int) -> AsyncIterator[Streams]:
    """Begin so many answers, each read by one subscriber."""
    accepted: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + chunk("First"))
        accepted.append(writer)

    loop, port = asyncio.get_running_loop(), free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    provider = OpenAI(f"http://127.0.0.1:{port}/v1")
    ends: list[socket.socket] = []
    with tempfile.TemporaryDirectory(prefix="tickertape-bench-") as folder:
        async with SqliteEngine(Path(folder) / "tape.db", lost=b"") as engine:
            generations, fanout = Generations(engine), Fanout()
            request = ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}])
            for _ in range(count):
                stream = await generations.begin(GenerationSpec(provider, request), owner="ann")
                ours, theirs = socket.socketpair()
                theirs.setblocking(False)
                transport, _protocol = await loop.connect_accepted_socket(asyncio.Protocol, ours)
                fanout.attach(Connection(stream, transport))
                ends.append(theirs)
            while fanout.sent < 2 * count:
                await asyncio.sleep(0.01)
            upstream = [one.transport for one in provider._http._session.connector._acquired]  # type: ignore[union-attr]
            yield Streams(fanout, upstream, ends)  # type: ignore[arg-type]
            await generations.close()
            fanout.close()
            await provider.close()
    for writer in accepted:
        writer.close()
    server.close()


async def measure(count: int, rounds: int) -> list[tuple[str, float | None, float]]:
    """Return each stage with its calls and its µs a token."""
    least = {"received": 1e9, "shown": 1e9, "written": 1e9}
    async with path(count) as streams:
        for _ in range(rounds):
            await asyncio.sleep(0.012)  # so that the log and the fan-out do not wait for others
            due, began, all_began = streams.fanout.sent + count, time.thread_time(), time.process_time()
            streams.receive()
            received = time.thread_time()
            await streams.sent(due)
            loop, both = time.thread_time(), time.process_time()
            for name, spent in (
                ("received", received - began),
                ("shown", loop - received),
                ("written", (both - all_began) - (loop - began)),
            ):
                least[name] = min(least[name], spent / count * 1e6)
            streams.empty()
        calls = []
        for _ in range(20):
            await asyncio.sleep(0.012)
            due = streams.fanout.sent + count
            with Calls() as receiving:
                streams.receive()
            with Calls() as all_:
                await streams.sent(due)
            streams.empty()
            calls.append((receiving.count / count, all_.count / count))
        first, second = (min(column) for column in zip(*calls, strict=True))
    return [
        ("from the upstream's bytes to an entry that waits for its commit", first, least["received"]),
        ("commit, in the writer's thread", None, least["written"]),
        ("from the commit to the subscriber's socket, with the turns of the loop", second, least["shown"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first impression")
    parser.add_argument("--streams", type=int, default=100, help="streams whose tokens come together (100)")
    options = parser.parse_args()
    stages = asyncio.run(measure(options.streams, 50 if options.quick else 500))
    print(f"## One token\n\n{options.streams} streams; {describe()}.\n")
    print("| stage | Python calls | CPU-µs |\n| --- | ---: | ---: |")
    for name, calls, spent in stages:
        print(f"| {name} | {'–' if calls is None else f'{calls:.1f}'} | {spent:.1f} |")


if __name__ == "__main__":
    main()
