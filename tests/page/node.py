"""Node.js for tests: where it is, or why a test that needs it is skipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEAST = (20, 19)
"""The first version that takes a .js file with `import` in it for a module, as browsers do."""


@cache
def node() -> str:
    """Return the path of a Node.js that is new enough; skip the test if there is none."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed: the page's modules are tested in it")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < LEAST:
        pytest.skip(f"node is {version}; the tests of the page's modules need v{'.'.join(map(str, LEAST))} or newer")
    return path
