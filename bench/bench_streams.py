"""Streams from end to end: what an event, a stream, a reader and an answer cost, beside the rivals.

Every server runs in a process of its own on core 0, the load generator on core 1. CPU time is the server's, user and
kernel, all threads. Rounds are interleaved and the medians are shown, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent / "streams"))
from contestants import CONTESTANTS, Rival, Running, Tickertape, rival_versions

from machine import describe, versions

if TYPE_CHECKING:
    from collections.abc import Callable

    Contestant = Tickertape | Rival
    Row = tuple[str, str, Callable[[Contestant, bool], dict[str, float | None]]]

LOAD = Path(__file__).parent / "streams" / "load.py"

CONFESSION = """\
What this does not show, first. Loopback, no TLS, no proxy, one small machine whose two cores the server and
the load generator share with whatever else runs. The rivals send bytes that were made before: they keep nothing,
encode nothing, resume nothing; tickertape takes the question apart, runs a generation, and writes every event to disk
before it is sent. Its text comes from the built-in echo, not from a network. A delay is counted from when the event
was due after the request was sent, so it holds the request too, and what the reader itself is late when it is
busy (its load is shown). Memory is the process's anonymous memory, without the kernel's socket buffers.
The reader is a bare epoll loop; real clients cost more than any of these servers. Costs are per token, which is an
event with the rivals; tickertape puts tokens that are due together into one event, and only then is it less than one.
"""


def load(running: Running, what: str, **job: Any) -> dict[str, Any]:
    """Run the load generator on the other core."""
    job |= {"what": what, "port": running.port, "pid": running.pid}
    words = ["taskset", "-c", "1", sys.executable, LOAD, json.dumps(job)]
    return dict(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def unpaced(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    with contestant.run(400) as running:  # written at a pace at which every word is an event
        request, _since = contestant.request(running, "unpaced", 0, 1997)
        runs = [load(running, "drain", request=request, streams=50) for _ in range(2 if quick else 5)]
    return {
        "events/s": statistics.median(run["events"] / run["seconds"] for run in runs),
        "CPU-µs/event": statistics.median(run["cpu"] / run["events"] * 1e6 for run in runs),
    }


def _paced(streams: int, contestant: Contestant, quick: bool) -> dict[str, float | None]:
    ramp, settle, watched = (streams / 500, 1, 3) if quick else (streams / 500, 2, 6)
    with contestant.run(20) as running:
        request, _since = contestant.request(running, "paced", 20, int((ramp + settle + watched + 30) * 20))
        seen = load(
            running, "window", request=request, streams=streams, rate=20, ramp=ramp, settle=settle, window=watched
        )
    return _watched(seen, streams * 20)


def _watched(seen: dict[str, Any], due: float) -> dict[str, float | None]:
    return {
        "CPU-µs/token": seen["cpu"] / max(1, seen["tokens"]) * 1e6,
        "of it kernel": seen["kernel"],
        "core": seen["cpu"] / seen["seconds"],
        "delivered": seen["tokens"] / seen["seconds"] / due,
        "tokens/event": seen["tokens"] / max(1, seen["events"]),
        "delay p50 ms": seen["p50"] and seen["p50"] * 1e3,
        "delay p99 ms": seen["p99"] and seen["p99"] * 1e3,
        "reader's load": seen["reader_load"],
    }


def paced_1000(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    return _paced(1000, contestant, quick)


def paced_5000(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    return _paced(5000, contestant, quick)


def idle(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    streams = 500 if quick else 2000
    with contestant.run(0.001) as running:
        request, _since = contestant.request(running, "idle", 0.001, 5)
        return {"KB/stream": load(running, "idle", request=request, streams=streams)["bytes"] / 1000}


def fan(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    watched = 3 if quick else 6
    with contestant.run(100) as running:
        request, since = contestant.request(running, "fan", 100, (watched + 30) * 100)
        since = contestant.begin(running, 100) or since
        seen = load(
            running, "window", request=request, since=since, streams=1000, rate=100, ramp=2, settle=2, window=watched
        )
    return _watched(seen, 1000 * 100)


def short(contestant: Contestant, quick: bool) -> dict[str, float | None]:
    with contestant.run(1e6) as running:
        request, _since = contestant.request(running, "short", 0, 2)
        seen = load(running, "short", request=request, streams=20, window=3 if quick else 6)
    return {
        "answers/s": seen["answers"] / seen["seconds"],
        "CPU-µs/answer": seen["cpu"] / seen["answers"] * 1e6,
        "events/answer": seen["events"] / seen["answers"],
    }


_COUNT = """
import importlib.metadata as metadata, sys
from pip._vendor.packaging.requirements import Requirement
seen, todo = set(), sys.argv[1:]
while todo:
    name = todo.pop().lower().replace("_", "-")
    if name not in seen:
        seen.add(name)
        for requirement in map(Requirement, metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
print(len(seen))
"""


def start(contestant: Contestant, _quick: bool) -> dict[str, float | None]:
    count = subprocess.run(
        [contestant.python, "-c", _COUNT, *contestant.packages], check=True, capture_output=True, text=True
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([contestant.python, "-c", contestant.imports], check=True, cwd=contestant.cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with contestant.run(20) as running:
        status = Path(f"/proc/{running.pid}/status").read_text()
    size = int(status.partition("VmRSS:")[2].split()[0])
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"import CPU s": spent, "MB RSS": size / 1000, "packages": int(count.stdout)}


ROWS: tuple[Row, ...] = (
    ("unpaced", "50 streams x 2 000 events, unpaced (tickertape: a stored stream)", unpaced),
    ("paced", "1 000 streams x 20 events/s (tickertape: log on disk)", paced_1000),
    ("many", "5 000 streams x 20 events/s (tickertape: log on disk)", paced_5000),
    ("idle", "Memory of an idle open stream", idle),
    ("fan", "One stream to 1 000 readers x 100 events/s", fan),
    ("short", "Answers of 5 events, a new connection each, 20 at a time", short),
    ("start", "Start", start),
)


def show(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def table(title: str, results: dict[str, list[dict[str, float | None]]]) -> str:
    columns = next(list(found[0]) for found in results.values() if found)
    lines = [f"### {title}", "", f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for name, rounds in results.items():
        cells = []
        for column in columns:
            values = [value for found in rounds if (value := found[column]) is not None]
            cells.append(show(statistics.median(values) if values else None))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: a first impression")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3; 1 with --quick)")
    parser.add_argument("--rows", default="", help=f"comma-separated: {','.join(name for name, _t, _r in ROWS)}")
    parser.add_argument("--only", help="comma-separated parts of contestants' names")
    parser.add_argument("--against", type=Path, help="another checkout of tickertape, to be measured in the same run")
    parser.add_argument("--output", type=Path, help="also write the Markdown there")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 20000, hard))
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("This needs two cores: one for the server, one for the load generator.")
    contestants = (*CONTESTANTS, *([Tickertape(options.against)] if options.against else ()))
    chosen = [c for c in contestants if not options.only or any(part in c.name for part in options.only.split(","))]
    wanted = options.rows.split(",") if options.rows else [name for name, _title, _run in ROWS]
    found = rival_versions() | versions(Path(sys.executable), ["tickertape"])
    parts = [
        "## Streams, end to end",
        CONFESSION,
        f"{describe()}; {', '.join(f'{k} {v}' for k, v in found.items())}.\n",
    ]
    for name, title, run in ROWS:
        if name not in wanted:
            continue
        results: dict[str, list[dict[str, float | None]]] = {contestant.name: [] for contestant in chosen}
        for _round in range(options.rounds or (1 if options.quick else 3)):
            for contestant in chosen:
                results[contestant.name].append(run(contestant, options.quick))
        parts.append(table(title, results))
        print(parts[-1], file=sys.stderr)
    text = "\n".join(parts)
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
