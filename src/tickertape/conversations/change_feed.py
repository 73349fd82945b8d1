"""The changelog as it happens: a stream of changes in memory for each owner whom somebody in this process watches.

Every change is a row with a number in the store, so that all processes see all of them. This process reads new rows at
once after a change of its own, and every `POLL` seconds while anybody watches. What is new is appended to the owner's
stream, which readers follow as they follow any other. Nothing is read while nobody watches.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tickertape.errors import ConversationError, EngineError
from tickertape.streams.contract import Header, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tickertape.conversations.async_store import AsyncStore
    from tickertape.conversations.models import Change

logger = logging.getLogger("tickertape")

POLL = 0.3
"""Seconds between two reads of what other processes changed, while somebody here watches."""

SWEEP = 5.0
"""Seconds between two searches for answers that ended with a process that died: somebody waits for their end."""

LONGEST = 5_000
"""Changes in one stream. Then it ends; its readers come back with their cursors and get a new one."""

NAME = "changes"
"""The id of the streams of changes."""

_json = msgspec.json.Encoder().encode


class Watch(NamedTuple):
    """Where a reader begins: ``entries`` first, then those of ``stream`` from ``position`` on.

    An entry is a change's number, a space, and JSON. ``reset`` says that the reader's cursor is not known or too old:
    then the only entry is ``{"what":"reset"}``, and the reader reads everything again.
    """

    entries: list[bytes]
    stream: Stream
    position: int
    reset: bool


class ChangeFeed:
    """Who watches in this process, and the streams of their changes.

    ``finalize_ended`` is the service's. `close` it before the store.
    """

    def __init__(self, store: AsyncStore, finalize_ended: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._finalize_ended = finalize_ended
        self._streams: dict[str, Stream] = {}
        self._watching: Counter[str] = Counter()
        self._last = 0
        self._changed = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        store.changed = self._changed.set

    @asynccontextmanager
    async def watch(self, owner: str, after: int | None) -> AsyncIterator[Watch]:
        """Watch an owner's changes after this number, or from now on; None is a new reader, which is a reset."""
        before, newest = await self._store.read(lambda store: store.changelog_range())
        stream = self._enter(owner, newest)
        try:
            reset = after is None or not before <= after <= newest
            if after is None or reset:
                last, entries = newest, [b'%d {"what":"reset"}' % newest]
            else:
                missed = await self._store.read(lambda store: store.changes_after(after, owner))
                last, entries = missed[-1].no if missed else after, [_entry(change) for change in missed]
            await self._read_new()  # the stream has all changes up to the last entry: the rest of it is new
            yield Watch(entries, stream, bisect_right(stream.entries, last, key=_number), reset)
        finally:
            self._leave(owner)

    def close(self) -> None:
        """Stop reading."""
        if self._poller is not None:
            self._poller.cancel()

    def _enter(self, owner: str, newest: int) -> Stream:
        if not self._watching:
            self._last = max(self._last, newest)
        self._watching[owner] += 1
        if owner not in self._streams:
            self._streams[owner] = Stream(Header(id=NAME, owner=owner, model="", created=0))
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        return self._streams[owner]

    def _leave(self, owner: str) -> None:
        self._watching[owner] -= 1
        if not self._watching[owner]:
            del self._watching[owner]
            self._streams.pop(owner, None)

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while self._watching:
            self._changed.clear()
            try:
                await self._read_new()
                if loop.time() - swept > SWEEP:
                    swept = loop.time()
                    await self._finalize_ended()
            except (ConversationError, EngineError) as error:  # a busy or full disk: the next round reads it
                logger.debug("Changes or ends of answers cannot be read: %s", error)
            try:
                async with asyncio.timeout(POLL):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _read_new(self) -> None:
        after = self._last
        self._append(await self._store.read(lambda store: store.changes_after(after)))

    def _append(self, changes: list[Change]) -> None:
        for change in changes:
            if change.no <= self._last:
                continue  # two calls read the same rows
            self._last = change.no
            stream = self._streams.get(change.owner)
            if stream is not None:
                full = len(stream.entries) >= LONGEST
                if full:
                    del self._streams[change.owner]
                stream.extend([_entry(change)], ended=full)


def _entry(change: Change) -> bytes:
    data = {"conversation_id": change.conversation, "what": change.kind}
    if change.message is not None:
        data["message_id"] = change.message
    return b"%d %b" % (change.no, _json(data))


def _number(entry: bytes) -> int:
    return int(entry.partition(b" ")[0])
