"""``tickertape models``: what is served, and whether it answers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.scripted import Scripted
from support.server import clean_environment
from tickertape.cli.probe import probe
from tickertape.deltas import Usage
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def config(upstream: Upstream, tmp_path: Path) -> Path:
    path = tmp_path / "tickertape.toml"
    base = f"http://127.0.0.1:{upstream.port}"
    path.write_text(
        f'[[upstream]]\nname = "claude"\ndialect = "anthropic"\nbase_url = "{base}"\nkey_env = "SOME_KEY"\n'
        f'models = ["healthy", "clean-eof", "bad-key"]\n'
        f'[[upstream]]\nname = "home"\ndialect = "ollama"\nbase_url = "{base}"\nmodels = ["recovers", "stall"]\n'
    )
    return path


def models(config: Path, *arguments: str) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-m", "tickertape", "models", f"--config={config}", *arguments],
        capture_output=True,
        text=True,
        env=clean_environment({"SOME_KEY": KEY}),
        timeout=100,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert KEY not in ended.stdout + ended.stderr
    return ended.returncode, ended.stdout.splitlines()


def test_the_first_model_of_every_upstream_is_asked(config: Path) -> None:
    code, lines = models(config)
    assert code == 0
    assert [line.split()[0] for line in lines] == [
        "claude/healthy",
        "claude/clean-eof",
        "claude/bad-key",
        "home/recovers",
        "home/stall",
    ]
    assert re.search(r"first token \d+\.\d\d s, \d+ tokens/s, whole \(stop\)$", lines[0])
    assert lines[3].endswith("whole (stop), asked 3 times")
    assert [len(line.split()) for line in (lines[1], lines[2], lines[4])] == [1, 1, 1]


def test_a_cut_answer_and_a_refusal_are_told_and_are_failures(config: Path) -> None:
    code, lines = models(config, "clean-eof", "claude/bad-key", "home/unlisted")
    assert code == 1
    assert lines[1].endswith("cut off: it ended without saying that it was done")
    assert "refused the API key (HTTP 401)" in lines[2]
    assert lines[-1].startswith("home/unlisted")
    assert "whole (stop)" in lines[-1]


async def test_counts_that_are_no_numbers_are_no_rate() -> None:
    provider = Scripted()
    provider.say("One", Usage({"completion_tokens": None}))
    provider.finish()
    result = await probe(provider, "scripted")
    assert (result.whole, result.rate) == (True, None)


def test_a_list_asks_nobody(config: Path, upstream: Upstream) -> None:
    before = len(upstream.asked)
    assert models(config, "--list")[0] == 0
    assert len(upstream.asked) == before
