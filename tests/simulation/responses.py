"""Responses as RFC 9112 has them, read strictly: whatever a client need not accept is an error."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\x20-\x7e]*")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
LENGTH = re.compile(rb"\d{1,15}")


class BadResponse(Exception):
    """Raised for bytes that are no response to what was asked."""


class Head(NamedTuple):
    """The head of a response; names of headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]

    @property
    def closes(self) -> bool:
        """Whether the server said that it closes the connection after this."""
        return self.headers.get(b"connection", b"").lower() == b"close"


class End(NamedTuple):
    """The proper end of a response."""


class _State(Enum):
    HEAD = "a status line and headers"
    LENGTH = "a body of a known length"
    SIZE = "the size of a chunk"
    CHUNK = "a chunk, and CRLF"
    LAST = "CRLF after the last chunk"


class ResponseParser:
    """Feed it what a connection carries. ``due`` is the number of responses that were asked for and have not ended."""

    def __init__(self) -> None:
        self.due = 0
        self._state = _State.HEAD
        self._buffer = b""
        self._left = 0  # bytes of a body or chunk

    def feed(self, data: bytes) -> Iterator[Head | bytes | End]:
        """Yield heads, parts of bodies, and ends. Raises BadResponse."""
        self._buffer += data
        while self._buffer:
            before = self._state, len(self._buffer)
            yield from self._step()
            if before == (self._state, len(self._buffer)):
                return

    def _step(self) -> Iterator[Head | bytes | End]:
        """Take one thing from the buffer, or nothing if it is not there as a whole."""
        if self._state is _State.HEAD:
            if not self.due:
                raise BadResponse(f"{self._buffer[:60]!r} came, and nothing was asked for")
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found:
                self._buffer = rest
                yield from self._begin(self._head(head))
        elif self._state in (_State.LENGTH, _State.CHUNK):
            part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._left -= len(part)
            if part:
                yield part
            if not self._left and self._state is _State.LENGTH:
                yield self._end()
            elif not self._left and self._crlf("after a chunk"):
                self._state = _State.SIZE
        elif self._state is _State.SIZE:
            line, found, rest = self._buffer.partition(b"\r\n")
            if not SIZE.fullmatch(line) and (found or not SIZE.fullmatch(line.removesuffix(b"\r"))):
                raise BadResponse(f"{line[:60]!r} is no size of a chunk")
            if found:
                self._buffer, self._left = rest, int(line, 16)
                self._state = _State.CHUNK if self._left else _State.LAST
        elif self._crlf("after the last chunk"):
            yield self._end()

    def _head(self, head: bytes) -> Head:
        status_line, *lines = head.split(b"\r\n")
        status = STATUS_LINE.fullmatch(status_line)
        if status is None:
            raise BadResponse(f"{status_line[:60]!r} is no status line")
        headers: dict[bytes, bytes] = {}
        for line in lines:
            header = HEADER.fullmatch(line)
            if header is None:
                raise BadResponse(f"{line[:60]!r} is no header")
            name, value = header[1].lower(), header[2]
            if name in headers and name in (b"content-length", b"transfer-encoding", b"connection"):
                raise BadResponse(f"{name!r} came twice")
            headers[name] = value
        return Head(int(status[1]), headers)

    def _begin(self, head: Head) -> Iterator[Head | End]:
        """Find how the body is delimited (RFC 9112, section 6.3)."""
        length, coding = head.headers.get(b"content-length"), head.headers.get(b"transfer-encoding")
        bodiless = head.status in (204, 304)
        if (length is None) is (coding is None) and not bodiless:
            raise BadResponse(f"a body of length {length!r} and transfer coding {coding!r}")
        if coding not in (None, b"chunked") or (bodiless and coding):
            raise BadResponse(f"transfer coding {coding!r} with status {head.status}")
        if length is not None and not LENGTH.fullmatch(length):
            raise BadResponse(f"{length!r} is no length")
        yield head
        self._left = int(length or 0)
        self._state = _State.SIZE if coding else _State.LENGTH
        if bodiless or (length is not None and not self._left):
            yield self._end()

    def _crlf(self, where: str) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise BadResponse(f"{self._buffer[:60]!r} came {where}")
        found, self._buffer = self._buffer[:2] == b"\r\n", self._buffer[2 if len(self._buffer) > 1 else 0 :]
        return found

    def _end(self) -> End:
        self._state = _State.HEAD
        self.due -= 1
        return End()
