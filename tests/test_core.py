"""The whole without HTTP: an answer from the question to its end, and the core's own life."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.scripted import Scripted
from tickertape import core as module
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.core import Core
from tickertape.deltas import State, encode_delta
from tickertape.errors import EngineUnavailable, TickertapeError
from tickertape.generation import LOST, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.providers.catalog import Catalog
from tickertape.providers.echo import Echo
from tickertape.stream_core import CoreOptions
from tickertape.streams.memory import MemoryEngine
from tickertape.transcript import Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.providers.base import Provider

QUESTION = ChatRequest(model="echo", messages=[{"role": "user", "content": "Hello there"}])


def make(folder: Path, provider: Provider, **options: float) -> Core:
    engine = MemoryEngine(lost=encode_delta(LOST))
    return Core(engine, Catalog([provider]), AsyncStore(SqliteDatabase(folder / "chats.db")), CoreOptions(**options))


async def test_an_answer_is_begun_read_and_kept_without_http(tmp_path: Path) -> None:
    provider = Echo(0)
    async with make(tmp_path, provider) as core:
        stream = await core.generations.begin(GenerationSpec(provider, QUESTION), owner="ann")
        while not stream.ended:
            await stream.wait(len(stream.entries))
        answer = Transcript()
        end = answer.add_entries(stream.entries)
        assert (answer.text, end and end.state) == ("Hello there", State.COMPLETED)
        assert await core.engine.get(stream.header.id, "ann") is stream


async def test_a_core_that_stops_ends_what_still_runs_as_lost_and_begins_nothing_more(tmp_path: Path) -> None:
    provider = Scripted()
    core = make(tmp_path, provider, grace=0.01)
    await core.start()
    stream = await core.generations.begin(GenerationSpec(provider, QUESTION), owner="ann")
    provider.say("half")
    await stream.wait(1)
    await core.drain()
    await core.drain()  # again it does nothing more
    assert stream.ended
    assert Transcript().add_entries(stream.entries).state is State.LOST  # type: ignore[union-attr]
    with pytest.raises(TickertapeError, match="about to exit"):
        await core.generations.begin(GenerationSpec(provider, QUESTION), owner="ann")
    await core.stop()
    await core.stop()
    with pytest.raises(TickertapeError, match="make a new one"):
        await core.start()


async def test_a_retention_sweep_that_fails_is_logged_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [EngineUnavailable("The stream log is busy."), RuntimeError("unexpected")]
    done = asyncio.Event()

    async def expire(_service: object, _retention: float) -> None:
        if failures:
            raise failures.pop(0)
        done.set()

    monkeypatch.setattr(module.ConversationService, "expire", expire)
    with caplog.at_level(logging.INFO, "tickertape"):
        async with make(tmp_path, Echo(0), retention=0.001):
            await done.wait()
    sweeps = [record.levelname for record in caplog.records if "Retention sweep" in record.message]
    assert sweeps == ["INFO", "ERROR"]
    assert "Retention sweep failed, it is tried again: The stream log is busy." in caplog.text


def test_the_core_loads_no_http_server_and_no_routes() -> None:
    code = (
        "import sys, tickertape.core; print(*sorted({'starlette', 'uvicorn', 'httptools', 'click'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
