"""The roof: what a person types."""

from __future__ import annotations

import sys

import click

import tickertape
from tickertape.cli.ask import ask
from tickertape.cli.serve import serve
from tickertape.errors import TickertapeError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tickertape.__version__, prog_name="tickertape")
def cli() -> None:
    """Stream an LLM's answer over plain HTTP, and never lose, repeat or falsely complete one."""


for command in (serve, ask):
    cli.add_command(command)


def main() -> None:
    """Run the command line; what goes wrong is one sentence on stderr and exit code 1."""
    try:
        cli.main(prog_name="tickertape")
    except TickertapeError as error:
        click.echo(f"tickertape: {error}", err=True)
        sys.exit(1)
