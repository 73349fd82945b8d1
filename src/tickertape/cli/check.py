"""``tickertape check``: whether the data folder is as it was written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from tickertape.cli.data_folder import Bar, data_option, report
from tickertape.storage.check import check as look

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Look the data folder through for damage.")
@data_option
def check(*, data: Path) -> None:
    """Look the stream log and the conversations through for damage.

    Their structure, every checksum, and whether the two belong together. Nothing is changed, and the server may run
    meanwhile. Exit code 1 if something is not as it should be.
    """
    with Bar("Checking") as bar:
        findings = list(look(data, bar))
    if not report(findings):
        sys.exit(1)
    click.echo(f"{data} is whole.")
