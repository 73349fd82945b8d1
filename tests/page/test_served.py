"""What is served is what was written: without its comments the page's modules pass the same tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from page.node import HERE, node
from tickertape.server.assets import Assets

if TYPE_CHECKING:
    from pathlib import Path

ROOT = HERE.parents[1]
PAGE = ROOT / "src" / "tickertape" / "page"
SERVED = Assets().files
PURE = ["chat", "markdown", "reconnect", "sse", "state", "typewriter"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose page is the one that is served."""
    folder = tmp_path_factory.mktemp("served")
    page = folder / "src" / "tickertape" / "page"
    page.mkdir(parents=True)
    for name, asset in SERVED.items():
        (page / name).write_bytes(asset.body)
    shutil.copytree(HERE, folder / "tests" / "page", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conformance").symlink_to(ROOT / "conformance")
    return folder


@pytest.mark.parametrize("name", PURE)
def test_the_modules_own_tests_pass_on_what_is_served(checkout: Path, name: str) -> None:
    command = [node(), "--test", f"{name}.test.js"]
    run = subprocess.run(command, cwd=checkout / "tests" / "page", capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr


@pytest.mark.parametrize("name", sorted(name for name in SERVED if name.endswith(".js")))
def test_a_module_is_served_as_valid_code_without_comments(checkout: Path, name: str) -> None:
    path = checkout / "src" / "tickertape" / "page" / name
    run = subprocess.run([node(), "--check", path], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    served = path.read_text()
    assert not re.search(r"/\*\*|^\s*//", served, re.MULTILINE)
    # Every line of code is still there: nothing but comments and white space was taken away.
    code = [re.sub(r"/\*\*.*?\*/\s?", "", line).strip() for line in (PAGE / name).read_text().splitlines()]
    kept = set(served.splitlines())
    gone = [line for line in code if line and line not in kept and not re.match(r"/?\*|//", line)]
    assert [line for line in gone if re.sub(r"\s+//.*", "", line) not in kept] == []


def test_the_files_of_the_first_load_weigh_less_than_thirty_two_kilobytes() -> None:
    weight = {name: len(asset.compressed) for name, asset in SERVED.items()}
    index = Assets().index.body.decode()
    first = set(re.findall(r"/assets/\w+/([\w.-]+)", index)) - {"app.js"}
    assert "api.js" in first
    assert sum(weight[name] for name in first | {"app.js"}) + len(Assets().index.compressed) <= 32_000
