"""The contract of an engine, run on the one in memory as if it were yours."""

import pytest

from tickertape.streams.memory import MemoryEngine, MemoryStore
from tickertape.testing.engine_contract import *  # noqa: F403
from tickertape.testing.engine_contract import LOST, Store


class MyStore(Store):
    """Where the streams of one test are kept."""

    def __init__(self) -> None:
        self.kept = MemoryStore()

    def handle(self) -> MemoryEngine:
        """Return another engine on the store, as another process would have one."""
        return MemoryEngine(self.kept, lost=LOST)

    async def end_lease(self, epoch: int) -> None:
        """Make this process look dead: in a database, set back the time of its last heartbeat."""
        self.kept.epochs.discard(epoch)


@pytest.fixture
def store() -> MyStore:
    """Return an empty store for every test."""
    return MyStore()
