"""A fault server, and a way to run a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from faults.server import FaultServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click import Command
    from click.testing import Result


@pytest.fixture(scope="session")
def faulty() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command with these arguments; its result has stdout, stderr, exit_code and exception."""
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(command: Command, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(command, arguments, input=stdin)

    return run_command
