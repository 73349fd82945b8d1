"""Clients that keep a connection and do not play by the rules, and what the others notice of it."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from support.http import ask, open_stream, request
from support.in_process import InProcess
from tickertape.providers.echo import Echo
from tickertape.server import http_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serve

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
SHORT: dict[str, Any] = {"head_timeout": 0.2, "body_timeout": 0.2, "keep_alive": 0.2, "send_timeout": 0.5}
SAFETY = 60
"""Seconds after which a test fails, not what it waits for."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("impatient"), **SHORT) as server:
        yield server


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("small"), max_head=4096, max_headers=20) as server:
        yield server


@contextlib.contextmanager
def connected(server: Any, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=SAFETY) as connection:
        connection.sendall(sent)
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    whole = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            whole += piece
    return whole


def refusal(connection: socket.socket) -> tuple[int, str]:
    """Return the status and the error's code of the last answer; the server closes behind it."""
    head, _empty, body = rest(connection).rpartition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-type: application/json" in head
    status = int(head.rpartition(b"HTTP/1.1 ")[2][:3])
    error = json.loads(body)["error"]
    assert error["message"].endswith(".")
    return status, error["code"]


def healthy(server: Any) -> bool:
    return bool(request(f"http://127.0.0.1:{server.port}", "GET", "/healthz").status == 200)


def until(condition: Any) -> None:
    end = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


# --- time


def test_connections_that_say_nothing_are_closed(impatient: InProcess) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(impatient)) for _ in range(50)]
        assert [rest(connection) for connection in silent] == [b""] * 50
    until(lambda: impatient.server.connections.open == 0)


def test_a_connection_that_is_kept_for_the_next_request_is_closed_without_one(impatient: InProcess) -> None:
    with connected(impatient, HEALTH) as connection:
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_head_that_comes_too_slowly_is_a_408(impatient: InProcess) -> None:
    with connected(impatient, HEAD + b"X-Slow: ") as stalled, connected(impatient, b"G") as hardly_begun:
        assert refusal(stalled) == (408, "head_timeout")
        assert refusal(hardly_begun) == (408, "head_timeout")


