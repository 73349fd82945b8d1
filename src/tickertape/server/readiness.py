"""Readiness for ``/readyz``: tests by a write whether streams and conversations can be stored."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from typing import TYPE_CHECKING

from tickertape.errors import ConversationsUnavailable, EngineUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.streams.contract import Engine

logger = logging.getLogger("tickertape")

FRESH = 1.0
"""Seconds that an answer serves all who ask: nobody can have the server write by asking often."""

PATIENCE = 2.0
"""Seconds for a commit. One took 55 ms at worst on a disk that worked."""


class Readiness:
    """Tests on request, once for simultaneous requests; every change is logged."""

    def __init__(self, data: Path, min_free: int, log: Engine, conversations: AsyncStore) -> None:
        self._data = data
        self._min_free = min_free
        self._log = log
        self._conversations = conversations
        self._looking: asyncio.Task[list[str]] | None = None
        self._looked = -FRESH
        self._told: list[str] = []

    async def reasons(self) -> list[str]:
        """Return why the server is not ready, in sentences for anybody; none if it is."""
        if self._looking is None or (self._looking.done() and time.monotonic() > self._looked + FRESH):
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> list[str]:
        found: list[tuple[str, str]] = []  # for the operator, for anybody
        try:
            async with asyncio.timeout(PATIENCE):
                free = await asyncio.to_thread(_free, self._data)
                if free is not None and free < self._min_free:
                    says = f"The disk has {free:,} bytes free, fewer than min_free, {self._min_free:,}."
                    found.append((f"{self._data}: {says}", says))
                for probe in (self._log.probe, self._conversations.probe):
                    try:
                        await probe()
                    except (EngineUnavailable, ConversationsUnavailable) as error:
                        found.append((str(error), error.shown))
        except TimeoutError:
            says = f"Nothing could be written for {PATIENCE:g} seconds: the disk is slow or stuck."
            found.append((f"{self._data}: {says}", says))
        self._tell([operator for operator, _anybody in found])
        self._looked = time.monotonic()
        return [anybody for _operator, anybody in found]

    def _tell(self, reasons: list[str]) -> None:
        if reasons != self._told:
            self._told = reasons
            if reasons:
                logger.error("Not ready: %s", " ".join(reasons))
            else:
                logger.warning("Ready again")


def _free(folder: Path) -> int | None:
    """Return how many bytes this process may still write to the folder's disk, None if the folder is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
