"""How the body of an answer is framed: as events, as lines of JSON or as one JSON document. No socket, no clock.

The first bytes of the body decide, not its ``Content-Type``: servers and gateways label events as JSON, JSON as events,
and both as nothing. What comes before them and says nothing is skipped: a byte order mark, blank lines, and the
comments with which a server keeps a connection open while it works.

* ``{`` or ``[`` begins JSON. If the first line is a JSON value by itself, each line is a message. If not, the whole
  body is one document, which is a message, or an array of them, once it has ended.
* ``<`` begins a web page: no answer.
* Everything else is an event stream, as `tickertape.sse` reads it.
"""

from __future__ import annotations

import json
from enum import Enum

from tickertape.errors import EventTooLarge
from tickertape.sse import Event
from tickertape.util.json_util import loads

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


class Kind(Enum):
    """What a body is."""

    EVENTS = "events"
    JSON = "json"
    PAGE = "page"


class Opening:
    """The first bytes of a body, held back until they say what it is; memory stays within one read."""

    def __init__(self) -> None:
        self._held = b""
        self._begun = False

    def feed(self, data: bytes) -> tuple[Kind, bytes] | None:
        """Return what the body is, with all of it that has to be read, or None while that is not known."""
        held = self._held + data
        if not self._begun:
            if _BOM.startswith(held):
                self._held = held
                return None
            held = held.removeprefix(_BOM)
            self._begun = True
        held = held.lstrip(_BLANK)
        while held[:1] == b":":
            end = min(place for place in (held.find(b"\n"), held.find(b"\r"), len(held)) if place >= 0)
            if end == len(held):
                held = b":"  # the rest of this comment may be long, and nobody reads it
                break
            held = held[end:].lstrip(_BLANK)
        self._held = held
        match held[:1]:
            case b"" | b":":
                return None
            case b"{" | b"[":
                return Kind.JSON, held
            case b"<":
                return Kind.PAGE, held
        return Kind.EVENTS, held


class JsonBody:
    """A body of JSON: bytes, however cut, to messages.

    ``feed`` returns those that are complete, ``close`` those that the body's end completes: a last line without its
    end if it is whole, or the document. Of a document that was cut off there is no message. Raises EventTooLarge for
    a line or document beyond ``max_size`` bytes.
    """

    def __init__(self, max_size: int) -> None:
        self._limit = max_size
        self._begun = bytearray()
        self._lines: bool | None = None
        """Whether each line is a message; None until the first line has come."""

    def feed(self, data: bytes) -> list[Event]:
        """Return the messages that these bytes complete."""
        head, newline, rest = data.rpartition(b"\n")
        if not newline or self._lines is False:
            self._begun += data
            self._check(self._begun)
            return []
        whole = bytes(self._begun) + head
        lines = [line for line in whole.split(b"\n") if line.strip()]
        if self._lines is None and lines:
            self._lines = not isinstance(loads(_text(lines[0])), str)
        self._begun = bytearray(rest if self._lines else whole + newline + rest)
        if not self._lines:
            lines = []
        self._check(self._begun, *lines)
        return [event for line in lines for event in _messages(_text(line))]

    def close(self) -> list[Event]:
        """Return the messages that the body's end completes."""
        text = _text(bytes(self._begun)).strip()
        if not text or (isinstance(loads(text), str) and (self._lines or _cut_off(text))):
            return []
        return _messages(text)

    def _check(self, *pieces: bytes | bytearray) -> None:
        if any(len(piece) > self._limit for piece in pieces):
            raise EventTooLarge(self._limit)


def _messages(text: str) -> list[Event]:
    """Return a value of JSON as a message; an array is one message for each of its values."""
    values = loads(text) if text[0] == "[" else None
    return [Event(json.dumps(value)) for value in values] if values and isinstance(values, list) else [Event(text)]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _cut_off(text: str) -> bool:
    """Return whether this is the beginning of JSON: more of it could have come."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated") or len(text) - error.pos < len(r"\u0000")
    except (ValueError, RecursionError):
        pass
    return False