def test_a_byte_of_a_head_now_and_then_buys_no_time(impatient: InProcess) -> None:
    with connected(impatient, HEAD) as connection:
        connection.settimeout(0.02)
        answer = b""
        for _ in range(100 * SAFETY):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b"a")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stops_coming_is_a_408(impatient: InProcess) -> None:
    with connected(impatient, POST + b'Content-Length: 1000\r\n\r\n{"mess') as connection:
        assert refusal(connection) == (408, "body_timeout")
    with connected(impatient, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{") as connection:
        assert refusal(connection) == (408, "body_timeout")


def test_every_byte_of_a_body_buys_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        InProcess(tmp_path_factory.mktemp("patient"), body_timeout=3600) as server,
        connected(server, POST + b"Content-Length: 1000\r\n\r\n") as connection,
    ):
        until(lambda: server.server.server_state.connections)
        [one] = server.server.server_state.connections
        until(lambda: one.deadline > one.loop.time() + 3000)
        for _ in range(3):
            before = one.deadline
            connection.sendall(b" ")
            until(lambda: one.deadline > before)  # noqa: B023 - used at once


def test_a_body_that_is_refused_unread_does_not_hold_its_connection(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        InProcess(tmp_path_factory.mktemp("large"), max_body=1000, **SHORT) as server,
        connected(server, POST + b"Content-Length: 1000000\r\n\r\n" + b" " * 2000) as connection,
    ):
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        connection.settimeout(0.02)
        closed = False
        for _ in range(100 * SAFETY):
            try:
                connection.sendall(b" ")
                closed = not connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                closed = True
            if closed:
                break
        assert closed, "a byte now and then keeps it for ever"


def test_an_answer_that_nobody_takes_does_not_hold_its_connection(impatient: InProcess) -> None:
    """Hundreds of large answers, asked for at once: more than the kernel keeps for a reader."""
    size = len(request(impatient.url, "GET", "/").body)
    script = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", impatient.port))
        connection.settimeout(0.02)
        asked = 0
        while impatient.server.connections.open or not asked:
            with contextlib.suppress(TimeoutError, OSError):
                connection.sendall(script * 20)
            asked += 20
            assert asked * size < 2**34, "it is still there"
        assert healthy(impatient)


def test_a_stream_is_bound_by_none_of_this_and_its_connection_is_watched_again_behind_it(
    impatient: InProcess,
) -> None:
    body = json.dumps({**ask("one two three"), "stream": True}).encode()
    with connected(impatient, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body) as connection:
        answer = rest(connection)
    assert b"data: [DONE]" in answer
    assert answer.endswith(b"0\r\n\r\n"), "the connection was kept, then closed without a word"
    until(lambda: impatient.server.connections.open == 0)


# --- size


@pytest.mark.parametrize(
    ("head", "refused"),
    [
        (HEAD + b"X: " + b"a" * 5000 + b"\r\n\r\n", (431, "head_too_large")),
        (HEAD + b"X: " + b"a" * 2**20 + b"\r\n\r\n", (431, "head_too_large")),
        (HEAD + b"X: y\r\n" * 20 + b"\r\n", (431, "too_many_headers")),
        (HEAD + b"X: y\r\n" * 20_000 + b"\r\n", (431, "too_many_headers")),
        (b"GET /?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (414, "address_too_long")),
        (b"GET /?" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", (414, "address_too_long")),
        (b"\r\n" * 5000, (431, "head_too_large")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "invalid_http")),
        (b"\x16\x03\x01\x02\x00\x01\x00", (400, "invalid_http")),
    ],
    ids=["5 kB", "1 MB", "21 headers", "20 000 headers", "address", "1 MB address", "empty lines", "HTTP/2", "TLS"],
)
def test_a_head_that_is_too_large_is_refused_in_words(small: InProcess, head: bytes, refused: tuple[int, str]) -> None:
    with connected(small) as connection:
        with contextlib.suppress(OSError):  # it need not take all of it
            connection.sendall(head)
        status, code = refusal(connection)
    if len(head) > 2**16 and refused[0] == 431:
        assert status == 431  # whichever limit it met first
    else:
        assert (status, code) == refused


def test_a_head_that_is_refused_is_a_line_in_the_log(small: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", "tickertape.access"),
        connected(small, HEAD + b"X: " + b"a" * 5000 + b"\r\n\r\n") as connection,
    ):
        assert refusal(connection)[0] == 431
        port = connection.getsockname()[1]
    logged = [record.getMessage() for record in caplog.records if record.name == "tickertape.access"]
    assert [line.startswith("- - 431 ") and line.endswith(f"client=127.0.0.1:{port}") for line in logged] == [True]


def test_a_body_that_says_to_be_too_large_is_refused_before_it_is_sent(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        InProcess(tmp_path_factory.mktemp("body"), max_body=1000) as server,
        connected(server, POST + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n") as connection,
    ):
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_head_just_within_the_limits_is_answered(small: InProcess) -> None:
    with connected(small, HEAD + b"X: y\r\n" * 19 + b"\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    with connected(small, HEAD + b"X: " + b"a" * 3900 + b"\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_an_endless_header_is_cut_off_after_the_limit(small: InProcess) -> None:
    with connected(small, HEAD + b"X-Endless: ") as connection:
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 2**28:
                sent += connection.send(b"a" * 65536)
        assert sent < 2**26, "it was taken for ever"
    assert healthy(small)


@pytest.mark.parametrize(
    "body",
    [b"1;" + b"a" * 1_000_000, b"0\r\n" + b"X: y\r\n" * 200_000],
    ids=["chunk extension", "trailers"],
)
def test_a_body_of_framing_alone_is_refused(small: InProcess, body: bytes) -> None:
    with connected(small, POST + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        with contextlib.suppress(OSError):
            connection.sendall(body)
        assert refusal(connection) == (400, "invalid_http")


def test_a_body_in_chunks_of_a_byte_is_read(small: InProcess) -> None:
    body = json.dumps({**ask("x" * 3000), "stream": False}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with connected(small, POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks) as connection:
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_thousands_of_requests_ahead_of_their_answers_close_the_connection(small: InProcess) -> None:
    body = json.dumps({**ask("word " * 50), "stream": True}).encode()
    first = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with connected(small) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(first + HEALTH * 5000)
        assert rest(connection).count(b"HTTP/1.1 200 ") < 100
    with connected(small, HEALTH * 20) as connection:
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 20:
            answers += connection.recv(65536)


# --- number


def test_beyond_the_limit_idle_connections_make_room_for_who_asks(tmp_path_factory: pytest.TempPathFactory) -> None:
    with InProcess(tmp_path_factory.mktemp("few"), connections=8) as server, contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connected(server))
            stack.enter_context(connected(server, HEAD))
            stack.enter_context(connected(server, HEALTH))
            assert healthy(server)
        assert server.server.connections.open <= 10


def test_when_all_connections_are_streams_the_next_caller_is_told_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with InProcess(tmp_path_factory.mktemp("streams"), Echo(20), connections=4) as server:
        streams = [
            open_stream(
                server.url, "POST", "/api/openai/stream", ask("word " * 2000), {"Tickertape-Disconnect": "cancel"}
            )
            for _ in range(4)
        ]
        for stream in streams:
            stream.until(lambda stream: len(stream.events) > 1)
        with connected(server, HEALTH) as connection:
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        with contextlib.ExitStack() as stack:  # beyond those that can be told, others wait in the kernel's queue
            for _ in range(100):
                stack.enter_context(connected(server))
        for stream in streams:
            stream.close()
        until(lambda: healthy(server))


def test_a_server_without_free_descriptors_answers_others_and_does_not_fill_its_log(serve: Serve) -> None:
    server = serve("--set=connections=100000")
    used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
    with contextlib.ExitStack() as stack:
        for round_ in range(5):
            for _ in range(40):
                stack.enter_context(connected(server, HEAD if round_ % 2 else b""))
            assert healthy(server)
    assert server.stderr.count("No connection can be accepted: Too many open files") == 1
    assert len(server.stderr) < 5000


# --- rest


def test_no_clock_ticks_to_see_whether_to_end_and_responses_are_dated_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tick(*_: object) -> None:
        raise AssertionError("uvicorn looks ten times a second")

    monkeypatch.setattr(uvicorn.Server, "on_tick", tick)
    with InProcess(tmp_path) as server:
        dates = [request(server.url, "GET", "/healthz").headers["date"]]
        later = time.time() + 5
        monkeypatch.setattr(http_protocol.time, "time", lambda: later)
        dates.append(request(server.url, "GET", "/healthz").headers["date"])
    first, second = map(parsedate_to_datetime, dates)
    assert 4 <= (second - first).total_seconds() <= 6
