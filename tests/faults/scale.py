"""Every fault at two scales: short, on every run of the tests, and long, in ``make soak``."""

from __future__ import annotations

from typing import Any

import pytest


def at_scale(**figures: tuple[Any, Any]) -> pytest.MarkDecorator:
    """Give a test each of these arguments twice: its short and its long figure."""
    short, long = zip(*figures.values(), strict=True)
    soak = [pytest.mark.soak, pytest.mark.timeout(600)]
    return pytest.mark.parametrize(
        list(figures), [pytest.param(*short, id="short"), pytest.param(*long, id="long", marks=soak)]
    )
