"""What the log says of requests: those that failed, those that sign in, or all; never a secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask
from support.in_loop import serve
from tickertape.asgi.uvicorn_transport import ConnectionSubscriber
from tickertape.providers.echo import Echo
from tickertape.server.access_log import MOST, AccessLog
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.asgi.types import Message, Receive, Send


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tickertape.access"]


class Site:
    """The log around an app that answers every request with this status."""

    def __init__(self, status: int = 404, **settings: Any) -> None:
        self.status = status
        self.log = AccessLog(self.app, Settings(**settings))

    async def app(self, scope: Message, _receive: Receive, send: Send) -> None:
        scope["owner"] = "key-0123"
        await send({"type": "http.response.start", "status": self.status, "headers": []})

    async def ask(self, path: str, client: str = "192.0.2.1") -> None:
        async def send(_message: Message) -> None:
            pass

        scope = {"type": "http", "method": "GET", "path": path, "client": (client, 5000), "headers": []}
        scope["headers"] = [(b"authorization", b"Bearer swordfish"), (b"cookie", b"session=swordfish")]
        scope["query_string"] = b"key=swordfish"
        await self.log(scope, None, send)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tickertape.access")


async def test_a_request_that_failed_is_a_line_without_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    await Site().ask("/v1/streams/abc/cancel")
    (line,) = lines(caplog)
    assert line.startswith("GET /v1/streams/abc/cancel 404 ")
    assert line.endswith(" ms owner=key-0123 stream=abc client=192.0.2.1:5000")
    assert "swordfish" not in line


@pytest.mark.parametrize("path", ["/a\r\nGET /forged 200", "/\x1b[2J", "/caf\u00e9 \u202e"])
async def test_what_a_client_chose_cannot_forge_a_line_or_move_a_cursor(
    caplog: pytest.LogCaptureFixture, path: str
) -> None:
    await Site().ask(path)
    (line,) = lines(caplog)
    assert line.isascii()
    assert line.isprintable()
    assert line.split()[2] == "404"


async def test_only_failures_and_logins_are_logged_unless_all_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    for settings in ({}, {"access_log": "all"}, {"log_level": "debug"}):
        site = Site(200, **settings)
        for path in ("/v1/models", "/api/session"):
            await site.ask(path)
    assert [line.split()[1] for line in lines(caplog)] == ["/api/session", *["/v1/models", "/api/session"] * 2]


async def test_failures_of_one_client_are_counted_beyond_a_number_and_others_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, time = Site(), [0.0]
    monkeypatch.setattr(site.log._throttle, "_clock", lambda: time[0])
    for number in range(1000):
        await site.ask(f"/{number}")
    await site.ask("/other", "192.0.2.2")
    assert len(lines(caplog)) == MOST + 1
    time[0] = 61.0
    await site.ask("/again")
    assert lines(caplog)[-2] == f"{1000 - MOST} more requests with status 404 for 192.0.2.1 within a minute"
    assert lines(caplog)[-1].startswith("GET /again 404")


async def test_a_stream_is_logged_once_and_has_its_connection_to_itself_all_the_same(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with serve(tmp_path, Echo(50), access_log="all", grace=0.01) as running:
        reader, _writer = await running.ask("POST", "/api/openai/stream", ask("word " * 500))
        head = await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            await reader.readuntil(b"\n\n")
        (channel,) = running.core.fanout._channels.values()
        assert [type(one) for one in channel.subscribers] == [ConnectionSubscriber]
        (line,) = lines(caplog)
        stream_id = head.partition(b"location: /v1/streams/")[2][:32].decode()
        assert line.startswith("POST /api/openai/stream 200 ")
        assert f" owner=local stream={stream_id} client=127.0.0.1:" in line
