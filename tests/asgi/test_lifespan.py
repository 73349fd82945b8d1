"""The life of the API in somebody else's process: started once, stopped once, its signals chained."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import pytest

from asgi.host_app import IMPORTED, make_api
from support.http import ask
from tickertape.errors import EngineUnavailable, NotRunning, TickertapeError
from tickertape.stream_core import CoreState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tickertape.asgi import App

ANN = {"X-User": "ann"}


def client(api: App) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://h", headers=ANN)  # type: ignore[arg-type]


async def status(api: App) -> int:
    async with client(api) as one:
        return (await one.get("/v1/models")).status_code


class Opening:
    """Holds the engine of an API while it opens; ``fail`` is raised by it then."""

    def __init__(self, api: App) -> None:
        engine = self._engine = api.core.engine
        self._open, self._close = engine.__aenter__, engine.__aexit__
        self.begun, self.go, self.fail = asyncio.Event(), asyncio.Event(), None
        self.opened = self.closed = 0
        api.core.engine = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def __aenter__(self) -> Any:
        self.begun.set()
        await self.go.wait()
        await self._open()
        self.opened += 1
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.closed += 1
        await self._close()


async def test_two_first_requests_start_the_core_once(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    opening = Opening(api)
    opening.go.set()
    assert await asyncio.gather(status(api), status(api)) == [200, 200]
    assert opening.opened == 1
    await api.stop()


async def test_a_first_request_that_leaves_while_the_core_starts_does_not_stop_the_start(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    opening = Opening(api)
    first = asyncio.create_task(status(api))
    await opening.begun.wait()
    first.cancel()
    await asyncio.wait({first})
    opening.go.set()
    assert await status(api) == 200
    assert opening.opened == 1
    await api.stop()
    assert opening.closed == 1


async def test_a_start_that_fails_is_an_answer_in_words_and_the_next_one_may_succeed(tmp_path: Path) -> None:
    data = tmp_path / "not-mounted-yet"
    data.write_text("")  # no folder
    api = make_api(data)
    before = signal.getsignal(signal.SIGTERM)
    async with client(api) as one:
        refused = await one.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "streams_unavailable")
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(EngineUnavailable):
        await api.start()
    data.unlink()
    data.mkdir()
    async with api.lifespan():
        assert await status(api) == 200


async def test_a_stop_while_the_core_starts_waits_for_it_and_closes_it(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    opening = Opening(api)
    starting = asyncio.create_task(api.start())
    await opening.begun.wait()
    starting.cancel()
    stopping = asyncio.create_task(api.stop())
    opening.go.set()
    await stopping
    assert (opening.opened, opening.closed) == (1, 1)


async def test_who_stops_twice_closes_once(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    opening = Opening(api)
    opening.go.set()
    await api.start()
    await asyncio.gather(api.stop(), api.stop())
    await api.stop()
    assert opening.closed == 1


async def test_what_was_stopped_says_so_and_stays_stopped(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    async with api.lifespan():
        with pytest.raises(TickertapeError, match="runs already"):
            await api.start()
        assert await status(api) == 200
    async with client(api) as one:
        refused = await one.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_running")
    with pytest.raises(NotRunning, match="make a new one"):
        await api.start()


async def test_a_stop_cuts_the_readers_and_ends_the_answers(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    async with api.lifespan():
        asking = asyncio.create_task(_posted(api))
        while not api.core.generations.running:
            await asyncio.sleep(0)
    with pytest.raises(Exception, match="is cut: the server is about to exit"):
        await asking


async def _posted(api: App) -> None:
    async with client(api) as one:
        await one.post("/api/openai/stream", json=ask("x " * 4000))


async def test_a_drain_during_the_start_is_done_when_it_has_started(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    opening = Opening(api)
    starting = asyncio.create_task(api.start())
    await opening.begun.wait()
    await api.core.drain()
    opening.go.set()
    await starting
    assert api.core.fanout.closed
    assert api.core.generations.closed
    await api.stop()


async def test_what_a_first_request_starts_takes_none_of_its_context_variables(tmp_path: Path) -> None:
    user = contextvars.ContextVar("user", default="nobody")
    api = make_api(tmp_path)
    seen: list[str] = []
    expire = api.core._sweep
    api.core._sweep = lambda: seen.append(user.get()) or expire()  # type: ignore[func-returns-value,method-assign]
    user.set("ann")
    assert await status(api) == 200
    assert seen == ["nobody"]
    await api.stop()


async def test_a_fork_of_a_started_core_refuses_with_a_sentence_and_leaves_the_parents_files_alone(
    tmp_path: Path,
) -> None:
    api = make_api(tmp_path)
    async with api.lifespan():
        api.core.process = os.getppid()  # as it is in a child
        with pytest.raises(RuntimeError, match="Start it after the fork"):
            await status(api)
        await api.stop()
        api.core.process = os.getpid()
        assert api.core.started
        assert await status(api) == 200


# --- what is no request


async def _told(api: App, scope: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    await api(scope, receive, send)
    return sent


async def test_a_websocket_is_refused_and_other_protocols_are_an_error_as_asgi_wants(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    assert [message["type"] for message in await _told(api, {"type": "websocket", "path": "/v1/models"})] == [
        "websocket.close"
    ]
    with pytest.raises(ValueError, match="'webtransport'"):
        await _told(api, {"type": "webtransport"})
    assert api.core.state is CoreState.MADE


# --- signals


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
async def test_a_signal_that_the_host_ignores_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    api = make_api(tmp_path)
    async with api.lifespan():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        assert await status(api) == 200


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("first", [0, 1])
async def test_the_hosts_handler_is_called_whichever_of_two_apps_stops_first(tmp_path: Path, first: int) -> None:
    called: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: called.append(number))
    apps = [make_api(tmp_path / name) for name in ("a", "b")]
    for api in apps:
        await api.start()
    await apps[first].stop()
    signal.raise_signal(signal.SIGTERM)
    assert called == [signal.SIGTERM]
    await apps[1 - first].stop()
    signal.raise_signal(signal.SIGTERM)
    assert called == [signal.SIGTERM] * 2


@pytest.mark.usefixtures("handlers")
async def test_asyncios_own_handlers_go_on_working(tmp_path: Path) -> None:
    called = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, called.set)
    api = make_api(tmp_path)
    async with api.lifespan():
        signal.raise_signal(signal.SIGTERM)
        await called.wait()
        while not api.core.generations.closed:
            await asyncio.sleep(0)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


ENDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Ctrl-C after the loop": ("signal.SIGINT", lambda code: code not in (0, 77)),
    "SIGTERM after the loop": ("signal.SIGTERM", lambda code: code == -signal.SIGTERM),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_after_an_event_loop_that_never_stopped_the_app_ends_the_process(name: str, tmp_path: Path) -> None:
    """In a test, a script or a notebook the first request starts the app, and no lifespan stops it."""
    number, expected = ENDS[name]
    code = f"""
import asyncio, os, signal, sys
sys.path[:0] = {IMPORTED!r}
from pathlib import Path
from asgi.host_app import make_api
api = make_api(Path({str(tmp_path)!r}))
asyncio.run(api.ready())
try:
    signal.raise_signal({number})
    os._exit(77)  # it was swallowed
except KeyboardInterrupt:
    os._exit(1)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert expected(ran.returncode), ran.stderr
    assert "Event loop is closed" not in ran.stderr
