"""The stream log: what a token costs on its way to the disk, and how soon it is back, beside simpler tables.

Every run is a process of its own. Rounds are interleaved and the medians are shown, as Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "logs"))
from contestants import CONTESTANTS, token

from machine import describe, versions

CONFESSION = """\
What this does not show, first. One small machine with other work on it, and whatever disk is under the folder: FULL
waits for it, NORMAL hardly ever. The rivals are tables as one writes them first, with the same thread, the same
batching of what comes in one turn of the event loop, and no ends, leases, fences or other processes. Readers are
callbacks in the same process: the way through sockets is in the other benchmark. Bytes are what the process hands
to write(), the write-ahead log, checkpoints and, for tickertape, the folding at the end included; the disk may write
more. What a log is behind with when the time is up is not counted, nor its delay. "Unpaced" tokens come in turns of
the loop, one for each of 100 streams, as fast as the log takes them: their delay is that of a full queue. Recovery is
measured with the file in the page cache; tickertape also writes every stream's end and body, the rivals one row each.
"""

STREAMS = {"unpaced": 100, "5 000/s": 250, "20 000/s": 1000}


def written() -> int:
    """Return the bytes that this process has handed to write()."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


class Clock:
    """When every token was appended, and how long it took to come back."""

    def __init__(self, streams: int) -> None:
        self.begun: list[list[float]] = [[] for _ in range(streams)]
        self.done = [0] * streams
        self.count = 0
        self.delays: list[float] = []

    def told(self, stream: int, committed: int) -> None:
        """Note that this stream has so many entries committed."""
        now = time.perf_counter()
        begun, done = self.begun[stream], self.done[stream]
        self.delays += [now - at for at in begun[done:committed]]
        self.count += committed - done
        self.done[stream] = committed


async def produce(log: Any, clock: Clock, rate: float, seconds: float) -> None:
    """Append for so long, at this pace or, at 0, as fast as the log takes it."""
    streams = len(clock.begun)
    start = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - start) < seconds:
        due = int(passed * rate) if rate else count + streams
        while count < due:
            stream = count % streams
            clock.begun[stream].append(time.perf_counter())
            await log.append(stream, token(count))
            count += 1
        await asyncio.sleep(0.001 if rate else 0)


async def flow(kind: Any, path: Path, synchronous: str, pace: str, seconds: float) -> dict[str, float]:
    """Measure tokens on their way."""
    clock = Clock(STREAMS[pace])
    log = kind(path, synchronous)
    await log.open(len(clock.begun), clock.told)
    rate = 0 if pace == "unpaced" else float(pace.removesuffix("/s").replace(" ", ""))
    bytes_before, cpu, start = written(), time.process_time(), time.perf_counter()
    await produce(log, clock, rate, seconds)
    count, passed, spent = clock.count, time.perf_counter() - start, time.process_time() - cpu
    await log.finish()
    delays = statistics.quantiles(clock.delays, n=100)
    return {
        "tokens/s": count / passed,
        "p50 ms": delays[49] * 1e3,
        "p99 ms": delays[98] * 1e3,
        "CPU-µs/token": spent / count * 1e6,
        "bytes/token": (written() - bytes_before) / clock.count,
    }


def recovery(kind: Any, path: Path, entries: int, together: int) -> dict[str, float]:
    """Measure how long a start takes after a death in the middle of so many entries."""
    kind.fill(path, entries, together)
    size = path.stat().st_size
    start = time.perf_counter()
    asyncio.run(kind.recover(path))
    return {"s": time.perf_counter() - start, "MB before": size / 1e6}


def work(job: dict[str, Any]) -> dict[str, float]:
    """Do one job in this process."""
    kind = CONTESTANTS[job["kind"]]
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        path = Path(folder) / "log.db"
        if job["what"] == "flow":
            return asyncio.run(flow(kind, path, job["synchronous"], job["pace"], job["seconds"]))
        return recovery(kind, path, job["entries"], job["together"])


def apart(**job: Any) -> dict[str, float]:
    """Do it in another process."""
    done = subprocess.run([sys.executable, __file__, "--job", json.dumps(job)], check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def table(title: str, results: dict[str, list[dict[str, float]]]) -> str:
    """Return the medians as Markdown."""
    columns = list(next(iter(results.values()))[0])
    lines = [f"### {title}", "", f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for name, rounds in results.items():
        medians = [statistics.median(found[column] for found in rounds) for column in columns]
        lines.append(f"| {name} | {' | '.join(show(value) for value in medians)} |")
    return "\n".join([*lines, ""])


def show(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: a first impression")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3; 1 with --quick)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the files are made")
    parser.add_argument("--output", type=Path, help="also write the Markdown there")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(work(json.loads(options.job))))
        return
    rounds = options.rounds or (1 if options.quick else 3)
    seconds, entries = (2, 100_000) if options.quick else (5, 1_000_000)
    folder = str(options.folder)
    found = versions(Path(sys.executable), ["tickertape"]) | {"SQLite": sqlite3.sqlite_version}
    parts = ["## The stream log", CONFESSION, f"{describe()}; {', '.join(f'{k} {v}' for k, v in found.items())}.\n"]

    def measured(title: str, jobs: dict[str, dict[str, Any]]) -> None:
        results: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
        for _round in range(rounds):
            for name, job in jobs.items():
                results[name].append(apart(folder=folder, **job))
        parts.append(table(title, results))
        print(parts[-1], file=sys.stderr)

    for pace, streams in STREAMS.items():
        measured(
            f"{streams:,} streams, {pace}".replace(",", " "),
            {
                f"{kind.name}, {synchronous}": {
                    "what": "flow", "kind": kind.__name__, "synchronous": synchronous, "pace": pace, "seconds": seconds
                }
                for kind in CONTESTANTS.values()
                for synchronous in ("NORMAL", "FULL")
            },
        )  # fmt: skip
    sizes = {"Tickertape": (1, 20, 1000)}
    measured(
        f"Start after a death with {entries:,} entries of 1 000 running streams".replace(",", " "),
        {
            kind.name + (f", {together} a transaction" if kind.__name__ in sizes else ""): {
                "what": "recovery", "kind": kind.__name__, "entries": entries, "together": together
            }
            for kind in CONTESTANTS.values()
            if kind.name.count("a commit a token") == 0 or kind.__name__ == "Each"
            for together in sizes.get(kind.__name__, (1,))
        },
    )  # fmt: skip
    text = "\n".join(parts)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
