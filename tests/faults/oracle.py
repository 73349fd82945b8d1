"""The one oracle of the fault tests: whatever is broken on the way, every reader gets exactly the log.

The echo model makes event i of stream s a function of (s, i): its words are ``s7w1 s7w2 …``. Every `Reader` notes the
frames it got, byte by byte, over all its connections. `Oracle.check` then asks the server for the log and holds
everything against everything: ids without gap or repeat, the same bytes for all, one terminal event, at the end, and
nothing delivered that the log does not hold. It knows nothing of tickertape's own decoder and clients.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = 0.02
"""Seconds between two connections of a reader."""


@dataclass
class Count:
    """A line of the table: what one kind of fault was tried with, and what came of it."""

    fault: str
    trials: int = 0
    streams: int = 0
    readers: int = 0
    connections: int = 0
    frames: int = 0
    violations: list[str] = field(default_factory=list)


COUNTS: dict[str, Count] = {}


def table() -> str:
    """Return all counts of this process as Markdown."""
    lines = ["| fault | trials | streams | readers | connections | frames | violations |", "| --- |" + " ---: |" * 6]
    for count in COUNTS.values():
        figures = (count.trials, count.streams, count.readers, count.connections, count.frames, len(count.violations))
        lines.append(f"| {count.fault} | " + " | ".join(f"{figure:,}" for figure in figures) + " |")
    return "\n".join(lines)


def words(stream: int, count: int) -> str:
    """Return the question to which event i of the answer is a function of the stream's number and i."""
    return " ".join(f"s{stream}w{number}" for number in range(1, count + 1))


def data_of(frame: bytes) -> str:
    """Return what a frame says; every frame of ours has one line of data."""
    (line,) = (line for line in frame.split(b"\n") if line.startswith(b"data: "))
    return line[6:].decode()


def end_of(frames: list[bytes]) -> str | None:
    """Return the terminal state that the last frame says, None if it is no terminal event."""
    if b'"choices":' in frames[-1]:
        return None
    data = data_of(frames[-1])
    if data == "[DONE]":
        return "cancelled" if b'"tickertape":{"state":"cancelled"}' in frames[-2] else "completed"
    value = json.loads(data)
    return str(value["tickertape"]["state"]) if "error" in value else None


def text_of(frames: list[bytes]) -> str:
    """Return the answer's text in these frames."""
    values = (json.loads(data) for data in map(data_of, frames) if data != "[DONE]")
    return "".join(choice["delta"].get("content") or "" for value in values for choice in value.get("choices", ()))


class Stream:
    """One answer: what was asked, and who reads it."""

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.text = words(number, count)
        self.key = secrets.token_hex(8)
        self.id = ""
        self.state = ""
        self.readers: list[Reader] = []


class Reader:
    """One reader, over all its connections.

    ``arrivals`` says when each frame came, ``end`` how it all ended, ``refused`` how often it was told to come again,
    ``connections`` how often it has connected.
    """

    def __init__(self, stream: Stream, oracle: Oracle) -> None:
        self.stream = stream
        self.frames: list[bytes] = []
        self.arrivals: list[float] = []
        self.end: str | None = None
        self.refused = 0
        self.connections = 0
        self._oracle = oracle
        self._tail = b""
        stream.readers.append(self)

    def feed(self, data: bytes) -> None:
        """Note the frames that are whole now."""
        *frames, self._tail = (self._tail + data).split(b"\n\n")
        for frame in frames:
            self._take(b"\n".join(line for line in frame.split(b"\n") if not line.startswith(b":")))

    def cut(self) -> None:
        """Forget the half frame that the connection ended in."""
        self._tail = b""

    def _take(self, frame: bytes) -> None:
        expected = b"id: %b.%d" % (self.stream.id.encode(), len(self.frames) + 1)
        if expected not in frame.split(b"\n"):
            self._oracle.blame(self.stream, f"{expected!r} was due, {frame[:80]!r} came")
        if self.end is not None:
            self._oracle.blame(self.stream, f"{frame[:80]!r} came after the end")
        self.frames.append(frame)
        self.arrivals.append(time.monotonic())
        self.end = end_of(self.frames) or self.end


