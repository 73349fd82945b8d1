"""The contract suite on our own engines; `tickertape.testing.engine_contract` holds the tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tickertape.streams.memory import MemoryEngine, MemoryStore
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import *  # noqa: F403
from tickertape.testing.engine_contract import LOST, Store

if TYPE_CHECKING:
    from pathlib import Path


class InMemory(Store):
    def __init__(self) -> None:
        self.store = MemoryStore()

    def handle(self) -> MemoryEngine:
        return MemoryEngine(self.store, lost=LOST)

    async def end_lease(self, epoch: int) -> None:
        self.store.epochs.discard(epoch)


class InFile(Store):
    def __init__(self, path: Path) -> None:
        self.path = path

    def handle(self) -> SqliteEngine:
        return SqliteEngine(self.path, lost=LOST, reap=0.05)

    async def end_lease(self, epoch: int) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("UPDATE producer SET beat = beat - 1000 WHERE no = ?", (epoch,))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return InMemory() if request.param == "memory" else InFile(tmp_path / "tape.db")
