"""The guides show programs that run, and count right."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tickertape.testing.faults import FAULTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("guide", "says"), [("testing.md", r"\b5 passed\b"), ("engines.md", r"\b\d\d passed\b")])
def test_the_example_is_shown_as_it_is_and_runs(guide: str, says: str, tmp_path: Path) -> None:
    """It runs as a stranger's would: without this project's configuration."""
    [(path, text)] = re.findall(
        r"<!-- (examples/\S+) -->\n```python\n(.*?)```", (ROOT / "docs" / guide).read_text("utf-8"), re.DOTALL
    )
    assert text == (ROOT / path).read_text("utf-8")
    shutil.copy(ROOT / path, tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(says, done.stdout)
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/upstreams.md", "docs/testing.md"])
def test_the_documents_count_the_faults_right(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    counts = re.findall(r"(\d+)\s(?:ways|faults)", text)
    assert counts
    assert set(counts) == {str(len(FAULTS))}
