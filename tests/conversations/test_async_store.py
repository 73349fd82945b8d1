"""The conversations on the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from conversations.conftest import OWNER, ask
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.models import ConversationLimits
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import ConversationsUnavailable, UnknownConversation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def async_store(tmp_path: Path) -> AsyncIterator[AsyncStore]:
    made = AsyncStore(SqliteDatabase(tmp_path / "chats.db"), ConversationLimits(undo=5))
    yield made
    await made.close()


async def test_nothing_is_made_before_the_first_conversation(async_store: AsyncStore, tmp_path: Path) -> None:
    assert not async_store.exists
    assert list(tmp_path.iterdir()) == []
    await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
    assert async_store.exists
    assert (await async_store.read(lambda store: store.list_page(OWNER))).total == 1


async def test_the_event_loop_goes_on_while_the_store_works_and_a_reader_holds_no_writer_up(
    async_store: AsyncStore,
) -> None:
    reading, written = threading.Event(), threading.Event()

    def slow(_store: Any) -> bool:
        reading.set()
        return written.wait(60)

    read = asyncio.create_task(async_store.read(slow))
    await asyncio.to_thread(reading.wait, 60)
    await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
    written.set()
    assert await read


async def test_a_change_is_told_on_the_loop_and_a_failure_is_not(async_store: AsyncStore) -> None:
    told: list[int] = []
    async_store.changed = lambda: told.append(threading.get_ident())
    prepared = await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
    assert told == [threading.get_ident()]
    with pytest.raises(UnknownConversation):
        await async_store.write(lambda store: store.soft_delete("ben", prepared.conversation))
    await async_store.read(lambda store: store.list_page(OWNER))
    assert len(told) == 1


async def test_a_write_is_finished_though_its_caller_gave_up(async_store: AsyncStore) -> None:
    started, go = threading.Event(), threading.Event()

    def slow(store: Any) -> None:
        started.set()
        assert go.wait(60)
        store.prepare_answer(OWNER, ask("Hello"))

    told = asyncio.Event()
    async_store.changed = told.set
    caller = asyncio.create_task(async_store.write(slow))
    await asyncio.to_thread(started.wait, 60)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await told.wait()
    assert (await async_store.read(lambda store: store.list_page(OWNER))).total == 1


async def test_a_file_that_cannot_be_used_is_told_every_time(tmp_path: Path) -> None:
    (tmp_path / "chats.db").write_bytes(b"x" * 5000)
    async_store = AsyncStore(SqliteDatabase(tmp_path / "chats.db"))
    for _ in range(2):
        with pytest.raises(ConversationsUnavailable, match="no SQLite database"):
            await async_store.read(lambda store: store.list_page(OWNER))
    await async_store.close()


def test_a_server_that_only_streams_never_imports_sqlalchemy() -> None:
    code = "import sys, tickertape.server.app, tickertape.cli.serve; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
