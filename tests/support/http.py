"""Requests as bytes: what came, when, and whether the response ended as it should. Blocking, one connection each."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tickertape import Decoder, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TIMEOUT = 60
"""Seconds without a byte after which a test fails rather than hangs."""

JSON = {"Content-Type": "application/json"}


def ask(text: str, **fields: Any) -> dict[str, Any]:
    """Return the body of a question."""
    return {"messages": [{"role": "user", "content": text}], **fields}


@dataclass
class Reply:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, checked to have OpenAI's shape."""
        value = self.json()
        assert set(value) == {"error"}, value
        assert set(value["error"]) >= {"message", "type", "code", "param"}, value
        assert value["error"]["message"].endswith("."), value
        return value["error"]


class Stream:
    """A response that is still coming. ``body`` is what has come; ``complete`` says how it ended, None before."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self.body = b""
        self.complete: bool | None = None
        self._decoder = Decoder()
        self.events: list[Event] = []

    @property
    def id(self) -> str:
        """The stream's id, as the Location header names it."""
        return self.headers["location"].removeprefix("/v1/streams/")

    @property
    def last_event_id(self) -> str:
        return self._decoder.last_event_id

    def more(self, size: int = 65536) -> bytes:
        """Read what there is, at least a byte; nothing once the response has ended."""
        piece = b""
        if self.complete is None:
            try:
                piece = self._response.read1(size)
                self.complete = None if piece else True
            except (http.client.IncompleteRead, ConnectionResetError):
                self.complete = False
        self.body += piece
        self.events += self._decoder.feed(piece)
        return piece

    def until(self, enough: Callable[[Stream], bool]) -> Self:
        """Read until this holds; it must before the response ends."""
        while not enough(self):
            assert self.more(), f"the response ended too soon: {self.body!r}"
        return self

    def read(self) -> Self:
        """Read to the end, whatever it is."""
        while self.more():
            pass
        return self

    def take(self, size: int) -> Self:
        """Read exactly this many bytes of the body, if it has so many."""
        while len(self.body) < size and self.more(size - len(self.body)):
            pass
        return self

    def close(self, *, reset: bool = False) -> None:
        """Leave, with a RST if wanted."""
        if reset and self._connection.sock is not None:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_stream(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Stream:
    """Send a request, JSON unless the body is bytes; return its response with the body yet to be read."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent = JSON | sent
    try:
        connection.request(method, path, body, sent)
        return Stream(connection)
    except BaseException:
        connection.close()  # http.client leaves it open when the sending fails
        raise


def request(
    url: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send a request and read the whole response, which must end as it should."""
    with open_stream(url, method, path, body, headers) as stream:
        stream.read()
        assert stream.complete
        return Reply(stream.status, stream.headers, stream.body)


def texts(events: list[Event]) -> str:
    """Return the answer's text in these events."""
    found = []
    for event in events:
        if event.data != "[DONE]":
            for choice in json.loads(event.data).get("choices", ()):
                found.append(choice["delta"].get("content") or "")
    return "".join(found)
