"""Simulates as many seeds as you like, or shows what happens in one: ``make simulate``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from .plan import FAULTS, Plan
from .run import Result, many, shrunk, simulate

BATCH = 20
"""Seeds that a process of the simulator takes at a time."""


@dataclass
class Count:
    """What a number of runs have shown."""

    seeds: int = 0
    seconds: float = 0.0
    events: int = 0
    done: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count a run."""
        self.seeds += 1
        self.seconds += result.seconds
        self.events += result.events
        self.done += result.done
        self.ends += result.ends
        self.violations += [(result.plan.seed, str(violation)) for violation in result.violations]

    def merge(self, other: Count) -> None:
        """Count what another one has counted."""
        self.seeds += other.seeds
        self.seconds += other.seconds
        self.events += other.events
        self.done += other.done
        self.ends += other.ends
        self.violations += other.violations

    def line(self, took: float) -> str:
        """Return how far it is."""
        faults = sum(self.done[fault] for fault in FAULTS)
        failed = len({seed for seed, _what in self.violations})
        return (
            f"{self.seeds:,} seeds, {self.seconds:,.0f} virtual s ({self.seconds / took:.0f} times as fast as real "
            f"ones), {faults:,} faults, {self.events:,} events read, {failed} seeds with violations"
        )

    def table(self) -> str:
        """Return what happened how often."""
        done = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.done.items()))
        ends = ", ".join(f"{state} {count:,}" for state, count in sorted(self.ends.items()))
        return f"What happened: {done}.\nHow the answers ended: {ends}."


def planned(seed: int, *, power_cuts: bool) -> Plan:
    """Return what happens with this seed."""
    return Plan.with_power_cuts(seed) if power_cuts else Plan.of(seed)


def count(seeds: range, *, power_cuts: bool) -> Count:
    """Simulate these."""
    counted = Count()
    with many():
        for seed in seeds:
            counted.add(simulate(planned(seed, power_cuts=power_cuts)))
    return counted


def show(seed: int, *, whole: bool, power_cuts: bool) -> int:
    """Print what happens with one seed; if a promise is broken, the least that breaks it."""
    with many():
        result = simulate(planned(seed, power_cuts=power_cuts))
        if result.violations and not whole:
            print(f"Seed {seed} breaks {result.violations[0]}. The least of it that does so:\n", flush=True)
            result = shrunk(result)
    print(*result.trace, sep="\n")
    print(*(f"\nVIOLATION of {violation}" for violation in result.violations), sep="")
    print(f"{len(result.plan.actions)} actions, {result.seconds:.1f} virtual seconds, digest {result.digest[:16]}.")
    return bool(result.violations)


def search(first: int, seeds: int, jobs: int, *, power_cuts: bool, one: bool = False) -> int:
    """Simulate many seeds, and say which of them fail; no more of them once ``one`` has failed."""
    flag = "--power-cuts " * power_cuts
    total, began, told = Count(), time.monotonic(), 0.0
    batches = [range(at, min(at + BATCH, first + seeds)) for at in range(first, first + seeds, BATCH)]
    with ProcessPoolExecutor(jobs) as pool:
        for counted in pool.map(partial(count, power_cuts=power_cuts), batches):
            for seed, violation in counted.violations:
                print(f'Seed {seed}: {violation}\n    make simulate ARGS="{flag}--seed {seed}" shows how.', flush=True)
            total.merge(counted)
            if one and total.violations:
                pool.shutdown(cancel_futures=True)
                break
            if time.monotonic() - told > 5:
                told = time.monotonic()
                print(total.line(told - began), flush=True)
    print(f"{total.line(time.monotonic() - began)}.\n{total.table()}")
    return bool(total.violations)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds are simulated")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    parser.add_argument("--seed", type=int, help="show this one, with faults dropped that it does not need to fail")
    parser.add_argument("--one", action="store_true", help="end when a seed has failed")
    parser.add_argument("--whole", action="store_true", help="with --seed: drop nothing")
    parser.add_argument("--power-cuts", action="store_true", help="cut the power in every run")
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.seed, whole=options.whole, power_cuts=options.power_cuts)
    return search(options.first, options.seeds, options.jobs, power_cuts=options.power_cuts, one=options.one)


if __name__ == "__main__":
    sys.exit(main())
