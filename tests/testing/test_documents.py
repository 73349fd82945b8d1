"""The guide to the upstream shows a program that runs, and counts right."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tickertape.testing.faults import FAULTS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "testing.md").read_text("utf-8")


def test_the_example_is_shown_as_it_is_and_runs() -> None:
    [(path, text)] = re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    assert text == (ROOT / path).read_text("utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/upstreams.md", "docs/testing.md"])
def test_the_documents_count_the_faults_right(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    counts = re.findall(r"(\d+)\s(?:ways|faults)", text)
    assert counts
    assert set(counts) == {str(len(FAULTS))}
