"""A caller that hangs up: where it cannot come back the upstream is closed at once, elsewhere its answer goes on.

The server's own policy is to go on, and it would wait an hour for the first token: what is cancelled here is cancelled
because a client was seen to leave, by the policy of its route.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from delivery.test_fanout import until
from support.http import ask
from support.in_loop import InLoop, serve
from support.scripted import Scripted
from tickertape.deltas import End, State, decode_delta
from tickertape.generation import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.streams.contract import Stream

ROUTE = "/v1/chat/completions"


@asynccontextmanager
async def site(data: Path, provider: Scripted) -> AsyncIterator[InLoop]:
    limits = Limits(running=1)
    async with serve(data, provider, disconnect="continue", patience=3600.0, grace=0.01, limits=limits) as running:
        yield running


async def stream_of(running: InLoop, count: int = 1) -> Stream:
    """Return the stream of the answer that began last, once there are so many."""
    generations = running.core.generations._running
    await until(lambda: len(generations) == count and all(one.created.done() for one in generations))
    return max((one.created.result() for one in generations), key=lambda stream: stream.queued)


async def end_of(started: Stream) -> End:
    await until(lambda: started.ended)
    end = decode_delta(started.entries[-1])
    assert isinstance(end, End)
    return end


@pytest.mark.parametrize("version", ["1.1", "1.0"])  # 1.0 goes by way of ASGI's send
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("before", ["the first token", "the second token"])
async def test_a_hang_up_closes_the_upstream_at_once_where_nobody_can_come_back(
    tmp_path: Path, before: str, stream: bool, version: str
) -> None:
    provider = Scripted()
    async with site(tmp_path, provider) as running:
        reader, writer = await running.ask("POST", ROUTE, ask("hi", stream=stream), version=version)
        started = await stream_of(running)
        await provider.opened.wait()
        if before == "the second token":
            provider.say("One")
            await until(lambda: len(started.entries) == 2)
            if stream:
                await reader.readuntil(b'"One"')
        await until(lambda: started.readers == 1)
        writer.close()
        await provider.closed.wait()
        end = await end_of(started)
        assert (end.state, end.cancelled_by) == (State.CANCELLED, "disconnect")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_in_the_line_takes_the_question_out_of_it(tmp_path: Path, stream: bool) -> None:
    provider = Scripted()
    async with site(tmp_path, provider) as running:
        await running.ask("POST", "/v1/streams", ask("first"))
        await provider.opened.wait()
        _reader, writer = await running.ask("POST", ROUTE, ask("second", stream=stream))
        await until(lambda: running.core.generations.waiting)
        started = await stream_of(running, 2)
        writer.close()
        assert (await end_of(started)).cancelled_by == "disconnect"
        assert provider.asked == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_lets_an_answer_go_on_that_somebody_else_reads(tmp_path: Path, stream: bool) -> None:
    provider = Scripted()
    async with site(tmp_path, provider) as running:
        _reader, writer = await running.ask("POST", ROUTE, ask("hi", stream=stream))
        started = await stream_of(running)
        await running.ask("GET", f"/v1/streams/{started.header.id}")
        await until(lambda: started.readers == 2)
        writer.close()
        await until(lambda: started.readers == 1)
        provider.say("Hello")
        provider.finish()
        assert (await end_of(started)).state is State.COMPLETED


@pytest.mark.parametrize(
    ("route", "headers"),
    [
        (ROUTE, {"Idempotency-Key": "one"}),
        (ROUTE, {"Tickertape-Disconnect": "continue"}),
        ("/api/openai/stream", {}),
        ("/backend-api/conversation", {}),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_lets_the_answer_go_on_where_its_caller_can_come_back(
    tmp_path: Path, route: str, headers: dict[str, str], stream: bool
) -> None:
    provider = Scripted()
    async with site(tmp_path, provider) as running:
        question = {"stream": stream} if route == ROUTE else {}
        _reader, writer = await running.ask("POST", route, ask("hi", **question), headers)
        started = await stream_of(running)
        await until(lambda: started.readers == 1)
        writer.close()
        await until(lambda: started.readers == 0)
        provider.say("Hello")
        provider.finish()
        assert (await end_of(started)).state is State.COMPLETED


async def test_a_hang_up_behind_a_request_that_came_early_is_noticed(tmp_path: Path) -> None:
    provider = Scripted()
    provider.say("One")
    async with site(tmp_path, provider) as running:
        reader, writer = await running.ask("POST", ROUTE, ask("hi", stream=True))
        started = await stream_of(running)
        await reader.readuntil(b'"One"')
        (channel,) = running.core.fanout._channels.values()
        (wire,) = channel.subscribers
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: wire._ahead)  # type: ignore[attr-defined]
        writer.close()
        assert (await end_of(started)).cancelled_by == "disconnect"
