"""Real servers with something changed inside: a shorter lease, another clock. Their workers inherit it."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "meddle"


def meddle(*lines: str) -> dict[str, str]:
    """Return the environment in which these lines of Python run before everything else."""
    path = os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "MEDDLE": "\n".join(lines)}


def lease(seconds: float, reap: float = 0) -> dict[str, str]:
    """Return the environment in which a process that misses its beat for so long counts as dead.

    Beats, and looks for the dead, come every ``reap`` seconds; six times in the lease if that is not said.
    """
    return meddle(
        "from tickertape.streams.sqlite.engine import SqliteEngine",
        f"SqliteEngine.__init__.__kwdefaults__.update(lease={seconds}, reap={reap or seconds / 6})",
    )
