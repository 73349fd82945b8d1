"""HTTP/1.0: no chunks, and a body without a length ends with the connection (RFC 9112, sections 6.1 and 6.3)."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from asgi.stacks import SERVERS, server
from asgi.test_delivery import WHOLE, Streams
from support.http import ask, request
from support.in_process import InProcess
from support.scripted import Scripted
from tickertape import Decoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("data")) as started:
        yield started


def connect(running: InProcess, method: str, path: str, body: Any = None, *headers: str) -> socket.socket:
    """Send a request of HTTP/1.0; return the connection."""
    sent = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.0", "Host: localhost", *headers]
    if sent:
        lines += ["Content-Type: application/json", f"Content-Length: {len(sent)}"]
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=60)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + sent)
    return connection


def read(connection: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Read to the end of the connection; return the status line, the headers and the body."""
    with connection, connection.makefile("rb") as file:
        head, _empty, body = file.read().partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    return status, headers, body


@pytest.mark.parametrize("kept", [(), ("Connection: keep-alive",)])
@pytest.mark.parametrize("route", ["/api/openai/stream", "/v1/chat/completions"])
def test_a_stream_has_no_chunks_and_ends_with_the_connection(
    running: InProcess, route: str, kept: tuple[str, ...]
) -> None:
    status, headers, body = read(connect(running, "POST", route, ask("Hello there", stream=True), *kept))
    assert (status, headers["content-type"]) == ("HTTP/1.1 200 OK", "text/event-stream; charset=utf-8")
    assert "content-length" not in headers
    assert body == request(running.url, "GET", headers["location"]).body
    assert Decoder().feed(body)[-1].data == "[DONE]"
    assert read(connect(running, "GET", headers["location"], None, *kept))[2] == body


@pytest.mark.parametrize("kept", [(), ("Connection: keep-alive",)])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/healthz", None),
        ("HEAD", "/healthz", None),
        ("GET", "/metrics", None),
        ("GET", "/", None),
        ("GET", "/nothing", None),
        ("POST", "/v1/chat/completions", ask("Hello there")),
        ("POST", "/v1/chat/completions", {}),
    ],
)
def test_what_is_no_stream_has_its_length(
    running: InProcess, method: str, path: str, body: Any, kept: tuple[str, ...]
) -> None:
    _status, headers, got = read(connect(running, method, path, body, *kept))
    assert int(headers["content-length"]) > 0
    assert len(got) == (0 if method == "HEAD" else int(headers["content-length"]))


def test_the_feed_of_changes_has_no_chunks(running: InProcess) -> None:
    with connect(running, "GET", "/backend-api/changes") as connection, connection.makefile("rb") as file:
        while line := file.readline().strip():
            assert not line.lower().startswith(b"transfer-encoding")
        assert file.readline() == b"retry: 1000\n"
        assert file.readline().startswith(b"id: changes.")


def test_a_response_without_a_body_has_no_length(running: InProcess) -> None:
    first = request(running.url, "POST", "/api/openai/stream", ask("Hello there"))
    last = Decoder().feed(first.body)[-1].id
    path = first.headers["location"]
    status, headers, body = read(connect(running, "GET", path, None, f"Last-Event-ID: {last}"))
    assert (status, body) == ("HTTP/1.1 204 No Content", b"")
    assert "content-length" not in headers


def test_a_stream_that_is_cut_resets_the_connection(tmp_path: Path) -> None:
    """A close would be the proper end."""
    provider = Scripted()
    provider.say("Hello")
    with InProcess(tmp_path, provider, grace=0.01) as running:
        connection = connect(running, "POST", "/api/openai/stream", ask("hi"), "Tickertape-Disconnect: continue")
        with connection, connection.makefile("rb") as file:
            while b"Hello" not in file.readline():
                pass
            running.server.end()
            with pytest.raises(ConnectionResetError):
                file.read()


@pytest.mark.parametrize("host", SERVERS[1:])
async def test_other_servers_send_no_chunks_either(host: str, tmp_path: Path) -> None:
    streams = Streams()
    async with server(host, streams, tmp_path) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
        head, _empty, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"transfer-encoding" not in head.lower()
    assert body == WHOLE
    streams.close()
