"""The tape in OpenAI's words: chat.completion.chunk events, the non-streaming answer, and the snapshot.

One entry is one event, and its bytes are a pure function of the stream's header, its number and the entry: every
reader gets the same, on every route, now and after a restart. What stays the same within a stream is encoded
once (`ChunkRenderer`), so that a token costs one join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Continues, End, Finish, Opens, Raw, Reasoning, State, Stopped, Text, Usage, decode_delta
from tickertape.tool_calls import merge_tool_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.log.base import Header, Tape

RETRY = 1000
"""Milliseconds. The reconnection time that rides in the first event: browsers' own default is 3 to 5 s."""

_json = msgspec.json.Encoder().encode
_TEXT, _REASONING, _RAW, _OPENS, _CONTINUES, _FINISH, _STOPPED, _USAGE, _END = b"trdocfsu."


def event_id(stream_id: str, number: int) -> str:
    """Return the id of an event; it names the stream and the position."""
    return f"{stream_id}.{number}"


def position(cursor: str, stream_id: str) -> int | None:
    """Return the event number that a Last-Event-ID names, None if it is not one of this stream's."""
    name, _dot, number = cursor.rpartition(".")
    return int(number) if name == stream_id and number.isascii() and number.isdigit() and len(number) < 16 else None


_DELTA = b'{"index":0,"delta":'
_REST = b',"logprobs":null,"finish_reason":null}]'
_AROUND = {  # what stands before and after an entry's JSON, from the list of choices on
    _TEXT: (_DELTA + b'{"content":', b"}" + _REST + b"}\n\n"),
    _REASONING: (_DELTA + b'{"reasoning_content":', b"}" + _REST + b"}\n\n"),
    _RAW: (_DELTA, _REST + b"}\n\n"),
    _OPENS: (_DELTA + b'{"role":"assistant","content":""}' + _REST + b',"tickertape":', b"}\n\n"),
    _CONTINUES: (_DELTA + b"{}" + _REST + b',"tickertape":{"continues":', b"}}\n\n"),
    _FINISH: (_DELTA + b'{},"logprobs":null,"finish_reason":', b"}]}\n\n"),
    _STOPPED: (_DELTA + b'{},"logprobs":null,"finish_reason":', b'}],"tickertape":{"state":"cancelled"}}\n\n'),
    _USAGE: (b'],"usage":', b"}\n\n"),
}


class ChunkRenderer:
    """Renders one stream's entries as events of OpenAI's chat completion stream."""

    __slots__ = ("_base", "_id")

    def __init__(self, header: Header) -> None:
        # All that is kept of each open stream: what all streams share is in the table.
        self._id = f"id: {header.id}.".encode()
        name, model = header.id.encode(), _json(header.model)
        self._base = (
            b'\ndata: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (name, header.created, model)
        )

    def render(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events for entries that begin with event number ``first``."""
        head, base = self._id, self._base
        frames: list[bytes] = []
        for number, entry in enumerate(entries, first):
            tag = entry[0]
            if tag == _END:
                frames.append(self._end(number, entry))
            else:
                before, after = _AROUND[tag]
                frames.append(b"%b%d%b%b%b%b" % (head, number, base, before, entry[1:], after))
        if first == 1 and frames:
            # `retry:` rides in an event that has data: a block of its own crashes openai-python.
            frames[0] = b"retry: %d\n%b" % (RETRY, frames[0])
        return b"".join(frames)

    def _end(self, number: int, entry: bytes) -> bytes:
        """Return the terminal event. Only completed and cancelled answers say [DONE]."""
        end = decode_delta(entry)
        assert isinstance(end, End)  # noqa: S101 - its tag said so
        data = b"[DONE]" if end.error is None else _json({"error": end.error, "tickertape": {"state": end.state}})
        return b"%b%d\ndata: %b\n\n" % (self._id, number, data)


class Answer:
    """What a tape says so far, gathered: for the snapshot and for answers that are not streamed."""

    def __init__(self, tape: Tape) -> None:
        self.header = tape.header
        self.count = len(tape.entries)
        self.queued = tape.queued
        self.continues: str | None = None
        self.end: End | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._raw: list[dict[str, Any]] = []
        for entry in tape.entries:
            self._add(decode_delta(entry))

    def _add(self, delta: object) -> None:
        match delta:
            case Text(text):
                self._text.append(text)
            case Reasoning(text):
                self._reasoning.append(text)
            case Raw(raw):
                self._raw.append(raw)
            case End():
                self.end = delta
            case Continues(stream):
                self.continues = stream
            case Finish() | Stopped() | Usage() | Opens():
                pass  # the terminal entry has them too; the opening says what the conversation knows

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The thinking before it, so far."""
        return "".join(self._reasoning)

    def message(self) -> dict[str, Any]:
        """Return OpenAI's message object with what there is so far."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self._reasoning:
            message["reasoning_content"] = self.reasoning
        for raw in self._raw:
            _merge(message, raw)
        if "tool_calls" in message:
            message["content"] = message["content"] or None
            for call in message["tool_calls"]:
                del call["index"]  # only pieces have one
        return message

    def snapshot(self) -> dict[str, Any]:
        """Return what ``GET /v1/streams/{id}`` shows to those who ask for JSON."""
        end = self.end or End(State.RUNNING)
        return {
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
        body = {
            "id": f"chatcmpl-{self.header.id}",
            "object": "chat.completion",
            "created": self.header.created,
            "model": self.header.model,
            "choices": [{"index": 0, "message": self.message(), "logprobs": None, "finish_reason": end.finish_reason}],
        }
        if end.state is State.CANCELLED:
            body["tickertape"] = {"state": end.state}  # as in the stream: it is not whole
        return body | ({"usage": end.usage} if end.usage else {})


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Merge a raw delta: strings are joined, tool calls merged by their index; role and content are known."""
    for name, value in delta.items():
        if name == "tool_calls" and isinstance(value, list):
            for piece in value:
                merge_tool_call(message.setdefault("tool_calls", []), piece)
        elif name not in ("role", "content") and isinstance(value, str):
            message[name] = message.get(name, "") + value
        elif name not in message:
            message[name] = value
