"""Two hundred seeds, the same ones every time; ``make simulate`` tries as many others as you like."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.asgi import replay
from tickertape.dialects.base import cursor_position as read_cursor
from tickertape.streams.sqlite import file_format
from tickertape.streams.sqlite.engine import SqliteEngine

from .plan import Plan
from .run import many, shrunk, simulate
from .world import PREFIX, World

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = 200
BLOCK = 20
POWER_CUTS = range(24)
"""Seeds of the runs with power cuts."""


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with many():
        yield


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_promise_is_kept_whatever_breaks(first: int) -> None:
    broken = [
        f'{violation} (make simulate ARGS="--seed {seed}" shows how)'
        for seed in range(first, first + BLOCK)
        for violation in simulate(Plan.of(seed)).violations
    ]
    assert not broken, "\n".join(broken)


def test_a_power_cut_takes_ends_with_normal_and_nothing_with_full_and_completes_no_answer() -> None:
    broken = [
        f'{violation} (make simulate ARGS="--power-cuts --seed {seed}" shows how)'
        for seed in POWER_CUTS
        for violation in simulate(Plan.with_power_cuts(seed)).violations
    ]
    assert not broken, "\n".join(broken)


def test_a_power_cut_is_noticed_if_full_does_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults: dict[str, Any] = SqliteEngine.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "connect", lambda path, role, **_options: file_format.connect(path, role))
    plans = (Plan.with_power_cuts(seed) for seed in POWER_CUTS)
    assert any(simulate(plan).violations for plan in plans if plan.synchronous == "FULL")


def test_a_seed_gives_the_same_run_every_time() -> None:
    seeds = range(SEEDS, SEEDS + 5)
    plans = [*map(Plan.of, seeds), *map(Plan.with_power_cuts, seeds)]
    first, second = ([simulate(plan).trace for plan in plans] for _ in range(2))
    assert first == second
    assert len({"\n".join(trace) for trace in first}) == len(plans)


def test_a_trace_does_not_say_where_the_files_of_its_run_are() -> None:
    world = World(0)
    world.log("p1", f"says: {tempfile.gettempdir()}/{PREFIX}x7d_/tape.db cannot be used")
    assert world.trace == ["    0.0000  p1       says: data/tape.db cannot be used"]


def test_a_broken_promise_is_noticed_and_shown_with_the_least_that_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes back with a cursor gets its last event again."""
    monkeypatch.setattr(
        replay, "cursor_position", lambda cursor, stream_id: max((read_cursor(cursor, stream_id) or 0) - 1, 0)
    )
    found = next(result for result in map(simulate, map(Plan.of, range(SEEDS))) if result.violations)
    least = shrunk(found)
    assert {violation.promise for violation in least.violations} == {"TT-1"}
    assert [action.kind for action in least.plan.actions] == ["ask"]  # whose connection is cut
    assert simulate(least.plan).trace == least.trace
