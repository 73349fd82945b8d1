"""What a person sees while something is fetched: a bar at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    MakeProgress = Callable[[], AbstractContextManager["Progress"]]


class Progress(Protocol):
    """Shows one step after the other. Sizes are in bytes; a total of 0 is unknown."""

    def begin(self, step: str, total: int) -> None:
        """Begin the next step; the same one again has learned its total."""

    def reach(self, done: int) -> None:
        """Show that this much of the step is done."""

    def say(self, sentence: str) -> None:
        """Show a sentence."""


@contextmanager
def for_terminal() -> Iterator[Progress]:
    """Yield a bar if standard error is a terminal, else plain lines on it."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        yield _Bar(bars)


class _Bar:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._step = ""

    def begin(self, step: str, total: int) -> None:
        if step != self._step and self._step and self._bars.tasks[-1].total is None:
            self._bars.remove_task(self._tasks.pop(self._step))  # it would swing for ever
        self._step = step
        if step in self._tasks:
            self._bars.update(self._tasks[step], total=total or None)
        else:
            self._tasks[step] = self._bars.add_task(step, total=total or None)

    def reach(self, done: int) -> None:
        self._bars.update(self._tasks[self._step], completed=done)

    def say(self, sentence: str) -> None:
        self._bars.console.print(sentence, highlight=False)


class Lines:
    """A line for each step and each quarter of it: short enough for a log."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or (lambda line: print(line, file=sys.stderr, flush=True))
        self._step, self._total, self._quarter = "", 0, 0

    def begin(self, step: str, total: int) -> None:
        """Write a line for a step that is new."""
        if step != self._step:
            self._write(f"{step} ({total // 1_000_000} MB) ..." if total else f"{step} ...")
        self._step, self._total, self._quarter = step, total, 0

    def reach(self, done: int) -> None:
        """Write a line when another quarter of the step is done."""
        quarter = 4 * done // self._total if self._total else 0
        if quarter > self._quarter:
            self._quarter = quarter
            self._write(f"{self._step}: {25 * quarter} %")

    def say(self, sentence: str) -> None:
        """Write a sentence."""
        self._write(sentence)
