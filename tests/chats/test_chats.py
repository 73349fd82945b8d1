"""The conversations on the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from chats.conftest import OWNER, ask
from tickertape.chats import ChatLimits, Chats
from tickertape.errors import ChatsUnavailable, UnknownChat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def chats(tmp_path: Path) -> AsyncIterator[Chats]:
    made = Chats(tmp_path / "chats.db", ChatLimits(undo=5))
    yield made
    await made.close()


async def test_nothing_is_made_before_the_first_conversation(chats: Chats, tmp_path: Path) -> None:
    assert not chats.begun
    assert list(tmp_path.iterdir()) == []
    await chats.write(lambda store: store.turn(OWNER, ask("Hello")))
    assert chats.begun
    assert (await chats.read(lambda store: store.listing(OWNER))).total == 1


async def test_the_event_loop_goes_on_while_the_store_works_and_a_reader_holds_no_writer_up(chats: Chats) -> None:
    reading, written = threading.Event(), threading.Event()

    def slow(_store: Any) -> bool:
        reading.set()
        return written.wait(60)

    read = asyncio.create_task(chats.read(slow))
    await asyncio.to_thread(reading.wait, 60)
    await chats.write(lambda store: store.turn(OWNER, ask("Hello")))
    written.set()
    assert await read


async def test_a_change_is_told_on_the_loop_and_a_failure_is_not(chats: Chats) -> None:
    told: list[int] = []
    chats.changed = lambda: told.append(threading.get_ident())
    turn = await chats.write(lambda store: store.turn(OWNER, ask("Hello")))
    assert told == [threading.get_ident()]
    with pytest.raises(UnknownChat):
        await chats.write(lambda store: store.delete("ben", turn.chat))
    await chats.read(lambda store: store.listing(OWNER))
    assert len(told) == 1


async def test_a_write_is_finished_though_its_caller_gave_up(chats: Chats) -> None:
    started, go = threading.Event(), threading.Event()

    def slow(store: Any) -> None:
        started.set()
        assert go.wait(60)
        store.turn(OWNER, ask("Hello"))

    told = asyncio.Event()
    chats.changed = told.set
    caller = asyncio.create_task(chats.write(slow))
    await asyncio.to_thread(started.wait, 60)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await told.wait()
    assert (await chats.read(lambda store: store.listing(OWNER))).total == 1


async def test_a_file_that_cannot_be_used_is_told_every_time(tmp_path: Path) -> None:
    (tmp_path / "chats.db").write_bytes(b"x" * 5000)
    chats = Chats(tmp_path / "chats.db")
    for _ in range(2):
        with pytest.raises(ChatsUnavailable, match="no SQLite database"):
            await chats.read(lambda store: store.listing(OWNER))
    await chats.close()


def test_a_server_that_only_streams_never_imports_sqlalchemy() -> None:
    code = "import sys, tickertape.server.app, tickertape.cli.serve; print('sqlalchemy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
