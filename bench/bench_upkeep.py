"""What the upkeep of the file of the log costs who commits: checkpoints, cutting the WAL, giving pages back.

One answer is written, an entry at a time, as fast as they are committed; the time from each append to its reader is
taken: while nothing else happens, while old answers expire and the file shrinks, and while it is backed up.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from machine import describe
from tickertape.streams.contract import Header
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from tickertape.streams.contract import StreamWriter

LOST = b'.{"state":"lost"}'


async def fill(log: SqliteEngine, streams: int, size: int) -> None:
    """Store so many answers of so many bytes."""
    for first in range(0, streams, 100):
        writers = [
            await log.create(Header(id=f"{number:032x}", owner="", model="m", created=0), [b"x" * size])
            for number in range(first, min(first + 100, streams))
        ]
        await asyncio.gather(*(writer.finish([LOST]) for writer in writers))


async def commits(writer: StreamWriter, until: asyncio.Event) -> list[float]:
    """Append an entry after the other until something has happened; return what each took to its reader."""
    delays: list[float] = []
    stream = writer.stream
    while not until.is_set():
        begun = time.perf_counter()
        size = len(stream.entries)
        writer.append([b'"t a token"'])
        while len(stream.entries) == size:
            await stream.wait(size)
        delays.append(time.perf_counter() - begun)
        await asyncio.sleep(0.002)
    return delays


def show(what: str, seconds: float, delays: list[float]) -> str:
    points = statistics.quantiles(delays, n=100)
    figures = (points[49], points[98], max(delays))
    return f"| {what} | {seconds:.1f} | {len(delays)} | {' | '.join(f'{figure * 1e3:.1f}' for figure in figures)} |"


async def measure(folder: Path, streams: int, size: int, synchronous: str) -> list[str]:
    path = folder / f"{synchronous}.db"
    lines = []
    async with SqliteEngine(path, lost=LOST, synchronous=synchronous) as log:
        await fill(log, streams, size)
        writer = await log.create(Header(id="f" * 32, owner="", model="m", created=0), [b"begin"])

        async def beside(what: str, work: object) -> None:
            done = asyncio.Event()
            writing = asyncio.create_task(commits(writer, done))
            begun = time.perf_counter()
            await work  # type: ignore[misc]
            done.set()
            lines.append(show(f"{synchronous}: {what}", time.perf_counter() - begun, await writing))

        async def shrink() -> None:
            upkeep = log._upkeep
            await log.expire(-1)
            while upkeep._timer is None or not (upkeep._work and upkeep._work.done()):
                await asyncio.sleep(0.05)
            while upkeep._deleted or not upkeep._work.done():
                await asyncio.sleep(0.05)

        await beside("nothing else", asyncio.sleep(5))
        before = path.stat().st_size
        await beside(f"{streams} answers expire, the file shrinks", shrink())
        lines.append(f"| {synchronous}: the file, MB | {before / 1e6:.0f} → {path.stat().st_size / 1e6:.0f} | | | | |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--size", type=int, default=50_000, help="bytes of each answer")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    print(f"{describe()}\n\n| | s | commits | p50 ms | p99 ms | worst ms |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for synchronous in ("NORMAL", "FULL"):
            lines = asyncio.run(measure(Path(folder), options.streams, options.size, synchronous))
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
