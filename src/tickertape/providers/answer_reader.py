"""What every dialect's reader shares: bytes of one answer to deltas, strictly. No socket, no clock.

A dialect says what one message of its own means (`_message`). Here is what holds for all of them: however the bytes
were cut, the deltas are the same; a message that is no JSON object is an error and not skipped; an error is found
wherever it hides; and what the upstream says of the end is believed only when nothing more can come
(`finish_reasons`): then there is a `Finish`, or an error, or neither.

An error may come in place of a message, beside one, after the reason to end and after the marker of the end
(`reported_errors`), or as lines that are no message at all: ``error: {…}`` (older llama.cpp), JSON over several lines
(Gemini), plain words (gateways). How the body is framed is found out by `framing`. A message without words, ``null``, a
word such as ``ping`` or the ``[DONE]`` of another dialect keep a connection open, and are no failure.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from tickertape.deltas import ChunkFields, Delta, Finish, Text, ToolCall, Usage
from tickertape.errors import EventTooLarge, UpstreamError
from tickertape.parsing.finish_reasons import AnswerEnd, Dialect
from tickertape.parsing.reported_errors import find_error, stray_error
from tickertape.parsing.surrogates import SurrogateJoiner
from tickertape.parsing.tool_calls import ToolCallPieces
from tickertape.providers.framing import JsonBody, Kind, Opening
from tickertape.sse import Decoder
from tickertape.sse.decoder import IGNORED, MAX_EVENT_SIZE
from tickertape.util.json_util import UNREADABLE, loads

if TYPE_CHECKING:
    from tickertape.providers.thinking import Thinking
    from tickertape.providers.upstream_errors import UpstreamErrors
    from tickertape.sse import Event

_STRAY = 8192
"""Characters of lines that are no messages which are kept, to find an error in them."""

_BINARY = 0.1
"""The share of bytes that are no UTF-8 beyond which lines are no words: compressed data has four in ten, a sentence of
another encoding few."""

_FILLER = re.compile(
    r"""[\s:]*("?\s*[(\[]?(null|ping|pong|keep[-_ ]?alive|heartbeat|done)[)\]]?\s*"?)?\s*""", re.IGNORECASE
)
"""Messages that say nothing; they keep a connection open, or mark an end in another dialect than the reader's."""

_FILLER_TYPES = frozenset(("ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"))
"""Types of events that say nothing, unless they hold an object."""


