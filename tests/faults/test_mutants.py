"""The list of mechanisms and the tests that guard them is true to the code and to docs/faults.md."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from .mutants import PACKAGE, ROOT, Mutant, mutants

if TYPE_CHECKING:
    from pathlib import Path

ALL = mutants()


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.mechanism for mutant in ALL])
def test_a_mechanism_can_be_taken_out_of_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    for file in {file for file, _old, _new in mutant.edits}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / file, tmp_path / file)
    mutant.apply(tmp_path)
    for test in mutant.tests:
        path, _colons, name = test.partition("::")
        file = PACKAGE / "testing/engine_contract.py" if path == "streams/test_contract.py" else ROOT / "tests" / path
        code = file.read_text("utf-8")
        assert re.search(rf"^(async )?def {name.partition('[')[0]}\(", code, re.MULTILINE), f"{test} is gone"


def test_what_the_simulator_makes_of_a_mechanism_is_written_down() -> None:
    """Every one of the promises that it simulates has a seed that notices its absence, or the reason why none does."""
    simulated = [mutant for mutant in ALL if int(mutant.promise.removeprefix("TT-")) in range(1, 10)]
    assert simulated
    undecided = [mutant.mechanism for mutant in simulated if (mutant.seed is None) == (not mutant.unseen)]
    assert not undecided, "each needs either `simulator` or `unseen` in mutants.toml"


def test_the_documentation_names_every_mechanism_and_the_tests_that_guard_it() -> None:
    page = (ROOT / "docs" / "faults.md").read_text("utf-8")
    _before, _heading, table = page.partition("## What each test guards")
    rows = [line for line in table.splitlines() if line.startswith("| TT-")]
    assert rows == [mutant.row for mutant in ALL]
