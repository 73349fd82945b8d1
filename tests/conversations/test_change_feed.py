"""The changelog as it happens, for an application without a server. Over HTTP: `asgi/test_changes.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER, ask
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.change_feed import ChangeFeed
from tickertape.conversations.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def async_store(tmp_path: Path) -> AsyncIterator[AsyncStore]:
    made = AsyncStore(SqliteDatabase(tmp_path / "chats.db"))
    yield made
    await made.close()


async def add(async_store: AsyncStore, owner: str = OWNER) -> None:
    await async_store.write(lambda store: store.prepare_answer(owner, ask("Hello")))


async def test_a_reader_gets_what_it_missed_and_then_each_change_of_its_owner_once(async_store: AsyncStore) -> None:
    async def nothing() -> None:
        """There are no answers to finalize."""

    feed = ChangeFeed(async_store, nothing)
    await add(async_store)
    async with feed.watch(OWNER, None) as new:
        assert (new.reset, new.entries, new.stream.entries) == (True, [b'2 {"what":"reset"}'], [])
        async with feed.watch(OWNER, 1) as back:
            assert (back.reset, [entry.partition(b" ")[0] for entry in back.entries]) == (False, [b"2"])
        await add(async_store, "ben")
        await add(async_store)
        async with feed.watch(OWNER, 5) as late:
            assert late.stream is new.stream
            assert [entry.partition(b" ")[0] for entry in late.entries] == [b"6"]
            assert [entry.partition(b" ")[0] for entry in late.stream.entries[: late.position]] == [b"5", b"6"]
            assert late.stream.entries[late.position :] == []
    async with feed.watch(OWNER, 99) as unknown:
        assert unknown.reset
        assert unknown.stream is not new.stream, "nobody watched meanwhile"
    feed.close()