class Oracle:
    """Asks and reads at ``url``, as many streams and readers as wanted, and judges. Use it with ``async with``."""

    def __init__(self, fault: str, url: str = "") -> None:
        self.count = COUNTS.setdefault(fault, Count(fault))
        self.url = url
        self.streams: list[Stream] = []
        self.reading: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.reading:
            task.cancel()
        await asyncio.gather(*self.reading, return_exceptions=True)
        await self.session.close()

    def blame(self, stream: Stream, what: str) -> None:
        """Note a violation."""
        self.count.violations.append(f"stream s{stream.number} ({stream.id}): {what}")

    # --- asking and reading

    def ask(self, count: int, **options: Any) -> Reader:
        """Ask for so many words and read the answer to its end, in the background."""
        return self.join(self.add(count), **options)

    def add(self, count: int) -> Stream:
        """Note a stream of so many words that is to be read; the first reader asks for it if it has no id."""
        stream = Stream(len(self.streams) + 1, count)
        self.streams.append(stream)
        self.count.streams += 1
        return stream

    def join(self, stream: Stream, **options: Any) -> Reader:
        """Have one more reader read this stream to its end, in the background."""
        reader = Reader(stream, self)
        self.count.readers += 1
        self.reading.append(asyncio.create_task(self._read(reader, **options)))
        return reader

    async def _read(
        self,
        reader: Reader,
        *,
        cut: Callable[[], int] | None = None,
        at: int | None = None,
        silence: float | None = None,
        stall: asyncio.Event | None = None,
    ) -> None:
        """Read to the end, over as many connections as it takes.

        ``cut`` returns after how many events the reader resets its connection; ``at`` tells a `CuttingProxy` after how
        many bytes to cut the first one; ``silence`` is how long it waits for
        a byte before it tries another connection; after the first bytes it reads no more before ``stall`` is set.
        """
        while reader.end is None:
            try:
                async with self._open(reader, at) as response:
                    await self._take(reader, response, cut() if cut else None, silence, stall)
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            reader.cut()
            at = None
            await asyncio.sleep(PAUSE)

    def _open(self, reader: Reader, at: int | None = None) -> Any:
        self.count.connections += 1
        reader.connections += 1
        stream = reader.stream
        headers = {} if at is None else {"X-Cut": str(at)}
        if stream.id:
            headers |= {"Last-Event-ID": f"{stream.id}.{len(reader.frames)}"} if reader.frames else {}
            return self.session.get(f"{self.url}/v1/streams/{stream.id}", headers=headers)
        body = {"messages": [{"role": "user", "content": stream.text}]}
        headers |= {"Idempotency-Key": stream.key, "Tickertape-Disconnect": "continue"}
        return self.session.post(f"{self.url}/api/openai/stream", json=body, headers=headers)

    async def _take(
        self,
        reader: Reader,
        response: aiohttp.ClientResponse,
        most: int | None,
        silence: float | None,
        stall: asyncio.Event | None,
    ) -> None:
        stream = reader.stream
        if response.status != 200:
            if response.status == 503:  # a server that is about to end, or cannot write: try again
                reader.refused += 1
            else:
                self.blame(stream, f"status {response.status} for cursor {len(reader.frames)}")
                reader.end = "refused"
            return
        stream.id = stream.id or response.headers["Location"].removeprefix("/v1/streams/")
        if "Tickertape-Cursor" in response.headers:
            self.blame(stream, f"the log does not know event {len(reader.frames)}, which was delivered")
            reader.end = "refused"
            return
        most = most and len(reader.frames) + most
        while most is None or len(reader.frames) < most:
            async with asyncio.timeout(silence):
                data = await response.content.readany()
            if not data:
                return
            reader.feed(data)
            if stall is not None:
                await stall.wait()
        reset(response)

    async def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until this holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def far(self, readers: list[Reader], events: int, seconds: float = 60) -> None:
        """Wait until each of these has so many events, or its end."""
        await self.until(lambda: all(len(reader.frames) >= events or reader.end for reader in readers), seconds)

    # --- judging

    async def finished(self, seconds: float = 60) -> None:
        """Wait until every reader has its end; whoever has none by then hangs."""
        await asyncio.wait(self.reading, timeout=seconds)
        for stream in self.streams:
            for reader in stream.readers:
                if reader.end is None:
                    self.blame(stream, f"a reader hangs after event {len(reader.frames)}")

    async def check(self, seconds: float = 60) -> None:
        """Hold every reader against the log. Everything must have ended."""
        await self.finished(seconds)
        for stream in self.streams:
            self.count.frames += sum(len(reader.frames) for reader in stream.readers)
            if stream.id:
                await self._judge(stream)

    async def log_of(self, stream: Stream) -> list[bytes]:
        """Return the frames that the server's log holds of a stream that has ended."""
        log = Reader(stream, self)
        stream.readers.remove(log)
        async with self.session.get(f"{self.url}/v1/streams/{stream.id}") as response:
            log.feed(await response.read())
        return log.frames

    async def _judge(self, stream: Stream) -> None:
        async with self.session.get(
            f"{self.url}/v1/streams/{stream.id}", headers={"Accept": "application/json"}
        ) as response:
            snapshot = await response.json()
        stream.state = snapshot.get("state", "unknown")
        if stream.state in ("running", "unknown"):
            self.blame(stream, f"it has not ended: {snapshot}")
            return
        log = await self.log_of(stream)
        text = text_of(log)
        checks = {
            "the log's last event is not terminal, or says another state": end_of(log) == stream.state,
            "a terminal event stands before the end": not any(end_of(log[: n + 1]) for n in range(1, len(log) - 1)),
            "the log's text is not what was asked for": self._is_asked(stream, text),
            "the snapshot has another text than the events": snapshot["text"] == text,
            "the snapshot names another last event": snapshot["last_event_id"] == f"{stream.id}.{len(log)}",
        }
        for blame, holds in checks.items():
            if not holds:
                self.blame(stream, blame)
        for reader in stream.readers:
            if reader.frames != log[: len(reader.frames)]:
                self.blame(stream, "a reader got other bytes than the log holds")
            elif reader.end is not None and len(reader.frames) != len(log):
                self.blame(stream, f"a reader was told the end at event {len(reader.frames)} of {len(log)}")

    @staticmethod
    def _is_asked(stream: Stream, text: str) -> bool:
        """Whether this is the question, whole or, if the answer was ended, so many of its words."""
        if stream.state == "completed":
            return text == stream.text
        return stream.text.startswith(text) and (stream.text + " ")[len(text)] == " " if text else True


def reset(response: aiohttp.ClientResponse) -> None:
    """Cut a connection with a RST."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        sock: socket.socket = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()
