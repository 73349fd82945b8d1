"""Plain typed events, for programs and pages of one's own: the type says what it is, the data is JSON.

::

    event: open                          the first event: which stream this is
    data: {"id":"3c22…","model":"…","created":1795399764}

    data: "Hel"                          a piece of the answer's text

    event: progress                      an event of the app's own type, with its own data
    data: {"percent":30}

    event: end                           the last event, always: how it ended
    data: {"state":"completed","finish_reason":"stop"}

`_TYPES` has the other types. No event is called ``error``: ``EventSource`` says that of its connection. What failed is
in ``end``, as ``error`` beside the state; a stream without ``end`` is not whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Begins, End, Frame, Opens, ScoredText, Typed, decode_delta
from tickertape.dialects.base import Dialect, View, numbered
from tickertape.dialects.openai_chat import StreamTranscript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.streams.contract import Header, Stream

_json = msgspec.json.Encoder().encode

_TYPES = {  # by the tag of an entry whose JSON is the event's data as it is
    ord(tag): b"event: %b\n" % type_ if type_ else b""
    for tag, type_ in {
        "t": b"",
        "c": b"continues",
        "r": b"reasoning",
        "p": b"reasoning_detail",
        "k": b"tool_call",
        "j": b"function_call",
        "n": b"refusal",
        "a": b"annotation",
        "g": b"citation",
        "i": b"image",
        "v": b"audio",
        "w": b"server_tool",
        "d": b"delta",
        "q": b"chunk",
        "f": b"finish",
        "u": b"usage",
    }.items()
}

_STOPPED = ord("s")

TYPES = frozenset(("open", "end", "logprobs", *(line[7:-1].decode() for line in _TYPES.values() if line)))
"""The types that events of a stream have, besides those of an app's own."""


class EventView(View):
    """Renders entries as typed events."""

    __slots__ = ("_header", "_id")

    stateless = True

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._header = header
        self._id = b"id: %b." % header.id.encode()

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events for entries that begin with event number ``first``."""
        id_ = self._id
        parts: list[bytes] = []
        for number, entry in enumerate(entries, first):
            type_ = _TYPES.get(entry[0])
            if type_ is None or number == 1:
                parts.append(self._decoded(number, entry))
            else:
                parts.append(b"%b%d\n%bdata: %b\n\n" % (id_, number, type_, entry[1:]))
        return b"".join(parts)

    def _decoded(self, number: int, entry: bytes) -> bytes:
        """Return the events for an entry that must be taken apart."""
        if entry[0] == _STOPPED:
            return b""  # the end says so
        events = [_lines(type_, data) for type_, data in self._events(entry)]
        return numbered(self._header.id, number, events)

    def _events(self, entry: bytes) -> list[tuple[str, bytes]]:
        header = self._header
        opening = {"id": header.id, "model": header.model, "created": header.created}
        match decode_delta(entry):
            case Begins():
                return [("open", _json(opening))]
            case Opens(place):
                return [("open", _json({**opening, **place}))]
            case ScoredText(text, logprobs):
                return [("message", _json(text)), ("logprobs", _json(logprobs))]
            case Typed(type_):
                return [(type_, entry.partition(b" ")[2])]
            case Frame(type_, text):
                return [(type_, text.encode())]
            case End() as end:
                return [("end", _json(_said(end)))]
        type_ = _TYPES[entry[0]].removeprefix(b"event: ").decode().strip()
        return [(type_ or "message", entry[1:])]


def _said(end: End) -> dict[str, Any]:
    """Return what readers are told of an end: fields that have nothing to say are absent."""
    fields = {"finish_reason": end.finish_reason, "cancelled_by": end.cancelled_by, "usage": end.usage}
    said = {name: value for name, value in fields.items() if value is not None}
    return {"state": end.state, **said, **({"error": end.error} if end.error else {})}


def _lines(type_: str, data: bytes) -> bytes:
    """Return the lines of an event (WHATWG HTML 9.2.6). Raises ValueError for data with CR, which would come as LF."""
    if b"\r" in data:
        raise ValueError("Event data cannot hold CR: a reader would get LF in its place. Encode it, as JSON does.")
    event = b"" if type_ == "message" else b"event: %b\n" % type_.encode()
    return event + b"".join(b"data: %b\n" % line for line in data.split(b"\n"))


class Events(Dialect):
    """Plain typed events."""

    name = "events"
    view = EventView

    def answer(self, stream: Stream) -> dict[str, Any]:
        """Return the snapshot of the stream: its text, its state and all that was gathered, the app's events too."""
        answer = StreamTranscript(stream)
        events = [{"type": one.type, "data": one.data if isinstance(one, Typed) else one.text} for one in answer.typed]
        return {**answer.snapshot(), "events": events}

    def error(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"error": {message, type, code, param}}``."""
        return {"error": error}
