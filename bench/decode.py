"""What it costs to decode an event, beside the decoders of other Python libraries.

Every decoder runs in a process and an environment of its own, all on one core, taking turns. In its turn it makes
five passes over the same bytes, so that caches are as warm as they are when bytes come from a socket. A figure is the
least CPU time of all its passes, divided by the events of one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent / "decoding"))
from contestants import REQUIREMENTS
from shapes import EVENTS, READS

from machine import describe, venv, versions

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = Path(__file__).parent / "decoding" / "contestants.py"
CASES = Path(__file__).parents[1] / "conformance" / "format.json"
GIANT = "14 MB of base64"

CONFESSION = """\
What this does not show, first. Decoding is a small part of reading a stream: the HTTP client under it costs many
times as much per event. The rivals' decoders are run without their HTTP client, some through private modules, and
the SDKs go on to parse the JSON and build objects, which is not counted. The rivals yield events one by one where
tickertape returns a list a read; the loop over it is counted. All data is one model's chunk of some 280
bytes, one in 25 with a word that is not ASCII. CPU time on a machine that other work shares: minima compare with each
other in one run, not with another machine's. What a decoder skips of the standard may be what makes it fast: the last
row counts the cases that each reads wrong by the types and data of the events alone; a crash is one.
"""


class Contestant:
    """One decoder in its process."""

    def __init__(self, name: str) -> None:
        requirements = REQUIREMENTS[name]
        python = venv(f"decode-{name}", requirements) if requirements else Path(sys.executable)
        self.name = name
        self.version = versions(python, requirements)[name] if requirements else version(name)
        self._python = python

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[None]:
        words = [self._python, WORKER, self.name, *options]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as self._process:
            yield
            assert self._process.stdin
            self._process.stdin.close()

    def answer(self, job: dict[str, Any]) -> Any:
        """Return the worker's answer: ns per event, None if the events were wrong, or the number of misread cases."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def measure(
    contestants: list[Contestant], shape: str, read: str, turns: int, passes: int = 5
) -> dict[str, list[float] | None]:
    """Return each one's ns per event in every turn, or None for one that read something else."""
    times: dict[str, list[float] | None] = {it.name: [] for it in contestants}
    for _ in range(turns):
        for contestant in contestants:
            taken = contestant.answer({"shape": shape, "read": read, "passes": passes})
            series = times[contestant.name]
            if taken is None or series is None:
                times[contestant.name] = None
            else:
                series.append(taken)
    return times


def row(label: list[str], times: dict[str, list[float] | None], unit: float) -> str:
    """Return a row of minima; the last column says how many times the best rival's our figure is."""
    best = {name: min(series) / unit if series else None for name, series in times.items()}
    rivals = [figure for name, figure in best.items() if name != "tickertape" and figure is not None]
    ours = best["tickertape"]
    ratio = f"{min(rivals) / ours:.2f}" if ours and rivals else "-"
    shown = ["wrong" if figure is None else f"{figure:,.0f}".replace(",", " ") for figure in best.values()]
    return f"| {' | '.join([*label, *shown, ratio])} |"


def table(contestants: list[Contestant], turns: int) -> Iterator[str]:
    """Yield the table line by line, so that it can be watched."""
    heads = ["ns per event", "a read is", *(it.name for it in contestants), "best rival ÷ tickertape"]
    yield f"| {' | '.join(heads)} |"
    yield f"| --- | --- |{' --: |' * (len(heads) - 2)}"
    spread = []
    for shape in EVENTS:
        for read in READS:
            if shape == GIANT:
                continue
            times = measure(contestants, shape, read, turns)
            yield row([shape, read], times, 1)
            series = times["tickertape"]
            spread += [statistics.median(series) / min(series)] if series else []
    yield row(["14 MB in one event: **ms**", "1 460 B"], measure(contestants, GIANT, "1 460 B", 1, 2), 1e6)
    cases = json.loads(CASES.read_text())
    for contestant in contestants:
        with contestant.running("--comments"):
            contestant.misread = contestant.answer({"cases": cases})
    wrong = [str(it.misread) for it in contestants]
    yield f"| {' | '.join([f'of {len(cases)} cases in conformance/, read wrong', 'as given', *wrong, ''])} |"
    yield f"\nThe median of tickertape's turns was {max(spread):.2f} times the least at most."


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 turns instead of 10: a first impression")
    parser.add_argument("--only", nargs="+", choices=REQUIREMENTS, metavar="NAME", help="leave out other rivals")
    options = parser.parse_args()
    names = [name for name in REQUIREMENTS if not options.only or name in {"tickertape", *options.only}]
    contestants = [Contestant(name) for name in names]
    print("## Decoding\n")
    print(CONFESSION)
    print(f"{describe()}. {', '.join(f'{it.name} {it.version}' for it in contestants)}.\n")
    with contextlib.ExitStack() as stack:
        for contestant in contestants:
            stack.enter_context(contestant.running())
        for line in table(contestants, 2 if options.quick else 10):
            print(line, flush=True)


if __name__ == "__main__":
    main()
