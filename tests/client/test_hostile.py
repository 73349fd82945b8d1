"""Streams that mean harm: they cost bounded memory and end in a clear error."""

from __future__ import annotations

import threading
import tracemalloc
import zlib

import pytest

from faults import server as faults
from tickertape.errors import ConnectionFailed, EventTooLarge

MB = 1_000_000


class Peak:
    """The most memory that was allocated in a block."""

    def __enter__(self) -> Peak:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


@pytest.mark.parametrize("piece", [b"x", b"data: x\n", b"data: ", b": "], ids=["line", "event", "data line", "comment"])
def test_what_never_ends_is_an_error_at_max_event_size(client, server, piece: bytes) -> None:
    script = server.serve(faults.endless(piece))
    with Peak() as peak:
        outcome = client.read(script.url, max_event_size=MB // 10)
    assert isinstance(outcome.error, EventTooLarge)
    assert peak.size < 6 * MB
    assert len(script.requests) == 1


def test_a_hundred_thousand_comments_cost_no_memory(client, server) -> None:
    """Kept, they would be more than 5 MB."""
    script = server.serve(faults.endless(b": ping\n", limit=MB * 7 // 10), faults.status(204))
    with Peak() as peak:
        outcome = client.read(script.url, on_comment=None)
    assert outcome.error is None
    assert peak.size < 4 * MB


def test_events_wait_in_the_socket_until_they_are_asked_for(client, server) -> None:
    sent = threading.Event()

    def play(connection) -> None:
        faults.endless(b"data: x\n\n", limit=200 * MB)(connection)
        sent.set()

    script = server.serve(play)
    with Peak() as peak:
        client.read(script.url, limit=1)
    assert peak.size < 12 * MB
    assert not sent.is_set()


def test_a_retry_of_twenty_digits_is_an_error_and_not_a_wait_of_ages(client, server) -> None:
    script = server.serve(faults.events(b"retry: 99999999999999999999\ndata: x\n\n"))
    outcome = client.read(script.url)
    assert outcome.data == ["x"]
    assert isinstance(outcome.error, ConnectionFailed)
    assert "max_wait" in str(outcome.error)


def test_nul_and_invalid_utf8_come_through_as_the_standard_says(client, server) -> None:
    script = server.serve(faults.events(b"id: a\x00b\ndata: \x00\xff\xf0\x9f\x98\n\n"), faults.status(204))
    outcome = client.read(script.url)
    assert outcome.data == ["\x00\ufffd\ufffd"]
    assert script.requests[1].last_event_id is None


@pytest.mark.parametrize("bad_id", ["\x01", "a\x7fb", "\t", "x" * 5000, "\U0001f680" * 50, "  padded  "])
def test_a_strange_id_is_sent_back_or_refused_but_never_a_loop(client, server, bad_id: str) -> None:
    script = server.serve(faults.events(f"id: {bad_id}\ndata: x\n\n".encode()), faults.status(204))
    outcome = client.read(script.url, max_retries=3)
    if outcome.error is None:
        assert script.requests[1].last_event_id == bad_id.encode().strip()
    else:
        assert isinstance(outcome.error, ConnectionFailed)
        assert len(script.requests) == 1


def test_a_gzip_bomb_stays_small(client, server) -> None:
    def play(connection) -> None:
        connection.head(chunked=True, Content_Encoding="gzip")
        squeeze = zlib.compressobj(9, wbits=31)
        block = b":" + b"x" * (MB - 2) + b"\n"  # 40 of them are more than twice what is allowed below
        for _ in range(40):
            connection.send(squeeze.compress(block) + squeeze.flush(zlib.Z_SYNC_FLUSH))
        connection.send(squeeze.flush())
        connection.end()

    script = server.serve(play, faults.status(204))
    with Peak() as peak:
        outcome = client.read(script.url, on_comment=None)
    assert outcome.error is None
    assert peak.size < 16 * MB


def test_bytes_that_are_not_gzip_are_a_cut(client, server) -> None:
    script = server.serve(faults.events(b"data: x\n\n", Content_Encoding="gzip"))
    outcome = client.read(script.url, max_retries=1)
    assert isinstance(outcome.error, ConnectionFailed)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"\x00\xff" * 100 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a:99999/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: //\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe \x01\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_broken_head_is_a_clear_error(client, server, head: bytes) -> None:
    def play(connection) -> None:
        connection.sock.sendall(head)

    script = server.serve(play)
    outcome = client.read(script.url, max_retries=1)
    assert outcome.events == []
    assert isinstance(outcome.error, ConnectionFailed)


def test_an_error_body_without_end_is_read_only_a_little(client, server) -> None:
    def play(connection) -> None:
        connection.head(500, content_type="text/plain")
        while True:
            connection.sock.sendall(b"no " * 20_000)

    script = server.serve(play)
    with Peak() as peak:
        outcome = client.read(script.url)
    assert len(str(outcome.error)) < 500
    assert peak.size < 4 * MB
