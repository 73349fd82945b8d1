"""The whole without HTTP: streams, providers, generations, delivery and conversations.

::

    core = Core.on_disk("data", [Echo()])
    async with core:                       # start: opens the files, ends what died before
        stream = await core.generations.begin(GenerationSpec(provider, request), owner="ann")

Its life is that of the streams (`tickertape.stream_core`).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.service import ConversationService
from tickertape.deltas import encode_delta
from tickertape.errors import TickertapeError
from tickertape.generation import DAMAGED, LOST
from tickertape.providers.catalog import Catalog
from tickertape.stream_core import StreamCore
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.conversations.models import ConversationLimits
    from tickertape.providers.base import Provider
    from tickertape.stream_core import CoreOptions
    from tickertape.streams.contract import Engine, Stream

logger = logging.getLogger("tickertape")


class Core(StreamCore):
    """Streams with providers and conversations. Use it with ``async with``, or `start` and `stop`.

    ``catalog`` and ``store`` are there from the beginning, ``conversations`` and ``change_feed`` once it has started.
    """

    conversations: ConversationService
    change_feed: ChangeFeed

    def __init__(self, engine: Engine, catalog: Catalog, store: AsyncStore, options: CoreOptions | None = None) -> None:
        super().__init__(engine, options)
        self.catalog = catalog
        self.store = store

    @classmethod
    def on_disk(
        cls,
        folder: Path | str,
        providers: Sequence[Provider] | Catalog,
        options: CoreOptions | None = None,
        *,
        synchronous: str = "NORMAL",
        settings: str = "",
        conversation_limits: ConversationLimits | None = None,
    ) -> Core:
        """Return a core whose streams and conversations are in two SQLite files in a folder, which is made if need be.

        ``providers`` answer, side by side. ``synchronous`` is SQLite's; ``settings`` are shown to other processes that
        want to use the folder too. The files are opened by `start`.
        """
        from tickertape.conversations.async_store import AsyncStore  # whoever brings engines loads no SQLite
        from tickertape.conversations.sqlite import SqliteDatabase
        from tickertape.storage.folder import CHATS_FILE, LOG_FILE
        from tickertape.streams.sqlite.engine import SqliteEngine

        engine = SqliteEngine(
            Path(folder) / LOG_FILE,
            lost=encode_delta(LOST),
            damaged=encode_delta(DAMAGED),
            synchronous=synchronous,
            settings=settings,
        )
        store = AsyncStore(SqliteDatabase(Path(folder) / CHATS_FILE, synchronous), conversation_limits, clock=now)
        catalog = providers if isinstance(providers, Catalog) else Catalog(providers)
        return cls(engine, catalog, store, options)

    async def find(self, stream_id: str, owner: str) -> Stream:
        """Return an owner's stream, also one that is about to start. Raises UnknownStream."""
        await self.conversations.wait_started(stream_id)
        return await super().find(stream_id, owner)

    def _opened(self) -> list[Coroutine[Any, Any, None]]:
        self.conversations = ConversationService(self.store, self.engine, self.catalog, self.generations)
        self.change_feed = ChangeFeed(self.store, self.conversations.finalize_ended)
        return [*super()._opened(), self._load_models()]

    async def _closing(self) -> None:
        self.change_feed.close()
        await self.conversations.close()
        await self.catalog.close()

    @property
    def _sweep_pause(self) -> float:
        return min(super()._sweep_pause, self.conversations.limits.undo)

    async def _expire(self, retention: float) -> None:
        """Delete streams once their text is in its conversation, and what was deleted for good."""
        await self.conversations.expire(retention)

    async def _load_models(self) -> None:
        """Load what takes long to load before the first question comes."""
        try:
            await self.catalog.start()
        except TickertapeError as error:
            logger.warning("%s", error)  # each later start reports it again
