"""tickertape's own client machinery, on the simulated network against the real server code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.asgi import replay
from tickertape.dialects.base import cursor_position as read_cursor

from .client_machine import ClientRun
from .plan import Plan
from .run import many

if TYPE_CHECKING:
    import pytest

SEEDS = range(40)
OTHER_READERS = ("join", "stop elsewhere", "abandon")


def test_a_client_ends_with_what_the_log_says_whatever_breaks() -> None:
    broken: list[str] = []
    answers = reconnects = 0
    with many():
        for seed in SEEDS:
            result = ClientRun(Plan.of(seed)).go()
            broken += [f"seed {seed}: {violation}" for violation in result.violations]
            answers += result.done["client answers"]
            reconnects += result.done["client reconnects"]
    assert not broken, "\n".join(broken)
    assert answers > len(SEEDS), "clients that read to an end"
    assert reconnects > len(SEEDS), "cuts that they mended"


def test_a_client_passes_over_what_a_server_sends_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        replay, "cursor_position", lambda cursor, stream_id: max((read_cursor(cursor, stream_id) or 0) - 1, 0)
    )
    broken: list[str] = []
    with many():
        for seed in range(6):
            plan = Plan.of(seed)
            others = {action.number for action in plan.actions if action.kind in OTHER_READERS}
            broken += map(str, ClientRun(plan.without(others)).go().violations)
    assert not broken, "\n".join(broken)
