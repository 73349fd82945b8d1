"""The page's modules run their own tests in Node.js, with nothing installed."""

from __future__ import annotations

import subprocess

import pytest

from page.node import HERE, node

FILES = sorted(path.name for path in HERE.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES)
def test_the_tests_in_javascript_pass(file: str):
    run = subprocess.run(
        [node(), "--test", file], cwd=HERE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    failed = [line for line in run.stdout.splitlines() if line.strip().startswith("not ok")]
    assert run.returncode == 0, "\n".join([*failed, run.stdout[-10_000:], run.stderr])
