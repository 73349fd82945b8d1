"""``tickertape backup``: a copy of the data folder while the server runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tickertape.cli.data_folder import Bar, data_option, report
from tickertape.storage.backup import backup as make
from tickertape.storage.check import check


@click.command(short_help="Copy the data folder, while the server runs.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@data_option
def backup(*, folder: Path, data: Path) -> None:
    """Copy the stream log and the conversations into DIR, a new or empty folder.

    The server may run meanwhile and goes on as ever. DIR can be used with --data, or be put back with `tickertape
    restore`. The copy is looked through before this ends. Exit code 1 if it could not be made, or holds damage.
    """
    with Bar("Copying") as bar:
        make(data, folder, bar)
    with Bar("Checking") as bar:
        findings = list(check(folder, bar))
    fine = report(findings)
    click.echo(f"{data} was copied to {folder}.", err=True)
    if not fine:
        click.echo("The copy holds what is damaged in the original; an older one may hold it whole.", err=True)
    sys.exit(0 if fine else 1)
