"""What all commands have in common."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from support.server import clean_environment
from tickertape.cli import cli


def test_ctrl_c_ends_any_command_with_130_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("tickertape.cli.ask"), "_piped", interrupted)
    ended = CliRunner().invoke(cli, ["ask", "--provider=echo"])
    assert (ended.exit_code, ended.output) == (130, "")


def test_the_list_of_commands_cuts_no_sentence_short() -> None:
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert "..." not in shown.output.partition("Commands:")[2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [("ask", "--echo-rate=0", "hi"), ("models", "--list"), ("serve", "--help")])
def test_a_full_disk_behind_the_output_is_one_sentence(arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    program = [sys.executable, "-m", "tickertape", command, "--provider=echo", *rest]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            program, stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment(), timeout=60, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "tickertape: The output cannot be written: No space left on device.\n"
