"""The one vocabulary between providers, the log and the server: what can happen in an answer.

Every dialect is translated into these, and every route renders them. A delta is kept in the log as one *entry*: a
tag byte and a JSON value, without a line end::

    t"Hel"                     Text       a piece of the answer
    r"Let me see"              Reasoning  a piece of the thinking before it
    d{"tool_calls":[…]}        Raw        an OpenAI delta object, passed through: role, tool calls, refusal
    o{"message_id":"6f…",…}    Opens      the first entry of an answer in a conversation: where it belongs
    c"3c22…"                   Continues  this answer goes on where that stream's was cut off
    f"stop"                    Finish     the provider's own terminal marker, as OpenAI's finish reason
    u{"prompt_tokens":3,…}     Usage      token counts in OpenAI's shape, to be shown in the stream
    snull                      Stopped    someone pressed stop; the terminal entry follows
    .{"state":"completed",…}   End        the terminal entry: always there, always last

An entry is a pure function of its delta and is encoded once; JSON has no raw line ends, so entries can be
kept as lines.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tickertape.errors import LogUnavailable


class State(StrEnum):
    """The state of a stream. All but ``RUNNING`` are terminal."""

    RUNNING = "running"
    COMPLETED = "completed"
    """The provider said that the answer is whole; the finish reason says why it stopped there."""
    CANCELLED = "cancelled"
    """Someone pressed stop."""
    FAILED = "failed"
    """The provider reported an error, or a limit was reached."""
    INCOMPLETE = "incomplete"
    """The upstream ended without saying that it was done."""
    LOST = "lost"
    """The process that produced the answer died."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer's text."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's thinking."""

    text: str


class Raw(msgspec.Struct, frozen=True):
    """An OpenAI ``delta`` object handed through as it is: ``role``, ``tool_calls``, ``refusal``."""

    delta: dict[str, Any]


class Opens(msgspec.Struct, frozen=True):
    """The answer begins, and belongs to a conversation: ``conversation_id``, ``message_id``, ``parent_message_id``."""

    place: dict[str, Any]


class Continues(msgspec.Struct, frozen=True, gc=False):
    """A new generation that goes on from the partial answer of another stream, whose text is not repeated."""

    stream: str


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The provider's terminal marker was seen: stop, length, tool_calls, content_filter or function_call."""

    reason: str


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Someone pressed stop: what follows is the end, not the finish."""

    reason: None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts in OpenAI's shape (``prompt_tokens``, ``completion_tokens``, ``total_tokens``, details)."""

    usage: dict[str, Any]


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """The terminal entry of a stream.

    ``error`` is an OpenAI error object, present for failed, incomplete and lost. ``status`` is the HTTP status
    that a reader gets who is told before the first byte, ``retry_after`` the seconds it is asked to wait.
    ``cancelled_by`` is "request" or, when nobody read any more, "disconnect"; ``closed_after_ms`` says how long after
    that the upstream was closed.
    """

    state: State
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    status: int = 200
    retry_after: float | None = None
    cancelled_by: str | None = None
    closed_after_ms: float | None = None


Delta = Text | Reasoning | Raw | Opens | Continues | Finish | Stopped | Usage

_json = msgspec.json.Encoder().encode
_TAGS: dict[type, tuple[bytes, str, Any]] = {
    Text: (b"t", "text", str),
    Reasoning: (b"r", "text", str),
    Raw: (b"d", "delta", dict[str, Any]),
    Opens: (b"o", "place", dict[str, Any]),
    Continues: (b"c", "stream", str),
    Finish: (b"f", "reason", str),
    Stopped: (b"s", "reason", None),
    Usage: (b"u", "usage", dict[str, Any]),
}
_KINDS = {tag[0]: (kind, msgspec.json.Decoder(type_).decode) for kind, (tag, _field, type_) in _TAGS.items()}
_end = msgspec.json.Decoder(End)


def encode_delta(delta: Delta | End) -> bytes:
    """Return the delta's entry. Lone surrogates become U+FFFD: they have no UTF-8 form."""
    try:
        if type(delta) is Text:
            return b"t" + _json(delta.text)
        if isinstance(delta, End):
            return b"." + _json(delta)
        tag, field, _type = _TAGS[type(delta)]
        return tag + _json(getattr(delta, field))
    except UnicodeEncodeError:
        return encode_delta(type(delta)(*(_mend(getattr(delta, field)) for field in delta.__struct_fields__)))


def _mend(value: Any) -> Any:
    """Return the value with its surrogates joined to characters, or replaced where they are alone."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_mend(name): _mend(inner) for name, inner in value.items()}
    return [_mend(inner) for inner in value] if isinstance(value, list) else value


def decode_delta(entry: bytes) -> Delta | End:
    """Return the delta that an entry holds. Raises LogUnavailable for bytes that are no entry."""
    try:
        if entry[0] == 46:
            return _end.decode(entry[1:])
        kind, decode = _KINDS[entry[0]]
        delta: Delta = kind(decode(entry[1:]))
        return delta
    except (IndexError, KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogUnavailable(
            f"The log holds an entry that this version cannot read ({entry[:40]!r}): it is damaged or newer."
        ) from error
