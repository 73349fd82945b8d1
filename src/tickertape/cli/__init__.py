"""The roof: what a person types. A command's module is imported when it is called, so that each pays for itself."""

from __future__ import annotations

import errno
import logging
import os
import sys
from importlib import import_module
from io import TextIOWrapper

import click

import tickertape
from tickertape.cli.terminal import escape
from tickertape.errors import TickertapeError

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells give it."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

COMMANDS = ("serve", "ask", "models", "tail", "doctor", "backup", "restore", "check")


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"tickertape.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command. Ctrl-C ends it wherever it is; click would print "Aborted!" and exit with 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tickertape.__version__, prog_name="tickertape")
def cli() -> None:
    """Stream an LLM's answer over plain HTTP, and never lose, repeat or falsely complete one."""


def main() -> None:
    """Run the command line; what goes wrong is one sentence on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows few characters shows the others so
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.ERROR)  # what `ask` and `models` are warned of, they say themselves
    try:
        cli.main(prog_name="tickertape")
    except TickertapeError as error:
        click.echo(f"tickertape: {escape(str(error))}", err=True)  # it may quote a server
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the exit would try once more
        click.echo(f"tickertape: The output cannot be written: {error.strerror}.", err=True)
        sys.exit(1)
