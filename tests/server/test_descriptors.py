"""How many files a process may open."""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

import pytest

from tickertape.server import descriptors
from tickertape.server.descriptors import KEPT, most_connections, raise_limit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def low() -> Iterator[int]:
    """A soft limit below the hard one, which is given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_is_raised_as_far_as_it_may_be_and_half_of_it_is_for_connections(
    low: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert most_connections() == (1000 - KEPT) // 2
    monkeypatch.setattr(descriptors, "MOST", 1500)  # a system that allows a billion
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(low, 1500), low)
    monkeypatch.setattr(descriptors, "MOST", 500)
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(low, 1500), "it was lowered"


def test_a_limit_that_cannot_be_raised_is_told_and_no_reason_not_to_serve(
    low: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with caplog.at_level(logging.WARNING, "tickertape"):
        raise_limit()
    monkeypatch.undo()
    assert f"The limit of 1000 open files cannot be raised to {low}" in caplog.text
