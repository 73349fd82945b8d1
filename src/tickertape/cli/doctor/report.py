"""Findings, and how they are printed.

References name where a rule stands: "HTML 9.2.6" is the WHATWG standard's section on event streams; a client's
name means that this client breaks, as tried in November 2026.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tickertape.cli.terminal import escape


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was checked: what was found, what to do about it, and where that is written."""

    level: Level
    about: str
    found: str
    fix: str = ""
    reference: str = ""


_MARKS = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("·", "dim"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
}


def print_findings(findings: list[Finding]) -> None:
    """Print a line for each finding, with the fix below it, and a summary."""
    from rich.console import Console
    from rich.text import Text

    out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        out.print(
            Text(f"{mark} {finding.about:{width}}  ", style=colour).append(escape(finding.found), style="default")
        )
        if finding.fix and finding.level is not Level.OK:
            reference = f" ({finding.reference})" if finding.reference else ""
            out.print(Text(f"  {'':{width}}  {finding.fix}{reference}", style="dim"))
    counts = [(level, sum(finding.level is level for finding in findings)) for level in (Level.PROBLEM, Level.WARNING)]
    said = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts if count]
    out.print(f"{' and '.join(said) or 'No problems found'}.", style="bold")
