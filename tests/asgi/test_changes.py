"""The feed of changes: exactly what changed, once, whoever changed it and whenever one comes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from conversations.conftest import OWNER, ask
from tickertape import Decoder
from tickertape.asgi.changes import serve_changes
from tickertape.conversations import change_feed
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.models import ConversationLimits
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.delivery.fanout import Fanout
from tickertape.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape import Event


class Changes(NamedTuple):
    """What the route of changes serves from."""

    feed: ChangeFeed
    fanout: Fanout


class Watcher:
    """A reader of the feed."""

    def __init__(self, changes: Changes, owner: str = OWNER, cursor: str | None = None) -> None:
        self.events: list[Event] = []
        self.headers: dict[bytes, bytes] = {}
        self.ended = False
        self._decoder = Decoder()
        self._more = asyncio.Event()
        self._left = asyncio.Event()
        self.task = asyncio.create_task(serve_changes(*changes, owner, cursor, self._send, self._receive))

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
            return
        self.events += self._decoder.feed(message["body"])
        self.ended = not message["more_body"]
        if self.ended:
            self._left.set()
        self._more.set()

    async def _receive(self) -> Any:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def until(self, count: int) -> list[str]:
        """Wait for so many events; return what they say."""
        while len(self.events) < count:
            self._more.clear()
            await self._more.wait()
        return [json.loads(event.data)["what"] for event in self.events]

    async def leave(self) -> str:
        """Leave; return the last event's id."""
        self._left.set()
        await self.task
        return self.events[-1].id or ""


@pytest.fixture
async def async_store(tmp_path: Path) -> AsyncIterator[AsyncStore]:
    made = AsyncStore(SqliteDatabase(tmp_path / "chats.db"))
    yield made
    await made.close()


@pytest.fixture
async def refreshed() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def changes(async_store: AsyncStore, refreshed: asyncio.Event) -> AsyncIterator[Changes]:
    async def refresh() -> None:
        refreshed.set()

    made = Changes(ChangeFeed(async_store, refresh), Fanout())
    yield made
    made.feed.close()
    made.fanout.close()


async def tell(async_store: AsyncStore, owner: str = OWNER) -> None:
    await async_store.write(lambda store: store.prepare_answer(owner, ask("Hello")))


async def test_a_reader_is_told_to_read_everything_and_then_what_changes(
    async_store: AsyncStore, changes: Changes
) -> None:
    await tell(async_store)
    watcher = Watcher(changes)
    assert await watcher.until(1) == ["reset"]
    await tell(async_store)
    await tell(async_store, "ben")
    await tell(async_store)
    assert await watcher.until(5) == ["reset", "created", "message", "created", "message"]
    assert [event.id for event in watcher.events] == [f"changes.{number}" for number in (2, 3, 4, 7, 8)]
    assert watcher.events[0].retry == 1000
    await watcher.leave()


async def test_who_comes_back_gets_what_it_missed_and_nothing_twice(async_store: AsyncStore, changes: Changes) -> None:
    stays, first = Watcher(changes), Watcher(changes)
    for watcher in (stays, first):
        await watcher.until(1)
    await tell(async_store)
    await first.until(3)
    cursor = await first.leave()
    for _ in range(3):
        await tell(async_store)
    back = Watcher(changes, cursor=cursor)
    await back.until(2)
    await tell(async_store)
    await back.until(8)
    await stays.until(11)
    ids = [event.id for event in [*first.events, *back.events]]
    assert ids == [event.id for event in stays.events]
    assert b"tickertape-cursor" not in back.headers
    for watcher in (stays, back):
        await watcher.leave()


@pytest.mark.parametrize("cursor", ["changes.99", "changes.x", "other.1", "garbage", "changes.0"])
async def test_a_cursor_that_is_not_known_is_told(async_store: AsyncStore, changes: Changes, cursor: str) -> None:
    await tell(async_store)
    if cursor == "changes.0":  # so old that what came after it was dropped
        await async_store.write(lambda store: store.hard_delete())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("tickertape.conversations.changelog.KEPT", 1)
            await async_store.write(lambda store: store.hard_delete())
    watcher = Watcher(changes, cursor=cursor)
    assert await watcher.until(1) == ["reset"]
    assert watcher.headers[b"tickertape-cursor"] == b"reset"
    await watcher.leave()


async def test_what_another_process_changes_is_told_too(
    async_store: AsyncStore, changes: Changes, tmp_path: Path
) -> None:
    watcher = Watcher(changes)
    await watcher.until(1)
    other = SqliteDatabase(tmp_path / "chats.db").open(ConversationLimits())
    await asyncio.to_thread(other.prepare_answer, OWNER, ask("Hello"))
    assert await watcher.until(3) == ["reset", "created", "message"]
    await watcher.leave()
    other.close()


async def test_while_somebody_watches_the_dead_are_looked_for(
    changes: Changes, refreshed: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "SWEEP", 0.0)
    watcher = Watcher(changes)
    await refreshed.wait()
    await watcher.leave()


async def test_a_stream_that_cannot_be_read_keeps_nobody_from_being_told(
    async_store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    async def refresh() -> None:
        refused.set()
        raise EngineUnavailable("The stream log is busy.")

    monkeypatch.setattr(change_feed, "SWEEP", 0.0)
    changes = Changes(ChangeFeed(async_store, refresh), Fanout())
    watcher = Watcher(changes)
    await watcher.until(1)
    await refused.wait()
    await tell(async_store)
    assert await watcher.until(3) == ["reset", "created", "message"]
    await watcher.leave()
    changes.feed.close()
    changes.fanout.close()


async def test_nobody_looks_when_nobody_watches(async_store: AsyncStore, changes: Changes) -> None:
    watcher = Watcher(changes)
    await watcher.until(1)
    await watcher.leave()
    poller = changes.feed._poller
    assert poller is not None
    await poller
    assert changes.feed._streams == {}
    again = Watcher(changes)
    await again.until(1)
    await tell(async_store)
    assert await again.until(3) == ["reset", "created", "message"]
    await again.leave()


async def test_a_feed_that_is_long_ends_and_goes_on_with_the_next_request(
    async_store: AsyncStore, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "LONGEST", 2)
    watcher = Watcher(changes)
    await watcher.until(1)
    for _ in range(3):
        await tell(async_store)
    await watcher.task
    assert watcher.ended
    back = Watcher(changes, cursor=watcher.events[-1].id)
    rest = 7 - len(watcher.events)
    await back.until(rest)
    ids = [event.id for event in [*watcher.events, *back.events]]
    assert ids == [f"changes.{number}" for number in range(7)]
    await back.leave()
