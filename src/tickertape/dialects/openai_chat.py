"""OpenAI's chat completions: chat.completion.chunk events, the non-streaming answer, and the snapshot.

One entry is one event, and its bytes are a pure function of the stream's header, its number and the entry: every
reader gets the same, on every route, now and after a restart. What stays the same within a stream is encoded
once (`ChunkView`), so that a token costs one join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import ChunkFields, End, Frame, ScoredText, State, Typed, decode_delta
from tickertape.dialects.base import RETRY, Dialect, View, event_id
from tickertape.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.streams.contract import Header, Stream

_json = msgspec.json.Encoder().encode


_DELTA = b'{"index":0,"delta":'
_REST = b',"logprobs":null,"finish_reason":null}]'
_PLAIN = _REST + b"}\n\n"
_AROUND = {  # what stands before and after an entry's JSON, from the list of choices on
    ord(tag): around
    for tag, around in {
        "t": (_DELTA + b'{"content":', b"}" + _PLAIN),
        "r": (_DELTA + b'{"reasoning_content":', b"}" + _PLAIN),
        "p": (_DELTA + b'{"reasoning_details":[', b"]}" + _PLAIN),
        "k": (_DELTA + b'{"tool_calls":[', b"]}" + _PLAIN),
        "j": (_DELTA + b'{"function_call":', b"}" + _PLAIN),
        "n": (_DELTA + b'{"refusal":', b"}" + _PLAIN),
        "a": (_DELTA + b'{"annotations":[', b"]}" + _PLAIN),
        "g": (_DELTA + b'{"citations":[', b"]}" + _PLAIN),
        "i": (_DELTA + b'{"images":[', b"]}" + _PLAIN),
        "v": (_DELTA + b'{"audio":', b"}" + _PLAIN),
        "w": (_DELTA + b'{"server_tools":[', b"]}" + _PLAIN),
        "d": (_DELTA, _PLAIN),
        "b": (_DELTA + b'{"role":', b',"content":""}' + _PLAIN),
        "o": (_DELTA + b'{"role":"assistant","content":""}' + _REST + b',"tickertape":', b"}\n\n"),
        "c": (_DELTA + b"{}" + _REST + b',"tickertape":{"continues":', b"}}\n\n"),
        "f": (_DELTA + b'{},"logprobs":null,"finish_reason":', b"}]}\n\n"),
        "s": (_DELTA + b'{},"logprobs":null,"finish_reason":', b'}],"tickertape":{"state":"cancelled"}}\n\n'),
        "u": (b'],"usage":', b"}\n\n"),
    }.items()
}


class ChunkView(View):
    """Renders one stream's entries as events of OpenAI's chat completion stream."""

    __slots__ = ("_base", "_id")

    stateless = True

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        # All that is kept of each open stream: what all streams share is in the table.
        self._id = f"id: {header.id}.".encode()
        name, model = header.id.encode(), _json(header.model)
        self._base = (
            b'\ndata: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (name, header.created, model)
        )

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events for entries that begin with event number ``first``."""
        head, base = self._id, self._base
        frames: list[bytes] = []
        for number, entry in enumerate(entries, first):
            around = _AROUND.get(entry[0])
            if around is None:
                frames.append(self._decoded(number, entry))
            else:
                before, after = around
                frames.append(b"%b%d%b%b%b%b" % (head, number, base, before, entry[1:], after))
        if first == 1 and frames:
            # `retry:` rides in an event that has data: a block of its own crashes openai-python.
            frames[0] = b"retry: %d\n%b" % (RETRY, frames[0])
        return b"".join(frames)

    def _decoded(self, number: int, entry: bytes) -> bytes:
        """Return the event for an entry that must be taken apart. Only completed and cancelled answers say [DONE]."""
        match decode_delta(entry):
            case End(state=state, error=error):
                data = b"[DONE]" if error is None else _json({"error": error, "tickertape": {"state": state}})
                return b"%b%d\ndata: %b\n\n" % (self._id, number, data)
            case ScoredText(text, logprobs):
                rest = b'{"content":%b},"logprobs":%b,"finish_reason":null}]}\n\n' % (_json(text), _json(logprobs))
                rest = _DELTA + rest
            case Typed(type_, data):
                rest = b'],"tickertape":{"event":%b}}\n\n' % _json({"type": type_, "data": data})
            case Frame(type_, text):
                rest = b'],"tickertape":{"event":%b}}\n\n' % _json({"type": type_, "text": text})
            case ChunkFields(fields):
                own = {name: value for name, value in fields.items() if name not in _OURS}
                rest = _DELTA + b"{}" + _REST + b"," + (_json(own)[1:] if own else b'"tickertape":{}}') + b"\n\n"
        return b"%b%d%b%b" % (self._id, number, self._base, rest)


_OURS = frozenset(("id", "object", "created", "model", "choices", "usage", "tickertape"))
"""Fields of a chunk that are this server's own."""


class StreamTranscript(Transcript):
    """The text and fields of a stream so far, for the snapshot and for answers that are not streamed."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.header = stream.header
        self.count = len(stream.entries)
        self.queued = stream.queued
        self.end = self.add_entries(stream.entries)

    def snapshot(self) -> dict[str, Any]:
        """Return what ``GET /v1/streams/{id}`` shows to those who ask for JSON."""
        end = self.end or End(State.RUNNING)
        more = {"logprobs": self.logprobs} if self.logprobs else {}
        return {
            **self.chunk_fields,
            **{name: value for name, value in self.details().items() if name != "reasoning_content"},
            **more,
            "id": self.header.id,
            "object": "stream",
            "state": end.state,
            "finish_reason": end.finish_reason,
            "continues": self.continues,
            "cancelled_by": end.cancelled_by,
            "closed_after_ms": end.closed_after_ms,
            "queued": self.queued,
            "model": self.header.model,
            "created": self.header.created,
            "text": self.text,
            "reasoning": self.reasoning,
            "last_event_id": event_id(self.header.id, self.count),
            "usage": end.usage,
            "error": end.error,
        }

    def completion(self) -> dict[str, Any]:
        """Return OpenAI's ``chat.completion`` object for an answer that has ended well."""
        end = self.end or End(State.RUNNING)
        choice = {"index": 0, "message": self.message(), "logprobs": self.logprobs, "finish_reason": end.finish_reason}
        body = {
            **self.chunk_fields,
            "id": f"chatcmpl-{self.header.id}",
            "object": "chat.completion",
            "created": self.header.created,
            "model": self.header.model,
            "choices": [choice],
        }
        if end.state is State.CANCELLED:
            body["tickertape"] = {"state": end.state}  # as in the stream: it is not whole
        return body | ({"usage": end.usage} if end.usage else {})


class OpenAIChat(Dialect):
    """The dialect of ``/v1/chat/completions``."""

    name = "openai"
    view = ChunkView

    def answer(self, stream: Stream) -> dict[str, Any]:
        """Return a ``chat.completion`` object."""
        return StreamTranscript(stream).completion()

    def error(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"error": {message, type, code, param}}``."""
        return {"error": error}
