"""Asking again, listing, and what else all dialects share, against a real upstream."""

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from support.pushed import batches
from tickertape.deltas import Delta, Finish, Text
from tickertape.errors import ApiError
from tickertape.providers import remote
from tickertape.providers.base import ChatRequest
from tickertape.providers.dialects import DIALECTS, dialect
from tickertape.testing.actions import Body, Final, Head, answering
from tickertape.testing.answer import WORDS
from tickertape.testing.dialects import DIALECTS as UPSTREAM_DIALECTS
from tickertape.testing.dialects import End
from tickertape.testing.upstream import Upstream

KEY = "sk-secret-0123456789"


def ask(model: str) -> ChatRequest:
    return ChatRequest(model=model, messages=[{"role": "user", "content": "hi"}])


async def answer(provider: remote.Remote, model: str) -> list[Delta]:
    return [delta async for batch in batches(provider, ask(model)) for delta in batch]


async def test_a_passing_failure_is_asked_again_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with Upstream() as upstream:
        provider = dialect("openai")(upstream.url("openai"), KEY)
        with caplog.at_level(logging.WARNING, "tickertape"):
            assert "".join(d.text for d in await answer(provider, "recovers") if isinstance(d, Text)) == "".join(WORDS)
        assert provider.retried == 2
        assert [record.getMessage().partition("Asking again")[1] for record in caplog.records] == ["Asking again"] * 2
        assert KEY not in caplog.text
        await provider.close()


async def test_it_is_told_how_often_it_was_asked_in_vain() -> None:
    async with Upstream() as upstream:
        provider = dialect("anthropic")(upstream.url("anthropic"), KEY, retries=1)
        with pytest.raises(ApiError, match=r"It was asked 2 times\.$") as caught:
            await answer(provider, "unavailable")
        assert str(caught.value) == caught.value.message
        assert caught.value.status == 503
        assert len(upstream.asked) == 2
        await provider.close()


@pytest.mark.parametrize(("wait", "asked"), [("0", 2), ("0.2", 2), ("3", 1)])
async def test_a_limit_is_waited_for_only_if_it_is_over_in_a_moment(wait: str, asked: int) -> None:
    async with Upstream() as upstream:
        upstream.script = lambda _asked: answering(429, b"{}", Retry_After=wait)
        provider = dialect("openai")(upstream.url("openai"), KEY, retries=1)
        with pytest.raises(ApiError) as caught:
            await answer(provider, "m")
        assert (len(upstream.asked), caught.value.retry_after) == (asked, float(wait))
        await provider.close()


async def test_after_the_first_byte_nothing_is_asked_again() -> None:
    async with Upstream() as upstream:
        provider = dialect("openai")(upstream.url("openai"), KEY)
        assert not any(isinstance(delta, Finish) for delta in await answer(provider, "reset"))
        assert (provider.retried, len(upstream.asked)) == (0, 1)
        await provider.close()


async def test_a_kept_connection_that_the_upstream_has_closed_is_no_failure() -> None:
    async with Upstream() as upstream:
        provider = dialect("ollama")(upstream.url("ollama"))
        first = await answer(provider, "healthy")
        [held] = list(provider._http._session.connector._conns.values())  # type: ignore[union-attr]
        assert held
        for task in tuple(upstream._tasks):  # as a server does that has waited long enough
            task.cancel()
        assert await answer(provider, "healthy") == first
        await provider.close()


async def test_a_read_takes_no_memory_from_the_system() -> None:
    async with Upstream() as upstream:
        provider = dialect("openai")(upstream.url("openai"), KEY)
        async with aclosing(batches(provider, ask("stall"))) as stream:
            await anext(stream)
            [connection] = provider._http._session.connector._acquired  # type: ignore[union-attr]
            threshold = 128 * 1024  # bytes: the C library's for what it does not take from its heap
            assert connection.transport.max_size < threshold  # type: ignore[union-attr]
        await provider.close()


@pytest.mark.parametrize("name", DIALECTS)
async def test_models_are_listed_in_every_dialect_and_given_ones_are_not_asked_for(name: str) -> None:
    async with Upstream() as upstream:
        provider = dialect(name)(upstream.url(name), KEY)
        assert "healthy" in [model.id for model in await provider.models()]
        given = dialect(name)(upstream.url(name), KEY, models=["b", "a"], model="a")
        assert [model.id for model in await given.models()] == ["a", "b"]
        assert len(upstream.asked) == 1
        await provider.close()
        await given.close()


async def test_a_key_may_go_into_a_header_of_its_own_and_others_go_along() -> None:
    async with Upstream() as upstream:
        url = upstream.url("openai")
        provider = dialect("openai")(url, KEY, key_header="api-key", headers={"X-Title": "t"})
        await answer(provider, "healthy")
        headers = upstream.asked[0].headers
        assert (headers["api-key"], headers["x-title"], "authorization" in headers) == (KEY, "t", False)
        await provider.close()


@pytest.mark.parametrize("name", DIALECTS)
async def test_an_upstream_that_lingers_after_its_last_word_does_not_spoil_the_answer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_LAST_WORDS", 0.05)
    theirs = UPSTREAM_DIALECTS[name]
    async with Upstream() as upstream:
        whole = [
            *map(Body, theirs.opening("m")),
            Body(theirs.text("m", "a")),
            *map(Body, theirs.closing("m", End())),
        ]
        upstream.script = lambda _asked: [Head(200, theirs.content_type), *whole, Final.HANG]
        provider = dialect(name)(upstream.url(name), KEY, idle_timeout=0.2)
        assert (await answer(provider, "m"))[:2] == [Text("a"), Finish("stop")]
        await upstream.until(lambda here: here.open == 0)
        await provider.close()


@pytest.mark.parametrize("asking", ["an answer", "the models"])
async def test_who_gives_up_while_a_refusal_is_read_leaves_no_connection(asking: str) -> None:
    async with Upstream() as upstream:
        read = asyncio.Event()
        upstream.script = lambda _asked: [Head(500, "text/plain"), Body(b"Oo"), Final.HANG]
        provider = dialect("openai")(upstream.url("openai"), KEY)
        real = provider._http.read

        async def reading(response: ClientResponse) -> bytes:
            read.set()
            return await real(response)

        provider._http.read = reading  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(answer(provider, "m") if asking == "an answer" else provider.models())
        await read.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await upstream.until(lambda here: here.open == 0)
        await provider.close()


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_hundred_cancelled_answers_leave_no_connection_task_or_file(name: str) -> None:
    async with Upstream() as upstream:
        provider = dialect(name)(upstream.url(name), KEY)
        await answer(provider, "healthy")
        await provider.close()
        await upstream.until(lambda here: here.open == 0)
        tasks, files = len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))
        upstream.asked.clear()

        async def begin(fault: str) -> None:
            async with aclosing(batches(provider, ask(fault))) as stream:
                async for _batch in stream:
                    pass

        faults = ("stall", "stall-opening", "no-answer", "stall-comments")  # in every phase of an answer
        running = [asyncio.create_task(begin(faults[number % 4])) for number in range(100)]
        await upstream.until(lambda here: len(here.asked) == 100)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        assert all(task.cancelled() for task in running)
        await upstream.until(lambda here: here.open == 0)
        await provider.close()
        while len(asyncio.all_tasks()) > tasks or len(list(Path("/proc/self/fd").iterdir())) > files:
            await asyncio.sleep(0.01)  # the transports close with the loop's next turns; for ever means a leak
