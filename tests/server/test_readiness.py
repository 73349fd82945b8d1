"""What `/readyz` says when what is written would not be kept, and that nothing is answered on no disk."""

from __future__ import annotations

import asyncio
import logging
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from conversations.conftest import OWNER, ask
from streams.conftest import quick_path
from streams.faults import Connections
from support.conversations import question
from support.http import ask as post
from support.http import request
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.errors import ConversationsUnavailable, EngineUnavailable
from tickertape.server import readiness
from tickertape.server.readiness import Readiness
from tickertape.streams.sqlite import file_format
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, begin, new_header, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conftest import Serve
    from tickertape.streams.sqlite.file_format import Connect

__all__ = ["quick_path"]


@pytest.fixture(autouse=True)
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH", 0.0)


@asynccontextmanager
async def opened(
    folder: Path, min_free: int = 1, connect: Connect = file_format.connect
) -> AsyncIterator[tuple[Readiness, SqliteEngine, AsyncStore]]:
    async with SqliteEngine(folder / "tape.db", lost=LOST, connect=connect) as log:
        async_store = AsyncStore(SqliteDatabase(folder / "chats.db"))
        try:
            await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
            yield Readiness(folder, min_free, log, async_store), log, async_store
        finally:
            await async_store.close()


async def test_a_log_that_cannot_be_written_is_not_ready_until_it_can(
    quick_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tickertape")
    connections = Connections()
    async with opened(quick_path, connect=connections) as (ready, _log, _chats):
        assert await ready.reasons() == []
        connections.writer.fail(1, 1000)
        for _ in range(2):
            (reason,) = await ready.reasons()
            assert "stream log cannot be used" in reason
            assert str(quick_path) not in reason
        connections.writer.heal()
        assert await ready.reasons() == []
    assert caplog.text.count("Not ready:") == caplog.text.count("Ready again") == 1


async def test_conversations_that_cannot_be_written_are_not_ready(quick_path: Path) -> None:
    async with opened(quick_path) as (ready, _log, async_store):
        assert async_store._store is not None
        raw = async_store._store._database.engine.raw_connection()
        raw.cursor().execute("PRAGMA query_only = ON")
        raw.close()
        (reason,) = await ready.reasons()
        assert "conversations cannot be used" in reason


async def test_a_disk_with_less_space_than_the_mark_is_not_ready(quick_path: Path) -> None:
    async with opened(quick_path, min_free=10**18) as (ready, _log, _chats):
        (reason,) = await ready.reasons()
        assert "bytes free, fewer than min_free, 1,000,000,000,000,000,000." in reason


async def test_a_disk_that_is_stuck_is_not_ready(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE", 0.0)
    async with opened(quick_path) as (ready, _log, _chats):
        (reason,) = await ready.reasons()
        assert "Nothing could be written for 0 seconds" in reason


async def test_all_who_ask_at_once_cost_one_commit(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH", 60.0)
    connections, probes = Connections(), list[str]()
    async with opened(quick_path, connect=connections) as (ready, _log, _chats):
        connections.writer.set_trace_callback(probes.append)
        for _ in range(3):
            assert await asyncio.gather(*(ready.reasons() for _ in range(50))) == [[]] * 50
        assert len([statement for statement in probes if "UPDATE producer" in statement]) == 1


@pytest.mark.parametrize("what", ["deleted", "replaced", "file deleted", "wal deleted"])
async def test_a_folder_that_was_deleted_or_replaced_takes_no_answers_and_is_told_once(
    quick_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written to a deleted file succeeds, and is on no disk."""
    data = quick_path / "data"
    data.mkdir()
    async with opened(data) as (ready, log, async_store):
        running = await begin(log)
        other = await begin(log)
        if what == "file deleted":
            (data / "tape.db").unlink()
            (data / "chats.db").unlink()
        elif what == "wal deleted":
            (data / "tape.db-wal").unlink()
            (data / "chats.db-wal").unlink()
        else:
            shutil.move(data, quick_path / "moved")
            if what == "replaced":
                shutil.copytree(quick_path / "moved", data)
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="was deleted or replaced while the server runs"):
                await log.create(new_header(), [text(1)])
            with pytest.raises(ConversationsUnavailable, match="were deleted or replaced while the server runs"):
                await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
        said = await ready.reasons()
        assert len(said) == 2
        assert all("nothing is kept until it is restarted" in reason for reason in said)
        with pytest.raises(EngineUnavailable):
            await running.finish([DONE])
        await running.fail(b'.{"state":"failed"}')
        assert running.stream.entries == [text(1), b'.{"state":"failed"}'], (
            "no answer is whole that nobody can read again"
        )
        del other
    assert caplog.text.count("what is written now is on no disk. Restart") == 2 + 2, "by the log, and by the probe"


def test_a_server_whose_folder_was_deleted_is_not_ready_and_refuses_questions(serve: Serve) -> None:
    server = serve("--set", "min_free=1")
    assert request(server.url, "POST", "/api/openai/stream", post("Hello")).status == 200
    assert request(server.url, "POST", "/backend-api/conversation", question("Hello")).status == 200
    assert request(server.url, "GET", "/readyz").json() == {"status": "ready"}
    shutil.rmtree(server.data)
    asked = request(server.url, "POST", "/api/openai/stream", post("Hello"))
    assert (asked.status, asked.error["code"]) == (503, "streams_unavailable")
    asked = request(server.url, "POST", "/backend-api/conversation", question("Hello"))
    assert (asked.status, asked.error["code"]) == (503, "conversations_unavailable")
    assert str(server.data) not in asked.error["message"]
    assert request(server.url, "GET", "/healthz").status == 200
    while (said := request(server.url, "GET", "/readyz")).status == 200:
        pass  # what was found out a moment ago
    assert said.json()["status"] == "not ready"
    assert len(said.json()["reasons"]) == 2
    server.terminate()
    assert server.stderr.count("ERROR tickertape: The stream log") == 1
