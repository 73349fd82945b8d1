"""What `backup`, `restore` and `check` share: the folder they work on, progress, and how findings are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from tickertape.cli.terminal import escape
from tickertape.server.settings import default_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tickertape.storage.check import Finding


def _folder(_context: click.Context, _parameter: click.Parameter, value: str) -> Path:
    if not value:
        raise click.BadParameter("is empty; give it a folder, or leave it out.")
    return Path(value)


data_option: Callable[[Any], Any] = click.option(
    "--data",
    type=click.Path(),
    default=lambda: str(default_data()),
    callback=_folder,
    help="Folder of the stream log and the conversations. [default: the user's data folder]",
)


class Bar:
    """Progress on standard error, a bar for each file, if that is a terminal."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._bars: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how much of a file is done."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(f"{self._verb} {name}", total=total)
        self._progress.update(self._bars[name], completed=done, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()


def report(findings: Iterable[Finding]) -> bool:
    """Print what was found; return whether none of it is serious."""
    fine = True
    for finding in findings:
        click.echo(f"{'' if finding.serious else 'note: '}{escape(finding.sentence)}")
        fine = fine and not finding.serious
    return fine
