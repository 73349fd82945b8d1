"""What every dialect's reader shares: bytes of one answer to deltas, strictly. No socket, no clock.

A dialect says what one message of its own means (`_message`). Here is what holds for all of them: however the bytes
were cut, the deltas are the same; a message that is no JSON object is an error and not skipped; an error is found
in whatever shape it comes; and only the dialect's own terminal marker is a `Finish`.

An error may come in place of a message, as ``{"error": …}``, ``{"object": "error", …}`` or a bare ``{"message": …}``,
or as a line that is no message at all: ``error: {…}`` (older llama.cpp) or a bare ``{"error": …}`` among events.
How the body is framed is found out by `framing`. A message without words, ``null``, a word such as ``ping`` or the
``[DONE]`` of another dialect keep a connection open, and are no failure.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tickertape.deltas import Delta, Finish, Usage
from tickertape.errors import EventTooLarge, ProviderError
from tickertape.foreign_json import loads
from tickertape.providers.framing import JsonBody, Kind, Opening
from tickertape.sse import Decoder
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from tickertape.providers.thinking import Thinking
    from tickertape.providers.upstream import Upstream

_TAIL = 2048
"""Bytes. How much of the end of a body is kept, to find an error there that is no event."""

_WORDS = ("error", "message", "detail", "msg")
"""Fields in which servers say what went wrong."""

_LAST_WORDS = re.compile(rb"[\r\n](?:error: *([^\r\n]+)|(\{ *\"error\"[^\r\n]+))")

_FILLER = re.compile(
    r"""[\s:]*("?\s*[(\[]?(null|ping|pong|keep[-_ ]?alive|heartbeat|done)[)\]]?\s*"?)?\s*""", re.IGNORECASE
)
"""Messages that say nothing; they keep a connection open, or mark an end in another dialect than the reader's."""

_FILLER_TYPES = frozenset(("ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"))
"""Types of events that say nothing, unless they hold an object."""

_FIELD = re.compile(r"(data|event|id|retry|) ?:|(data|event|id|retry)?$")
"""The beginning of a line of an event stream."""


class AnswerReader(ABC):
    """Turns the bytes of one response body into deltas.

    Call `feed` with each piece as it arrives, and with nothing at the body's end, until the answer is ``over``; then
    raise the ``error`` if there is one. ``done`` says that the upstream's last word was read, ``finished`` that its
    terminal marker was; ``events`` counts what came, whether it held a delta or not.
    """

    def __init__(
        self, upstream: Upstream, max_event_size: int = MAX_EVENT_SIZE, thinking: Thinking | None = None
    ) -> None:
        self.error: ProviderError | None = None
        self.done = False
        self.finished = False
        self.events = 0
        self._upstream = upstream
        self._thinking = thinking
        self._tail = b"\n"
        self._closed = False
        self._usage: dict[str, Any] | None = None
        self._max_event_size = max_event_size
        self._opening: Opening | None = Opening()
        self._framing: Decoder | JsonBody = Decoder(max_event_size)
        self._framed = True

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._closed or self.done or self.error is not None

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas that these bytes complete, in order, up to an error or the upstream's last word.

        No bytes mean that the body has ended. Usage that is still owed comes then; a missing `Finish` stays missing.
        """
        if not data:
            return self._sorted(self._close())
        out: list[Delta] = []
        if self._opening is not None and not (data := self._begin_body(self._opening, data)):
            return out
        self._tail = (self._tail + data)[-_TAIL:]
        try:
            events = self._framing.feed(data)
        except EventTooLarge as error:
            self.error = self._upstream.unusable(f"sent too much at once. {error}")
            return out
        self.events += len(events)
        message = self._message if self._framed else self._unframed
        for event in events:
            if event.type in _FILLER_TYPES and event.data[:1] != "{":
                continue
            message(event.data, out)
            if self.over:
                break
        return self._sorted(out)

    def take(self, data: bytes) -> list[Delta]:
        """Return the deltas of one message that came without any framing around it."""
        out: list[Delta] = []
        self.events += 1
        self._message(data, out)
        return self._sorted(out)

    @abstractmethod
    def _message(self, data: str | bytes, out: list[Delta]) -> None:
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
            self.error = self._upstream.unusable("answered with a web page, which is no answer. Check the base URL.")
            return b""
        if kind is Kind.JSON:
            self._framing, self._framed = JsonBody(self._max_event_size), False
        return held

    def _finish(self, reason: str, out: list[Delta]) -> None:
        """Note the terminal marker. Only the first counts."""
        if not self.finished:
            self.finished = True
            out.append(Finish(reason))

    def _complain(self, data: str | bytes) -> None:
        """Set the error that a message is, in whatever shape, or the one that it is no message, unless it is filler."""
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if _FILLER.fullmatch(text):
            return
        value = loads(data)
        if isinstance(value, dict):
            words = value.get("object") == "error" or any(value.get(name) for name in _WORDS)
            self.error = self._upstream.reported(value) if words else self._foreign(data)
            return
        words = text.strip().removeprefix("error:")
        if words != text.strip():
            self.error = self._upstream.reported(loads(words))
        else:
            self.error = self._upstream.unusable(f"sent a message that is not a JSON object: {data[:80]!r}.")

    def _foreign(self, data: str | bytes) -> ProviderError:
        return self._upstream.unusable(f"sent what is no part of an answer in this dialect: {data[:80]!r}.")

    def _close(self) -> list[Delta]:
        self._closed = True
        out: list[Delta] = []
        try:
            for event in self._framing.close() or ():
                if self.error is None and not self.done:
                    self.events += 1
                    self._unframed(event.data, out)
        except EventTooLarge as error:
            self.error = self._upstream.unusable(f"sent too much at once. {error}")
        if not self.finished and self.error is None:
            self._complained()
        return out + self._owed()

    def _complained(self) -> bool:
        """Look for an error among the last lines. An event's own lines begin with a field name: no text is mistaken."""
        found = _LAST_WORDS.search(self._tail)
        if found is not None:
            words = (found[1] or found[2]).decode("utf-8", "replace")
            self.error = self._upstream.reported(loads(words))
        elif self._closed and not self.events and (words := self._plain_words()):
            unreadable = self._upstream.unusable("answered with what is neither events nor JSON. Check the base URL.")
            self.error = unreadable if "\ufffd" in words else self._upstream.reported(words)
        return self.error is not None

    def _plain_words(self) -> str:
        """Return what a body without any message says in plain text, as gateways do; "" if it is an event cut off."""
        if not self._framed:
            return ""
        *lines, last = re.split(r"[\r\n]", self._tail.decode("utf-8", "replace"))
        if not any(field.startswith(last) for field in ("data", "event", "id", "retry", "error")):
            lines.append(last)
        return " ".join(line for line in lines if not _FIELD.match(line)).strip()

    def _owed(self) -> list[Delta]:
        usage, self._usage = self._usage, None
        return [Usage(usage)] if usage else []

    def _sorted(self, out: list[Delta]) -> list[Delta]:
        """Return the deltas with inline thinking told apart from the answer, where there may be any."""
        if self._thinking is None:
            return out
        out = self._thinking.sort(out, last=self.over)
        if self._thinking.over:
            self._thinking = None
        return out
