"""The one vocabulary between providers, the log and the server: what can happen in an answer.

Every dialect is translated into these, and every route renders them. A delta is kept in the log as one *entry*: a
tag byte and JSON, without a line end. The tag says what it is, so that a route can put the JSON into a frame of its own
without decoding it::

    b"assistant"               Begins           the first entry of an answer
    o{"message_id":"6f…",…}    Opens            the first entry of one in a conversation: where it belongs
    c"3c22…"                   Continues        this answer goes on where that stream's was cut off
    t"Hel"                     Text             a piece of the answer
    l["Hel",{"content":[…]}]   ScoredText       the same with the log probabilities of its tokens
    r"Let me see"              Reasoning        a piece of the thinking before it
    p{"type":"reasoning.…"}    ReasoningDetail  a part of the thinking that must come back as it is: signed, encrypted
    k{"index":0,"id":"…",…}    ToolCall         a piece of a tool call, function or custom
    j{"name":"…",…}            FunctionCall     a piece of OpenAI's deprecated function call
    n"I cannot"                Refusal          a piece of a refusal
    a{"index":0,"type":…}      Annotation       a URL that the text cites, as OpenAI says it
    g{"index":0,"type":…}      Citation         any other source: a place in a document, a reference by number
    i{"index":0,"type":…}      Image            a picture, as a URL or a data: URL
    v{"data":"…"}              Audio            a piece of sound, or of what is said in it
    w{"index":0,"type":…}      ServerTool       a tool that the provider ran by itself, or what came of it
    d{"name":…}                DeltaFields      fields of a delta that this vocabulary has no word for
    q{"name":…}                ChunkFields      the same of the chunk around it
    f"stop"                    Finish           the answer is whole; OpenAI's finish reason
    u{"prompt_tokens":3,…}     Usage            token counts in OpenAI's shape, to be shown in the stream
    e<type> {…}                Typed            an event of a stream that is no answer of a model
    x<type> "text"             Frame            the same, with text in place of JSON
    snull                      Stopped          someone pressed stop; the terminal entry follows
    .{"state":"completed",…}   End              the terminal entry: always there, always last

An entry is a pure function of its delta and is encoded once; JSON has no raw line ends, so entries can be
kept as lines. Lists of a message, such as its citations, come one element at a time, each with the ``index`` that it
has in the list: that is how OpenAI's own clients put them together.

``DeltaFields`` also reads what early logs hold: there a delta of tool calls or a refusal was kept as OpenAI's object.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec

from tickertape.errors import EngineUnavailable


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


class Begins(msgspec.Struct, frozen=True, gc=False):
    """The answer begins, and belongs to no conversation."""

    role: str = "assistant"


class Opens(msgspec.Struct, frozen=True):
    """The answer begins, and belongs to a conversation: ``conversation_id``, ``message_id``, ``parent_message_id``."""

    place: dict[str, Any]


class Continues(msgspec.Struct, frozen=True, gc=False):
    """A new generation that goes on from the partial answer of another stream, whose text is not repeated."""

    stream: str


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer's text."""

    text: str


class ScoredText(Text, frozen=True):
    """A piece of text with the ``logprobs`` of its tokens, as OpenAI's choices have them; the text may be empty."""

    logprobs: dict[str, Any]


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's thinking, to be shown."""

    text: str


class ReasoningDetail(msgspec.Struct, frozen=True):
    """A part of the thinking that a later turn must hold unchanged and in order, as OpenRouter says it.

    ``index`` and ``type`` (reasoning.text, reasoning.summary, reasoning.encrypted) are always there; pieces of one
    index are one part, whose ``text``, ``summary``, ``data`` and ``signature`` are joined.
    """

    detail: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    """A piece of a tool call as in OpenAI's deltas.

    ``index`` is always there. The first piece of a call holds ``id``, ``type`` and the name; every piece may hold more
    of ``function.arguments`` or ``custom.input``, and fields of the provider's own.
    """

    call: dict[str, Any]


class FunctionCall(msgspec.Struct, frozen=True):
    """A piece of a call in OpenAI's deprecated form, for callers who gave ``functions``: ``name``, ``arguments``."""

    call: dict[str, Any]


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's refusal."""

    text: str


class Annotation(msgspec.Struct, frozen=True):
    """A citation in OpenAI's shape: ``index``, ``type`` and, for ``url_citation``, ``url``, ``title`` and the place."""

    annotation: dict[str, Any]


class Citation(msgspec.Struct, frozen=True):
    """A citation for which OpenAI has no shape, in its provider's words, with ``index`` and ``type``."""

    citation: dict[str, Any]


class Image(msgspec.Struct, frozen=True):
    """A picture: ``index``, ``type`` ``image_url`` and ``image_url.url``, which may be a ``data:`` URL."""

    image: dict[str, Any]


class Audio(msgspec.Struct, frozen=True):
    """A piece of sound as in OpenAI's deltas: ``id``, ``data`` in base64, ``transcript``, ``expires_at``."""

    audio: dict[str, Any]


class ServerTool(msgspec.Struct, frozen=True):
    """A tool that the provider ran, or its result, in the provider's words, with ``index`` and ``type``."""

    step: dict[str, Any]


