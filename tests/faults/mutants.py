"""Takes out, one after the other, what keeps the promises, and sees that the tests fail: ``make mutants``.

`mutants.toml` lists the mechanisms. For each, a copy of the package without it goes first on the path of the tests
that are said to guard it, and of the servers that they start. A mutant that survives is a test that guards nothing.
`simulator` is a seed with which the simulator notices it, with `power_cuts` one of its runs with power cuts; `unseen`
says why it does not.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "src" / "tickertape"

HANGS = 600
"""Seconds. A test that takes longer hangs; it should fail."""

SEARCHED = 300
"""Seeds that are tried where the one in `mutants.toml` does not notice, as a change of the simulator moves them all."""


@dataclass(frozen=True)
class Mutant:
    """One mechanism, how it is taken out, and the tests that must fail without it."""

    promise: str
    mechanism: str
    edits: list[tuple[str, str, str]]
    tests: list[str]
    seed: int | None = None
    power_cuts: bool = False
    unseen: str = ""

    def apply(self, package: Path) -> None:
        """Take it out of this copy of the package. Raises ValueError if the code is not what it was."""
        for file, old, new in self.edits:
            path = package / file
            code = path.read_text("utf-8")
            if code.count(old) != 1:
                raise ValueError(f"{file} holds {old!r} {code.count(old)} times; once is needed")
            code = code.replace(old, new)
            ast.parse(code)
            path.write_text(code, "utf-8")

    @property
    def row(self) -> str:
        """This mutant's row of the table in docs/faults.md."""
        names = ", ".join(f"`{test}`" for test in self.tests)
        return f"| {self.promise} | {self.mechanism} | {names} |"


def mutants() -> list[Mutant]:
    """Return all of them, in the order of the promises."""
    listed = tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))["mutant"]
    return sorted(
        (
            Mutant(
                entry["promise"],
                entry["mechanism"],
                [(edit["file"], edit["old"], edit["new"]) for edit in entry["edit"]],
                entry["tests"],
                entry.get("simulator"),
                entry.get("power_cuts", False),
                entry.get("unseen", ""),
            )
            for entry in listed
        ),
        key=lambda mutant: int(mutant.promise.removeprefix("TT-")),
    )


def survivors(mutant: Mutant) -> list[str]:
    """Return the tests that do not notice that the mechanism is gone."""
    left = [test for test in mutant.tests if not notices(mutant, test)]
    if mutant.seed is not None and not simulator_notices(mutant, mutant.seed):
        other = noticing_seed(mutant)
        instead = f"none up to {SEARCHED} does" if other is None else f"seed {other} does, and is to be written down"
        left.append(f"the simulator with seed {mutant.seed}; {instead}")
    return left


def simulator_notices(mutant: Mutant, seed: int) -> bool:
    """Simulate one seed without the mechanism; return whether a promise was seen broken."""
    flags = ("--power-cuts",) if mutant.power_cuts else ()
    run = without(mutant, "-m", "simulation", "--whole", *flags, "--seed", str(seed))
    if "virtual seconds, digest" not in run.stdout:
        raise RuntimeError(f"Seed {seed} could not be simulated:\n{run.stdout[-1000:]}{run.stderr[-3000:]}")
    return run.returncode == 1


def noticing_seed(mutant: Mutant) -> int | None:
    """Return the first seed with which the simulator notices that the mechanism is gone, None if none does."""
    flags = ("--power-cuts",) if mutant.power_cuts else ()
    run = without(mutant, "-m", "simulation", *flags, "--one", "--jobs", "1", "--seeds", str(SEARCHED))
    found = re.search(r"^Seed (\d+): ", run.stdout, re.MULTILINE)
    return int(found[1]) if found else None


def without(mutant: Mutant, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in tests/ with a copy of the package that lacks the mechanism."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        shutil.copytree(PACKAGE, Path(folder) / "tickertape", ignore=shutil.ignore_patterns("__pycache__"))
        mutant.apply(Path(folder) / "tickertape")
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT / "tests",
            env=os.environ | {"PYTHONPATH": folder, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS,
        )


def notices(mutant: Mutant, test: str) -> bool:
    """Run one test, in its short form, against a copy of the package without the mechanism."""
    run = without(mutant, "-m", "pytest", test, "-m", "not soak", "-x", "-q", "-p", "no:cacheprovider")
    if run.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise RuntimeError(f"{test} could not be run:\n{run.stdout[-3000:]}{run.stderr[-1000:]}")
    return run.returncode == 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only those with these words in promise, mechanism or tests")
    parser.add_argument("--at-once", type=int, default=2, help="how many are tried at the same time")
    options = parser.parse_args()
    chosen = [mutant for mutant in mutants() if all(word in f"{mutant.row} " for word in options.words)]
    left: list[str] = []

    def attempt(mutant: Mutant) -> None:
        began = time.monotonic()
        try:
            found = survivors(mutant)
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            found = [f"{error}"]
        left.extend(f"{mutant.mechanism}: {test}" for test in found)
        verdict = f"SURVIVED {', '.join(found)}" if found else "noticed"
        print(f"{verdict}: {mutant.promise} {mutant.mechanism} ({time.monotonic() - began:.0f} s)", flush=True)

    with ThreadPoolExecutor(options.at_once) as pool:
        list(pool.map(attempt, chosen))
    print(f"{len(chosen)} mechanisms were taken out, {sum(len(mutant.tests) for mutant in chosen)} tests run.")
    print(*(f"Nobody noticed: {line}" for line in left), sep="\n")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
