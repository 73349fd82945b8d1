"""What all commands have in common."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from click.testing import CliRunner

from tickertape.cli import cli

if TYPE_CHECKING:
    import pytest


def test_ctrl_c_ends_any_command_with_130_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("tickertape.cli.ask"), "_piped", interrupted)
    ended = CliRunner().invoke(cli, ["ask", "--provider=echo"])
    assert (ended.exit_code, ended.output) == (130, "")
