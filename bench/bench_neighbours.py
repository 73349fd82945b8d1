"""Several processes on one stream log: how soon a reader that moves between them reads on, and what idling costs.

Every process is one of its own. Figures are shown as Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import describe, versions
from tickertape.deltas import encode_delta
from tickertape.generation import LOST
from tickertape.streams.contract import Header, Key, follow
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFESSION = """\
What this does not show, first. One machine of two cores, on which producer and reader do not disturb each other as
much as they would in a container of one; a file that is in the page cache; answers that are all of the same age. The
readers of the first table ask the log of a second process at the same moment while the first one goes on to append:
no HTTP. Those of the second one are connections of one program, which is busy with them itself. Wake-ups are the
voluntary context switches of all threads of all processes of the server, from /proc, after 15 s of rest.
"""

LOST_ENTRY = encode_delta(LOST)
RATE = 20.0

REST = 15.0
"""Seconds. What follows on an answer is over by then: the last checkpoint comes 10 s after it."""


def name(number: int) -> str:
    return f"{number:032x}"


async def produce(path: Path, streams: int) -> None:
    """Append to so many streams, 20 entries a second each, until killed."""
    async with SqliteEngine(path, lost=LOST_ENTRY) as log:
        headers = [Header(id=name(number), owner="o", model="m", created=1) for number in range(streams)]
        writers = [await log.create(header, [b't"x"']) for header in headers]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        turn, start = 0, time.monotonic()
        while True:
            for writer in writers[turn % 20 :: 20]:
                writer.append([b't" word"'])
            turn += 1
            await asyncio.sleep(max(0.0, start + turn / (RATE * 20) - time.monotonic()))


@contextmanager
def producer(path: Path, streams: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--produce", str(path), str(streams)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


async def move(streams: int, seconds: float) -> dict[str, float]:
    """Let streams run for so long, then ask another process's log for all of them at once, and read on for 5 s."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tape.db"
        with producer(path, streams):
            await asyncio.sleep(seconds)
            async with SqliteEngine(path, lost=LOST_ENTRY) as log:
                waits: list[float] = []
                gaps: list[float] = []
                begun = time.perf_counter()
                cpu = time.process_time()

                async def get(number: int) -> Any:
                    stream = await log.get(name(number), "o")
                    waits.append(time.perf_counter() - begun)
                    return stream

                async def beside() -> float:
                    await asyncio.sleep(0.005)
                    asked = time.perf_counter()
                    await log.keyed("o", Key("none", b""))
                    await log.reap()
                    return time.perf_counter() - asked

                async def turns() -> None:
                    while True:
                        before = time.perf_counter()
                        await asyncio.sleep(0.001)
                        gaps.append(time.perf_counter() - before)

                turning = asyncio.create_task(turns())
                patrol = asyncio.create_task(beside())
                streams = await asyncio.gather(*map(get, range(streams)))
                spent, held, slowest = time.process_time() - cpu, await patrol, max(gaps)
                entries = statistics.mean(len(stream.entries) for stream in streams)
                waits.sort()

                async def read(stream: Any) -> None:
                    async for _entries in follow(stream, len(stream.entries)):
                        pass

                reading = [asyncio.create_task(read(stream)) for stream in streams]
                cpu = time.process_time()
                await asyncio.sleep(5)
                following = (time.process_time() - cpu) / 5
                for task in (turning, *reading):
                    task.cancel()
    return {
        "entries a stream": entries,
        "first reader s": waits[0],
        "median s": waits[len(waits) // 2],
        "last s": waits[-1],
        "CPU s": spent,
        "keyed and reap meanwhile s": held,
        "longest turn of the loop s": slowest,
        "then reading all: cores": following,
    }


# --- with servers


TEXT = " ".join(["word"] * 4000)
BODY = b'{"messages":[{"role":"user","content":"%b"}]}' % TEXT.encode()


@contextmanager
def server(folder: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tickertape", "serve", "--provider", "echo", "--data", str(folder)]
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), *options], stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def listening(port: int) -> None:
    while True:
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def ask(port: int) -> tuple[str, list[int], asyncio.Task[None]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /api/openai/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    found = re.search(rb"location: \S*/v1/streams/(\w+)", await reader.readuntil(b"\r\n\r\n"), re.IGNORECASE)
    assert found is not None
    last = [1]

    async def read() -> None:
        rest = b""
        while data := await reader.read(65536):
            numbers = re.findall(rb"id: \w+\.(\d+)\n", rest + data)
            if numbers:
                last[0] = int(numbers[-1])
            rest = data[-60:]
        writer.close()

    return found[1].decode(), last, asyncio.create_task(read())


async def resume(port: int, stream: str, last: int) -> float:
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    cursor = f"{stream}.{last}"
    writer.write(
        f"GET /v1/streams/{stream} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        f"Last-Event-ID: {cursor}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert b"tickertape-cursor" not in head.lower(), "its cursor was refused"
    waited = time.perf_counter() - begun
    writer.close()
    return waited


async def take_over(streams: int, seconds: float) -> dict[str, float]:
    """Let another process take over from a server with so many answers, whose readers all come back to it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as made, server(Path(made), port, "--set", "grace=60"):
        await listening(port)
        asked = []
        for _ in range(streams):
            asked.append(await ask(port))
            await asyncio.sleep(3 / streams)
        await asyncio.sleep(seconds)
        with server(Path(made), port, "--takeover"):
            await asyncio.wait([reading for _stream, _last, reading in asked], timeout=30)
            waits = sorted(await asyncio.gather(*(resume(port, stream, last[0]) for stream, last, _task in asked)))
    return {"first head s": waits[0], "median s": waits[len(waits) // 2], "last s": waits[-1]}


# --- idle


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def measured(pid: int) -> tuple[int, float, int]:
    """Return the wake-ups, the CPU seconds and the bytes handed to write() of a process's threads so far."""
    wakes = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        wakes += int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    written = int(re.findall(r"^wchar: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[0])
    return wakes, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), written


async def idle(workers: int, seconds: float) -> dict[str, float]:
    """Let a server rest that has answered one question."""
    port = free_port()
    options = () if workers == 1 else ("--workers", str(workers))
    with tempfile.TemporaryDirectory() as made, server(Path(made), port, *options) as process:
        await listening(port)
        stream, _last, reading = await ask(port)
        await asyncio.wait([reading], timeout=0.5)
        reading.cancel()
        await stop(port, stream)
        await asyncio.sleep(REST)
        pids = tree(process.pid)
        before = [measured(pid) for pid in pids]
        await asyncio.sleep(seconds)
        after = [measured(pid) for pid in pids]
    rows = [[later - sooner for later, sooner in zip(*both, strict=True)] for both in zip(after, before, strict=True)]
    return {
        "processes": len(pids),
        "wake-ups/s, all": sum(row[0] for row in rows) / seconds,
        "of the busiest": max(row[0] for row in rows) / seconds,
        "CPU %": sum(row[1] for row in rows) / seconds * 100,
        "bytes written/s": sum(row[2] for row in rows) / seconds,
    }


async def stop(port: int, stream: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"DELETE /v1/streams/{stream} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()


def table(title: str, rows: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"### {title}", "", f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for row, values in rows.items():
        lines.append(f"| {row} | {' | '.join(f'{values[column]:,.3g}' for column in columns)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams, for less long: a first impression")
    parser.add_argument("--only", choices=["move", "take-over", "idle"], help="one of the tables")
    parser.add_argument("--output", type=Path, help="also write the Markdown there")
    parser.add_argument("--produce", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce:
        asyncio.run(produce(Path(options.produce[0]), int(options.produce[1])))
        return
    seconds = 5.0 if options.quick else 30.0
    sizes = (100,) if options.quick else (300, 500)
    found = versions(Path(sys.executable), ["tickertape"])
    parts = [
        "## Several processes on one log",
        CONFESSION,
        f"{describe()}; {', '.join(f'{k} {v}' for k, v in found.items())}.\n",
    ]
    if options.only in (None, "move"):
        rows = {f"{size} streams": asyncio.run(move(size, seconds)) for size in sizes}
        parts.append(table(f"All readers move to another process, after {seconds:g} s", rows))
    if options.only in (None, "take-over"):
        rows = {f"{sizes[0]} answers": asyncio.run(take_over(sizes[0], seconds))}
        parts.append(table(f"The same with servers and --takeover, after {seconds:g} s", rows))
    if options.only in (None, "idle"):
        rows = {f"{workers} worker{'s' * (workers > 1)}": asyncio.run(idle(workers, seconds / 2)) for workers in (1, 2)}
        parts.append(table("A server that nobody uses", rows))
    text = "\n".join(parts)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
