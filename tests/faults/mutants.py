"""Takes out, one after the other, what keeps the promises, and sees that the tests fail: ``make mutants``.

`mutants.toml` lists the mechanisms. For each, a copy of the package without it goes first on the path of the tests
that are said to guard it, and of the servers that they start. A mutant that survives is a test that guards nothing.
`simulator` is a seed with which the simulator notices it, with `power_cuts` one of its runs with power cuts; `unseen`
says why it does not.
"""

from __future__ import annotations

import argparse
import ast
import compileall
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

HANGS = 60
"""Seconds after which a test has failed: without the mechanism many wait for what does not come."""

TOO_LONG = 600
"""Seconds after which a run was no answer: not even its timeout ended it."""

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


class Trial:
    """What is run against a copy of the package that lacks the mechanism."""

    def __init__(self, mutant: Mutant, package: Path, folder: Path) -> None:
        self.mutant, self._folder = mutant, folder
        shutil.copytree(package, folder / PACKAGE.name)
        mutant.apply(folder / PACKAGE.name)

    def survivors(self) -> list[str]:
        """Return the tests that do not notice that the mechanism is gone."""
        left = [test for test in self.mutant.tests if not self.notices(test)]
        seed = self.mutant.seed
        if seed is not None and not self.simulator_notices(seed):
            other = self.noticing_seed()
            instead = (
                f"none up to {SEARCHED} does" if other is None else f"seed {other} does, and is to be written down"
            )
            left.append(f"the simulator with seed {seed}; {instead}")
        return left

    def notices(self, test: str) -> bool:
        """Run one test, in its short form."""
        options = ("-m", "not soak", "-x", "-q", "-p", "no:cacheprovider", f"--timeout={HANGS}")
        run = self.python("-m", "pytest", test, *options)
        if run.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
            raise RuntimeError(f"{test} could not be run:\n{run.stdout[-3000:]}{run.stderr[-1000:]}")
        return run.returncode == 1

    def simulator_notices(self, seed: int) -> bool:
        """Simulate one seed; return whether a promise was seen broken."""
        run = self.simulation("--whole", "--seed", str(seed))
        if "virtual seconds, digest" not in run.stdout:
            raise RuntimeError(f"Seed {seed} could not be simulated:\n{run.stdout[-1000:]}{run.stderr[-3000:]}")
        return run.returncode == 1

    def noticing_seed(self) -> int | None:
        """Return the first seed with which the simulator notices that the mechanism is gone, None if none does."""
        run = self.simulation("--one", "--jobs", "1", "--seeds", str(SEARCHED))
        found = re.search(r"^Seed (\d+): ", run.stdout, re.MULTILINE)
        return int(found[1]) if found else None

    def simulation(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the simulator."""
        return self.python("-m", "simulation", *arguments, *("--power-cuts",) * self.mutant.power_cuts)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in tests/."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT / "tests",
            env=os.environ | {"PYTHONPATH": str(self._folder), "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=TOO_LONG,
        )


def try_all(chosen: list[Mutant], at_once: int) -> list[str]:
    """Try these; return who did not notice, and of what. The package is compiled once, and copied for each."""
    left: list[str] = []

    def attempt(mutant: Mutant) -> None:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
                found = Trial(mutant, package, Path(folder)).survivors()
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            found = [f"{error}"]
        left.extend(f"{mutant.mechanism}: {test}" for test in found)
        verdict = f"SURVIVED {', '.join(found)}" if found else "noticed"
        print(f"{verdict}: {mutant.promise} {mutant.mechanism} ({time.monotonic() - began:.0f} s)", flush=True)

    with tempfile.TemporaryDirectory(prefix="compiled-") as compiled, ThreadPoolExecutor(at_once) as pool:
        package = Path(compiled) / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(package, quiet=1)
        list(pool.map(attempt, chosen))
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only those with these words in promise, mechanism or tests")
    parser.add_argument("--at-once", type=int, default=2, help="how many are tried at the same time")
    options = parser.parse_args()
    chosen = [mutant for mutant in mutants() if all(word in f"{mutant.row} " for word in options.words)]
    left = try_all(chosen, options.at_once)
    print(f"{len(chosen)} mechanisms were taken out, {sum(len(mutant.tests) for mutant in chosen)} tests run.")
    print(*(f"Nobody noticed: {line}" for line in left), sep="\n")
    return bool(left)


if __name__ == "__main__":
    sys.exit(main())
