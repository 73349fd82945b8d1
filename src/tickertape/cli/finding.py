"""One thing that `doctor` found.

References name where a rule stands: "HTML 9.2.6" is the WHATWG standard's section on event streams; a client's
name means that this client breaks, as tried in November 2026.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


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
    mend: str = ""
    reference: str = ""
