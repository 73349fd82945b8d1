"""What the fault tests share: the oracle, two scales, and the table of counts at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .oracle import COUNTS, Oracle, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Oracle]]:
    """Make oracles for the servers at these URLs; in the end none of them may have seen a violation."""
    made: list[Oracle] = []

    def make(fault: str, url: str) -> Oracle:
        made.append(Oracle(fault, url))
        return made[-1]

    yield make
    violations = [violation for oracle in made for violation in oracle.count.violations]
    assert not violations, f"{len(violations)} violations, first these:\n" + "\n".join(violations[:10])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section("faults")
        terminalreporter.write_line(table())
