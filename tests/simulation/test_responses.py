"""What the simulated clients take for a response, however it is cut, and what they refuse."""

from __future__ import annotations

import pytest

from .responses import BadResponse, End, Head, ResponseParser

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
NEXT = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"


def parsed(*pieces: bytes, due: int = 1) -> list[Head | bytes | End]:
    parser = ResponseParser()
    parser.due = due
    return [event for piece in pieces for event in parser.feed(piece)]


def test_responses_are_the_same_however_they_are_cut() -> None:
    stream = WHOLE + NEXT
    for at in range(len(stream) + 1):
        first, *events = parsed(stream[:at], stream[at:], due=2)
        assert first == Head(200, {b"transfer-encoding": b"chunked"})
        assert events.count(End()) == 2
        assert b"".join(event for event in events if isinstance(event, bytes)) == b"abc0123456789no"
    assert parsed(*(bytes([byte]) for byte in stream), due=2)[-1] == End()


def test_a_response_that_is_cut_anywhere_has_no_end() -> None:
    assert all(End() not in parsed(WHOLE[:at]) for at in range(len(WHOLE)))


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"3\r\nabcd",
        CHUNKED + b"3;x=y\r\nabc\r\n",
        WHOLE.removesuffix(b"\r\n") + b"a: b\r\n\r\n",
        WHOLE + b"x",
    ],
)
def test_what_no_client_need_accept_is_an_error(response: bytes) -> None:
    with pytest.raises(BadResponse):
        parsed(response)
