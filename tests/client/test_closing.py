"""Ending a source: from inside, from outside, by cancelling; and whose pool is whose."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import pytest
import urllib3

from faults import server as faults
from support.closing import closing_ends_the_wait_for_a_head
from tickertape.client import AsyncEventSource, EventSource
from tickertape.sse.actions import ReadyState

BODY = b"id: 1\ndata: x\n\n"


def test_leaving_the_block_closes_the_connection(client, server) -> None:
    script = server.serve(faults.silence(BODY))
    outcome = client.read(script.url, limit=1)
    assert script.closed_by_client.wait(5)
    assert outcome.state is ReadyState.CLOSED


def test_a_callback_that_raises_ends_the_source_and_its_error_arrives(client, server) -> None:
    script = server.serve(faults.silence(b": hello\n" + BODY))

    def refuse(comment: str) -> None:
        raise LookupError(comment)

    with pytest.raises(LookupError, match="hello"):
        client.read(script.url, on_comment=refuse)
    assert script.closed_by_client.wait(5)


def test_a_closed_source_yields_nothing_more(client, server) -> None:
    script = server.serve(faults.events(BODY))
    client.read(script.url, limit=0)
    assert script.requests == []


@pytest.mark.parametrize("play", [faults.silence(BODY), faults.silence(BODY, chunked=False)])
def test_another_thread_can_close_a_source_that_waits_for_an_event(server, play) -> None:
    script = server.serve(play)
    source = EventSource(script.url)
    assert next(source).data == "x"
    ended = threading.Event()

    def read_on() -> None:
        assert list(source) == []
        ended.set()

    reader = threading.Thread(target=read_on)
    reader.start()
    source.close()
    assert ended.wait(5)
    reader.join()
    assert script.closed_by_client.wait(5)
    assert source.state is ReadyState.CLOSED


def test_another_thread_can_close_a_source_whose_head_is_awaited(server) -> None:
    script = closing_ends_the_wait_for_a_head(server)
    assert script.closed_by_client.wait(5)


def test_another_thread_can_close_a_source_that_waits_to_connect_again(server) -> None:
    script = server.serve(faults.events(BODY))
    waiting = threading.Event()
    source = EventSource(script.url, reconnection_time=600, on_reconnect=lambda _: waiting.set())
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.extend(event.data for event in source))
    reader.start()
    assert waiting.wait(5)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert got == ["x"]


async def test_cancelling_the_reader_closes_the_socket_at_once(server) -> None:
    script = server.serve(faults.silence(BODY))
    source = AsyncEventSource(script.url)
    assert (await anext(source)).data == "x"
    reader = asyncio.create_task(anext(source))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(script.closed_by_client.wait, 5)
    assert source.state is ReadyState.CLOSED


async def test_cancelling_while_the_head_is_awaited_closes_the_socket_too(server) -> None:
    script = server.serve(faults.never_answering)
    source = AsyncEventSource(script.url)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await anext(source)
    assert await asyncio.to_thread(script.closed_by_client.wait, 5)


async def test_another_task_can_close_a_source_that_waits(server) -> None:
    script = server.serve(faults.silence(BODY))
    source = AsyncEventSource(script.url)
    await anext(source)
    reader = asyncio.create_task(anext(source, None))
    await asyncio.sleep(0)
    await source.close()
    assert await reader is None


async def test_another_task_can_close_a_source_that_waits_to_connect_again(server) -> None:
    script = server.serve(faults.events(BODY))
    waiting = asyncio.Event()
    source = AsyncEventSource(script.url, reconnection_time=600, on_reconnect=lambda _: waiting.set())
    await anext(source)
    reader = asyncio.create_task(anext(source, None))
    await waiting.wait()
    await source.close()
    assert await reader is None


@pytest.mark.parametrize("yours", [False, True])
async def test_another_task_can_close_a_source_whose_head_is_awaited(server, yours: bool) -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def silent(connection: faults.Connection) -> None:
        loop.call_soon_threadsafe(asked.set)
        faults.never_answering(connection)

    script = server.serve(silent)
    async with aiohttp.ClientSession() as session:
        source = AsyncEventSource(script.url, session=session if yours else None)
        reader = asyncio.create_task(anext(source, None))
        await asked.wait()
        await source.close()
        assert await reader is None
        assert await asyncio.to_thread(script.closed_by_client.wait, 5)


async def test_another_task_can_close_a_source_that_asks_for_its_credentials(server) -> None:
    script = server.serve(faults.events(BODY), faults.events(BODY))
    asked, give = asyncio.Event(), asyncio.Event()

    async def token() -> str:
        if script.requests:
            asked.set()
            await give.wait()
        return "Bearer fresh"

    source = AsyncEventSource(script.url, auth=token, reconnection_time=0.001)
    await anext(source)
    reader = asyncio.create_task(anext(source, None))
    await asked.wait()
    await source.close()
    give.set()
    assert await reader is None
    assert len(script.requests) == 1


async def test_a_session_of_yours_is_used_and_stays_open(server) -> None:
    script = server.serve(faults.events(BODY))
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
        async with AsyncEventSource(script.url, session=session) as source:
            await anext(source)
        assert not session.closed
    assert script.requests[0].headers["x-mine"] == b"1"


def test_a_pool_of_yours_is_used_and_stays_open(server) -> None:
    script = server.serve(faults.events(BODY), faults.status(204))
    with urllib3.PoolManager() as pool:
        with EventSource(script.url, pool=pool, reconnection_time=0.001) as source:
            assert [event.data for event in source] == ["x"]
        assert len(pool.pools) == 1


async def test_auth_may_be_a_coroutine_function(server) -> None:
    script = server.serve(faults.events(BODY))

    async def token() -> str:
        return "Bearer fresh"

    async with AsyncEventSource(script.url, auth=token) as source:
        await anext(source)
    assert script.requests[0].headers["authorization"] == b"Bearer fresh"


def test_a_failure_that_repeats_is_told_to_the_log_when_nobody_listens(client, server, caplog) -> None:
    script = server.serve(faults.no_head)
    client.read(script.url, on_reconnect=None, max_retries=2)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Connecting again in" in caplog.text
