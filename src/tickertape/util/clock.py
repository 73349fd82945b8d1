"""Dates that do not jump when the machine's clock is set."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Return the seconds since 1970, by the clock as it was when this process began and as time has passed since.

    What ends is dated with it: if the machine's clock is set forward by a day, what has just ended is not a day old.
    """
    return _START + time.monotonic()
