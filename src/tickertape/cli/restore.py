"""``tickertape restore``: the way back from a backup."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tickertape.cli.data_folder import Bar, data_option, report
from tickertape.errors import TickertapeError
from tickertape.storage.backup import restore as put_back
from tickertape.storage.check import check


@click.command(short_help="Put a backup back.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@data_option
@click.option("--replace", is_flag=True, help="Move files that are there into a folder beside them.")
def restore(*, folder: Path, data: Path, replace: bool) -> None:
    """Copy what `tickertape backup` put into DIR to the data folder, which no server may be using.

    Files that are there are left alone, unless you say --replace. Exit code 1 if it was not done, or the backup holds
    damage.
    """
    with Bar("Checking") as bar:
        findings = list(check(folder, bar))
    fine = report(findings)
    try:
        with Bar("Copying") as bar:
            aside = put_back(folder, data, bar, replace=replace)
    except TickertapeError as error:
        if any(str(error) == finding.sentence for finding in findings):
            sys.exit(1)  # the reason is printed
        raise
    if aside is not None:
        click.echo(f"What was in {data} is in {aside} now; delete it when it is no longer needed.", err=True)
    click.echo(f"{folder} was restored to {data}.", err=True)
    sys.exit(0 if fine else 1)
