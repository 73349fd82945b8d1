"""Where logs are kept that are opened again and again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tickertape.streams.sqlite import engine
from tickertape.streams.sqlite import writer as writing

if TYPE_CHECKING:
    from collections.abc import Iterator


def memory_folder() -> str | None:
    """Return a folder in memory, where opening and closing a log costs no wait for a disk; None if there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def quick_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder of the test's own, in memory if possible; tokens do not wait for others."""
    monkeypatch.setattr(writing, "GATHER", 0.0)
    with tempfile.TemporaryDirectory(prefix="tickertape-", dir=memory_folder()) as folder:
        yield Path(folder)


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have engines look at what others have written only when somebody asks for it, not by and by."""
    for name in ("WATCH", "STOPS", "ALONE"):
        monkeypatch.setattr(engine, name, 3600.0)
