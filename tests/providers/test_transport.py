"""What HTTP allows an upstream, and what it does not: heads, encodings, statuses, ends and kept connections."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from support.pushed import Everything
from tickertape.deltas import Finish, Text
from tickertape.errors import ApiError
from tickertape.providers.base import ChatRequest

from .upstream import DONE, HEALTHY, Upstream, answering, delta, piece

if TYPE_CHECKING:
    from tickertape.providers.openai import OpenAI

ASK = ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}])
BODY = b"".join(HEALTHY)
TYPE = b"Content-Type: text/event-stream\r\n"


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, TYPE.strip(), *lines]) + b"\r\n\r\n"


def deflated() -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(BODY) + packer.flush()


async def outcome(openai: OpenAI) -> tuple[str, bool, ApiError | None]:
    """Return the text, whether it is whole, and the error."""
    sink, error = Everything(), None
    try:
        await openai.answer(ASK, sink)
    except ApiError as raised:
        error = raised
    text = "".join(delta.text for delta in sink.deltas if isinstance(delta, Text))
    return text, any(isinstance(delta, Finish) for delta in sink.deltas), error


CLOSE = b"Connection: close"
GOOD = {
    "a header of 60 KiB": [head(b"X-Policy: " + b"a" * 60_000, CLOSE) + BODY],
    "500 headers": [head(*(b"X-%d: a" % number for number in range(500)), CLOSE) + BODY],
    "HTTP/1.0 and an end": [head(status=b"HTTP/1.0 200 OK") + BODY],
    "lines that end in LF": [head(CLOSE).replace(b"\r", b"") + BODY],
    "trailers": [head(b"Transfer-Encoding: chunked", b"Trailer: X-T") + piece(BODY) + b"0\r\nX-T: 1\r\n\r\n"],
    "an extension of a chunk": [head(b"Transfer-Encoding: chunked"), b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)],
    "gzip": [head(b"Content-Encoding: gzip", CLOSE) + gzip.compress(BODY)],
    "deflate": [head(b"Content-Encoding: deflate", CLOSE) + zlib.compress(BODY)],
    "deflate without its frame": [head(b"Content-Encoding: deflate", CLOSE) + deflated()],
    "interim responses": [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + head(CLOSE) + BODY],
    "no content type": [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY],
    "a content type that is none": [b"HTTP/1.1 200 OK\r\nContent-Type: ;;\r\nConnection: close\r\n\r\n" + BODY],
    "bytes that are no ASCII in the head": [head(b"X: \xff\xe9", CLOSE, status=b"HTTP/1.1 200 \xe9") + BODY],
    "a cookie that is none": [head(b"Set-Cookie: \x01=;;", CLOSE) + BODY],
    **{
        f"status {status}": [head(CLOSE, status=b"HTTP/1.1 %d Fine" % status) + BODY] for status in (201, 202, 203, 206)
    },
}


@pytest.mark.parametrize("script", GOOD.values(), ids=GOOD.keys())
async def test_what_http_allows_is_read(openai: OpenAI, upstream: Upstream, script: list[bytes]) -> None:
    """However unusual the head, the answer is whole."""
    upstream.script = script
    assert await outcome(openai) == ("Hello é😀", True, None)


BAD = {
    "a header beyond all measure": ([head(b"X-Policy: " + b"a" * 200_000) + BODY], "Got more than 65536 bytes"),
    "two framings": ([head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + piece(BODY)], "can't be present"),
    "two lengths": ([head(b"Content-Length: 5", b"Content-Length: 6") + BODY], "Duplicate Content-Length"),
    "brotli": ([head(b"Content-Encoding: br", CLOSE) + b"\x8b\x02\x80abc"], "encoded its answer with brotli (br)"),
    "what is called gzip and is not": ([head(b"Content-Encoding: gzip", CLOSE) + BODY], "cannot be decoded"),
    "gzip without a word of it": ([head(CLOSE) + gzip.compress(BODY, mtime=0)], "neither events nor JSON"),
    "gzip that has line ends in it": ([head(CLOSE) + gzip.compress(BODY, mtime=0x0A0D0A0D)], "neither events nor JSON"),
    "TLS": ([b"\x15\x03\x01\x00\x02\x02\x46"], "Bad status line"),
    "another protocol": ([b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"], "HTTP 101"),
}


@pytest.mark.parametrize(("script", "words"), BAD.values(), ids=BAD.keys())
async def test_what_http_does_not_allow_is_a_bad_gateway_in_words(
    openai: OpenAI, upstream: Upstream, script: list[bytes], words: str
) -> None:
    """The sentence says what was wrong, and shows no bytes."""
    upstream.script = script
    text, whole, error = await outcome(openai)
    assert (text, whole) == ("", False)
    assert error is not None
    assert error.status == 502
    assert words in error.message
    assert "b'" not in error.message


async def test_a_body_whose_encoding_breaks_in_the_middle_keeps_its_text_and_fails(
    openai: OpenAI, upstream: Upstream
) -> None:
    """What was decoded before is not lost, and it is not taken for a cut."""
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(HEALTHY[1]) + packer.flush(zlib.Z_SYNC_FLUSH)
    upstream.script = [
        head(b"Content-Encoding: gzip", b"Transfer-Encoding: chunked"),
        piece(begun),
        piece(b"\xff" * 90),
    ]
    text, whole, error = await outcome(openai)
    assert (text, whole) == ("Hel", False)
    assert error is not None
    assert "cannot be decoded" in error.message


async def test_gzip_that_is_cut_off_is_incomplete(openai: OpenAI, upstream: Upstream) -> None:
    """An end in the middle of a compressed body is an end in the middle, with the text that it held."""
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(HEALTHY[1]) + packer.flush(zlib.Z_SYNC_FLUSH)
    upstream.script = [head(b"Content-Encoding: gzip", CLOSE) + begun + packer.compress(BODY)[:20]]
    assert await outcome(openai) == ("Hel", False, None)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_connection_is_used_again_after_a_refusal(openai: OpenAI, upstream: Upstream, status: int) -> None:
    """A refusal whose body was read costs no new connection."""
    upstream.script = answering(status, {"error": {"message": "No."}})
    for _ in range(3):
        assert (await outcome(openai))[2] is not None
    upstream.script = None
    assert (await outcome(openai))[1]
    assert upstream.connections == 1


async def test_an_answer_after_one_that_was_in_one_piece_uses_its_connection(
    openai: OpenAI, upstream: Upstream
) -> None:
    """An answer that came as a document ends like any other."""
    message = {"role": "assistant", "content": "All."}
    upstream.script = answering(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
    for _ in range(3):
        assert await outcome(openai) == ("All.", True, None)
    assert upstream.connections == 1


async def test_a_half_answer_with_a_redirect_or_no_content_is_no_answer(openai: OpenAI, upstream: Upstream) -> None:
    """Statuses that promise no answer hold none, whatever their body."""
    for status in (205, 300, 302):
        upstream.script = [head(CLOSE, status=b"HTTP/1.1 %d X" % status) + delta(content="a") + DONE]
        text, whole, error = await outcome(openai)
        assert (text, whole) == ("", False)
        assert error is not None
        assert error.status == 502
