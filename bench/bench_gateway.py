"""A gateway in front of a paced upstream: CPU time a token, and how much later the first token comes.

The gateway runs alone on core 0; upstream and reader share core 1, each one epoll loop. Rounds are interleaved and the
medians are shown, as Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "gateway"))
from contestants import BODY, CONTESTANTS, PATH, Gateway, Tickertape, Unavailable

from machine import describe, free_port, server

HERE = Path(__file__).parent / "gateway"
RATE = 100
"""Tokens a second of every stream."""

CONFESSION = """\
What this does not show, first. Loopback, no TLS, one small machine. The relays pass bytes on and keep nothing;
tickertape reads the upstream's dialect, writes every token to its log on disk before it sends it, and encodes it
anew, with ids; tokens that come together share an event. The upstream sends every token in an event and a write of
its own, unless it is late. LiteLLM's proxy is asked for 50 streams, for it does not keep up with 200. The first-token
time is that of one more stream among all the others, a new connection included; *added* is what it is beyond direct.
CPU time is the gateway's, user and kernel; for direct it is the upstream's own.
"""


def measure(contestant: Gateway, quick: bool) -> dict[str, Any]:
    """Run a contestant and the load, and return what was seen."""
    upstream = free_port()
    window = {"window": 3, "settle": 1, "probes": 20} if quick else {"window": 10, "settle": 2, "probes": 100}
    with (
        server([sys.executable, HERE / "upstream.py", upstream, RATE], upstream, 1) as upstream_pid,
        contestant.run(upstream, upstream_pid) as (port, pid),
    ):
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = f"{head}Authorization: Bearer sk-bench-0123456789abcdef\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
        job = {"port": port, "pid": pid, "request": request, "streams": contestant.streams, "ramp": 2, **window}
        words = ["taskset", "-c", "1", sys.executable, HERE / "load.py", json.dumps(job)]
        seen = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return {
        "streams": contestant.streams,
        "CPU-µs/token": seen["cpu"] / max(1, seen["tokens"]) * 1e6,
        "core": seen["cpu"] / seen["seconds"],
        "delivered": seen["tokens"] / seen["seconds"] / (contestant.streams * RATE),
        "first token p50 ms": seen["p50"] and seen["p50"] * 1e3,
        "p99 ms": seen["p99"] and seen["p99"] * 1e3,
        "reader's load": seen["reader_load"],
    }


def show(value: float | None) -> str:
    """Return a figure as it fits the table."""
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def table(rounds: dict[str, list[dict[str, Any]]]) -> str:
    """Return the medians as Markdown, with what each adds to the first token of direct."""
    medians: dict[str, dict[str, float | None]] = {}
    for name, found in rounds.items():
        columns = found[0] if found else {}
        medians[name] = {}
        for column in columns:
            values = [one[column] for one in found if one[column] is not None]
            medians[name][column] = statistics.median(values) if values else None
    direct = medians.get("direct", {}).get("first token p50 ms")
    lines = []
    for name, row in medians.items():
        first = row.get("first token p50 ms")
        row["added p50 ms"] = first - direct if first is not None and direct is not None else None
        if not lines:
            lines = [f"| | {' | '.join(row)} |", f"| --- |{' ---: |' * len(row)}"]
        lines.append(f"| {name} | {' | '.join(show(value) for value in row.values())} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: a first impression")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (3; 1 with --quick)")
    parser.add_argument("--only", help="comma-separated parts of contestants' names")
    parser.add_argument("--against", type=Path, help="another checkout of tickertape, to be measured in the same run")
    parser.add_argument("--output", type=Path, help="also write the Markdown there")
    options = parser.parse_args()
    contestants = (*CONTESTANTS, *([Tickertape(options.against)] if options.against else ()))
    chosen = [c for c in contestants if not options.only or any(part in c.name for part in options.only.split(","))]
    found: list[str] = []
    missing: list[str] = []
    for contestant in tuple(chosen):
        try:
            found.append(contestant.version())
        except Unavailable as error:
            missing.append(f"{contestant.name}: {error}.")
            chosen.remove(contestant)
    rounds: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in chosen}
    for _round in range(options.rounds or (1 if options.quick else 3)):
        for contestant in tuple(chosen):
            try:
                rounds[contestant.name].append(measure(contestant, options.quick))
            except (RuntimeError, subprocess.CalledProcessError) as error:
                missing.append(f"{contestant.name}: it did not run ({error}).")
                chosen.remove(contestant)
            with contextlib.suppress(IndexError):
                print(contestant.name, rounds[contestant.name][-1], file=sys.stderr)
    title = f"## Gateway, {CONTESTANTS[0].streams} streams x {RATE} tokens/s"
    text = "\n\n".join([title, CONFESSION, f"{describe()}; {', '.join(found)}.", table(rounds), *missing]) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