class DeltaFields(msgspec.Struct, frozen=True):
    """Fields of an upstream's delta that no other word says, under their own names."""

    fields: dict[str, Any]


class ChunkFields(msgspec.Struct, frozen=True):
    """Fields beside an upstream's delta, of its choice or chunk, that no other word says."""

    fields: dict[str, Any]


FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""What a `Finish` may say. With any other word an answer is incomplete: it is not known to mean that it is whole."""


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The answer is whole, and why it ends: one of `FINISH_REASONS`."""

    reason: str


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Someone pressed stop: what follows is the end, not the finish."""

    reason: None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts in OpenAI's shape (``prompt_tokens``, ``completion_tokens``, ``total_tokens``, details)."""

    usage: dict[str, Any]


class Typed(msgspec.Struct, frozen=True):
    """An event with a type of its sender's, and JSON."""

    type: str
    data: Any


class Frame(msgspec.Struct, frozen=True, gc=False):
    """An event with a type of its sender's, and text."""

    type: str
    text: str


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


Delta = (
    Begins
    | Opens
    | Continues
    | Text
    | Reasoning
    | ReasoningDetail
    | ToolCall
    | FunctionCall
    | Refusal
    | Annotation
    | Citation
    | Image
    | Audio
    | ServerTool
    | DeltaFields
    | ChunkFields
    | Finish
    | Stopped
    | Usage
    | Typed
    | Frame
)

_json = msgspec.json.Encoder().encode
_object = dict[str, Any]
_TAGS: dict[type, tuple[bytes, str, Any]] = {  # the deltas of one field: tag, field and its type
    Begins: (b"b", "role", str),
    Opens: (b"o", "place", _object),
    Continues: (b"c", "stream", str),
    Text: (b"t", "text", str),
    Reasoning: (b"r", "text", str),
    ReasoningDetail: (b"p", "detail", _object),
    ToolCall: (b"k", "call", _object),
    FunctionCall: (b"j", "call", _object),
    Refusal: (b"n", "text", str),
    Annotation: (b"a", "annotation", _object),
    Citation: (b"g", "citation", _object),
    Image: (b"i", "image", _object),
    Audio: (b"v", "audio", _object),
    ServerTool: (b"w", "step", _object),
    DeltaFields: (b"d", "fields", _object),
    ChunkFields: (b"q", "fields", _object),
    Finish: (b"f", "reason", str),
    Stopped: (b"s", "reason", None),
    Usage: (b"u", "usage", _object),
}
_KINDS = {tag[0]: (kind, msgspec.json.Decoder(type_).decode) for kind, (tag, _field, type_) in _TAGS.items()}
_end = msgspec.json.Decoder(End)
_scored = msgspec.json.Decoder(tuple[str, dict[str, Any]])
_text = msgspec.json.Decoder(str)

_TYPE = re.compile(r"[^\s\x00]{1,128}")
"""The type of an event: a word, so that it can stand before the JSON."""


def encode_delta(delta: Delta | End) -> bytes:
    """Return the delta's entry. Lone surrogates become U+FFFD: they have no UTF-8 form."""
    try:
        if type(delta) is Text:
            return b"t" + _json(delta.text)
        match delta:
            case End():
                return b"." + _json(delta)
            case ScoredText(text, logprobs):
                return b"l" + _json([text, logprobs])
            case Typed(type_, data):
                return b"e%b %b" % (_type(type_), _json(data))
            case Frame(type_, text):
                return b"x%b %b" % (_type(type_), _json(text))
        tag, field, _kind = _TAGS[type(delta)]
        return tag + _json(getattr(delta, field))
    except UnicodeEncodeError:
        return encode_delta(type(delta)(*(_mend(getattr(delta, field)) for field in delta.__struct_fields__)))


def _type(type_: str) -> bytes:
    if not _TYPE.fullmatch(type_):
        raise ValueError(f"The type of an event is a word of up to 128 characters; it was {type_[:200]!r}.")
    return type_.encode()


def _mend(value: Any) -> Any:
    """Return the value with its surrogates joined to characters, or replaced where they are alone."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_mend(name): _mend(inner) for name, inner in value.items()}
    return [_mend(inner) for inner in value] if isinstance(value, list) else value


def decode_delta(entry: bytes) -> Delta | End:
    """Return the delta that an entry holds. Raises EngineUnavailable for bytes that are no entry."""
    try:
        match entry[:1]:
            case b".":
                return _end.decode(entry[1:])
            case b"l":
                return ScoredText(*_scored.decode(entry[1:]))
            case b"e":
                type_, _space, data = entry[1:].partition(b" ")
                return Typed(type_.decode(), msgspec.json.decode(data))
            case b"x":
                type_, _space, data = entry[1:].partition(b" ")
                return Frame(type_.decode(), _text.decode(data))
        kind, decode = _KINDS[entry[0]]
        delta: Delta = kind(decode(entry[1:]))
        return delta
    except (IndexError, KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineUnavailable(
            f"The log holds an entry that this version cannot read ({entry[:40]!r}): it is damaged or newer."
        ) from error