class AnswerReader(ABC):
    """Turns the bytes of one response body into deltas.

    Call `feed` with each piece as it arrives, and with nothing at the body's end, until the answer is ``over``; then
    raise the ``error`` if there is one. ``done`` says that the upstream's last word was read, though an error may
    still follow it; ``finished`` that the answer was whole; ``events`` counts what came, whether it held a delta or
    not. Set ``cut`` before the end if the connection broke: then less is believed of what an upstream said.
    """

    dialect: ClassVar[Dialect]

    def __init__(
        self, errors: UpstreamErrors, max_event_size: int = MAX_EVENT_SIZE, thinking: Thinking | None = None
    ) -> None:
        self.error: UpstreamError | None = None
        self.cut = False
        self.finished = False
        self.events = 0
        self.end = AnswerEnd(self.dialect)
        self._errors = errors
        self._thinking = thinking
        self._closed = False
        self._usage: dict[str, Any] | None = None
        self._calls = ToolCallPieces()
        self._said: dict[str, Any] = {}  # fields without a word of their own, as they were last
        self._halves: SurrogateJoiner | None = None
        self._stray = ""
        self._max_event_size = max_event_size
        self._opening: Opening | None = Opening()
        self._framing: Decoder | JsonBody = Decoder(max_event_size, keep_ignored=True)
        self._framed = True

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._closed or self.error is not None

    @property
    def done(self) -> bool:
        """Whether the upstream has said its last word."""
        return self.end.marked

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas that these bytes complete, in order, up to an error.

        No bytes mean that the body has ended. `Usage` and `Finish` come then; a missing `Finish` stays missing.
        """
        if not data:
            return self._close()
        out: list[Delta] = []
        if self._opening is not None and not (data := self._begin_body(self._opening, data)):
            return out
        try:
            events = self._framing.feed(data)
        except EventTooLarge as error:
            self.error = self._errors.unusable(f"sent too much at once. {error}")
            return out
        self.events += len(events)
        message = self._message if self._framed else self._unframed
        for event in events:
            if event.type != "message" and self._named(event):
                continue
            message(event.data, out)
            if self.error is not None:
                break
        return self._sorted(out)

    def take(self, data: bytes) -> list[Delta]:
        """Return the deltas of one message that came without any framing around it."""
        out: list[Delta] = []
        self.events += 1
        self._message(data.decode("utf-8", "replace"), out)
        return self._sorted(out)

    @abstractmethod
    def _message(self, data: str, out: list[Delta]) -> None:
        """Append what one message of the dialect means; set ``error`` for one that is an error or none."""

    def _unframed(self, data: str, out: list[Delta]) -> None:
        """Append what JSON without events around it means: a message, or a whole answer where nothing was streamed."""
        self._message(data, out)

    def _begin_body(self, opening: Opening, data: bytes) -> bytes:
        """Return what is to be read of the first bytes, nothing while they do not say what the body is."""
        found = opening.feed(data)
        if found is None:
            return b""
        self._opening = None
        kind, held = found
        if kind is Kind.PAGE:
            self.error = self._errors.unusable("answered with a web page, which is no answer. Check the base URL.")
            return b""
        if kind is Kind.JSON:
            self._framing, self._framed = JsonBody(self._max_event_size), False
        return held

    # --- what the dialects share

    def _read(self, data: str) -> Any:
        """Return a message as JSON, text if it is none; half surrogate pairs in it are joined from then on."""
        try:
            return msgspec.json.decode(data)
        except UNREADABLE:
            if self._halves is None and "\\ud" in data.lower():
                self._halves = SurrogateJoiner()
            return loads(data)

    def _text(self, text: str, out: list[Delta]) -> None:
        if text:
            out.append(Text(text))

    def _content_came(self) -> None:
        """Note that content came: a reason before it says nothing."""
        if self.end.said:
            self.end.content()

    def _call(self, call: dict[str, Any], out: list[Delta]) -> None:
        out.append(ToolCall(self._calls.piece(call)))

    def _once(self, fields: dict[str, Any], out: list[Delta]) -> None:
        """Append fields without a word of their own whose value is new: many are said again with every message."""
        fresh = {n: v for n, v in fields.items() if v not in (None, "", [], {}) and self._said.get(n) != v}
        if fresh:
            self._said |= fresh
            out.append(ChunkFields(fresh))

    def _unknown(self, what: str, content: Any) -> None:
        """Fail the answer for content of a type that nobody knows: it must not vanish."""
        if self.error is None:
            self.error = self._errors.unusable(f"sent {what} that is not known here: {content!r:.120}.")

    # --- errors

    def _named(self, event: Event) -> bool:
        """Return whether nothing more is to be read of an event with a type: it said nothing, or an error in words."""
        if event.type == IGNORED:
            self._strays(event.data)
            return True
        if event.data[:1] == "{":
            return False
        if event.type == "error":
            self.error = self._errors.reported(loads(event.data))
        return event.type == "error" or event.type in _FILLER_TYPES

    def _complain(self, data: str, message: Any = None) -> None:
        """Set the error that a message is, in whatever shape, or the one that it is no message, unless it is filler."""
        if _FILLER.fullmatch(data):
            if "done" in data.lower() and self.dialect == "gemini":
                self.end.marker()  # its dialect has none, but who sends one means it
            return
        value = loads(data) if message is None else message
        found = find_error(value)
        if found is not None:
            self.error = self._errors.reported(found)
        elif isinstance(value, dict):
            self.error = self._foreign(data)
        elif data.strip().startswith("error:"):
            self.error = self._errors.reported(stray_error(data))
        elif isinstance(value, str) and not self._framed:
            self._strays(data)
        else:
            self.error = self._not_json(data)

    def _not_json(self, data: str) -> UpstreamError:
        return self._errors.unusable(f"sent a message that is not a JSON object: {data[:80]!r}.")

    def _foreign(self, data: str) -> UpstreamError:
        return self._errors.unusable(f"sent what is no part of an answer in this dialect: {data[:80]!r}.")

    def _stray_error(self, words: Any) -> UpstreamError:
        """Return the error that lines which are no messages are."""
        if isinstance(words, str) and words.count("\ufffd") > len(words) * _BINARY:
            return self._errors.unusable("answered with what is neither events nor JSON. Check the base URL.")
        broken = isinstance(words, str) and words[0] in "{["
        return self._not_json(words) if broken else self._errors.reported(words)

    def _strays(self, line: str) -> None:
        """Keep a line that is no message: at the end it may turn out to be an error, or a part of one."""
        self._stray = (self._stray + line[:_STRAY] + "\n")[: 2 * _STRAY]

    # --- the end

    def _close(self) -> list[Delta]:
        self._closed = True
        out: list[Delta] = []
        try:
            for event in self._framing.close():
                if self.error is None and (event.type == "message" or not self._named(event)):
                    self.events += 1
                    self._unframed(event.data, out)
        except EventTooLarge as error:
            self.error = self._errors.unusable(f"sent too much at once. {error}")
        self._last(out)
        if self.error is None and (words := stray_error(self._stray)) is not None:
            self.error = self._stray_error(words)
        out = self._sorted(out)
        if self.error is None and (ending := self.end.verdict(clean=not self.cut)) is not None:
            if ending.reason is None:
                self.error = self._errors.unfinished(ending)
            else:
                self.finished = True
                out.append(Finish(self._reason(ending.reason)))
        return out + self._owed()

    def _last(self, out: list[Delta]) -> None:  # noqa: B027 - most dialects hold nothing back
        """Append what was held back until now."""

    def _reason(self, reason: str) -> str:
        """Return the finish reason in OpenAI's words: most dialects have none of their own for tool calls."""
        return reason

    def _owed(self) -> list[Delta]:
        usage, self._usage = self._usage, None
        return [Usage(usage)] if usage else []

    def _sorted(self, out: list[Delta]) -> list[Delta]:
        """Return the deltas with whole characters, and inline thinking told apart from the answer."""
        if self._halves is not None:
            out = self._halves.join(out)
            if self._closed:
                out += self._halves.rest()
        if self._thinking is not None:
            out = self._thinking.sort(out, last=self.over)
            if self._thinking.over:
                self._thinking = None
        return out
