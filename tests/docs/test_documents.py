"""What the documents say is there."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path

import pytest

from tickertape.server.settings import TUNABLE, Settings

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "SPEC.md").read_text("utf-8")


@pytest.mark.parametrize("node", re.findall(r"`([^`]+\.py::[^`]+)`", SPEC))
def test_every_test_that_the_spec_names_exists(node: str) -> None:
    path, _colons, name = node.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), f"{node} is gone"


def test_every_promise_says_whether_it_is_kept_and_names_a_test() -> None:
    promises = re.findall(r"^## (TT-\d+) .*?$(.*?)(?=^## |\Z)", SPEC, re.MULTILINE | re.DOTALL)
    assert [name for name, _text in promises] == [f"TT-{number}" for number in range(1, 15)]
    for name, text in promises:
        assert "`tests/" in text, f"{name} names no test"
        assert re.search(rf"\[{name} [^|]+\| (yes|partly|not yet)", SPEC), f"{name} is missing in the table"


@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("*.md")))
def test_every_link_between_the_documents_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text("utf-8")):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_every_make_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for path in ROOT.glob("*.md"):
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", path.read_text("utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path.name} says make {target}"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", (ROOT / "docs/settings.md").read_text("utf-8"), re.MULTILINE)
    defaults = {name: str(attrgetter(name)(Settings())) for name in TUNABLE}
    assert dict(rows) == defaults


def finder() -> list[tuple[str, list[str]]]:
    """Return the rows of ARCHITECTURE's first table: the question, and what stands in backticks in the answer."""
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Find it in a minute")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(question, re.findall(r"`([^`]+)`", answer)) for question, answer in rows[2:]]


@pytest.mark.parametrize(("question", "named"), finder(), ids=[question for question, _named in finder()])
def test_what_the_architecture_leads_to_is_there(question: str, named: list[str]) -> None:
    """Files exist, and a class and its method that stand behind a file are defined in it."""
    assert named, question
    file = ROOT
    for name in named:
        if "/" in name or name.endswith(".py"):
            file = ROOT / name if name.startswith("docs/") else ROOT / "src" / "tickertape" / name
            assert file.exists(), name
        else:
            source = file.read_text("utf-8")
            kind, _dot, method = name.partition(".")
            assert f"class {kind}" in source or f"def {kind}(" in source, name
            assert not method or f"def {method}(" in source, name
