"""What upstreams were seen to say, in public bug reports: each comes out right, or not as completed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from .scripted import Came, came

SHARED = Path(__file__).parents[3] / "shared" / "conformance" / "upstream_cases.json"
OWN = Path(__file__).parents[2] / "conformance" / "upstream.json"


def load(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else []


CASES = [("shared", case) for case in load(SHARED)] + [("own", case) for case in load(OWN)]


def name(value: tuple[str, dict[str, Any]]) -> str:
    origin, case = value
    return f"{origin}-{case['dialect']}-{case['name']}{'' if case['stream'] else '-whole'}"


@pytest.fixture(scope="module")
def results() -> dict[str, Came]:
    found = asyncio.run(came([case for _origin, case in CASES]))
    return {name(value): result for value, result in zip(CASES, found, strict=True)}


@pytest.mark.skipif(not SHARED.is_file(), reason=f"no cases at {SHARED}")
def test_all_61_shared_cases_are_there() -> None:
    assert len(load(SHARED)) >= 61


@pytest.mark.parametrize("value", CASES, ids=name)
def test_what_an_upstream_says_comes_out_right(results: dict[str, Came], value: tuple[str, dict[str, Any]]) -> None:
    case, result = value[1], results[name(value)]
    assert any(result.fits(way) for way in case["any_of"]), (case["expected"], result.state, result.error, result.json)
