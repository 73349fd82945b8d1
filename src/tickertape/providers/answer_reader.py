"""What every dialect's reader shares: bytes of one answer to deltas, strictly. No socket, no clock.

A dialect says what one message of its own means (`_message`). Here is what holds for all of them: however the bytes
were cut, the deltas are the same; a message that is no JSON object is an error and not skipped; an error is found
in whatever shape it comes; and only the dialect's own terminal marker is a `Finish`.

An error may come in place of a message, as ``{"error": …}``, ``{"object": "error", …}`` or a bare ``{"message": …}``,
or as a line that is no message at all: ``error: {…}`` (older llama.cpp) or a bare ``{"error": …}`` among events.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tickertape.deltas import Delta, Finish, Usage
from tickertape.errors import EventTooLarge, ProviderError
from tickertape.foreign_json import loads
from tickertape.sse import Decoder, Event
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from tickertape.providers.thinking import Thinking
    from tickertape.providers.upstream import Upstream

_TAIL = 2048
"""Bytes. How much of the end of a body is kept, to find an error there that is no event."""

_BOM = b"\xef\xbb\xbf"

_WORDS = ("error", "message", "detail", "msg")
"""Fields in which servers say what went wrong."""

_LAST_WORDS = re.compile(rb"[\r\n](?:error: *([^\r\n]+)|(\{ *\"error\"[^\r\n]+))")


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
        self._framing = self._frames(max_event_size)

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
        self._tail = (self._tail + data)[-_TAIL:]
        try:
            events = self._framing.feed(data)
        except EventTooLarge as error:
            self.error = self._upstream.unusable(f"sent too much at once. {error}")
            return out
        self.events += len(events)
        for event in events:
            self._message(event.data, out)
            if self.over:
                break
        return self._sorted(out)

    def take(self, data: bytes) -> list[Delta]:
        """Return the deltas of one message that came without any framing around it."""
        out: list[Delta] = []
        self.events += 1
        self._message(data, out)
        return self._sorted(out)

    def whole(self, body: bytes) -> list[Delta]:
        """Return the deltas of an answer that came in one piece of JSON: the upstream does not stream."""
        out: list[Delta] = []
        self._closed = True
        value = loads(body.decode("utf-8", "replace"))
        if isinstance(value, dict):
            self._in_one_piece(value, out)
        else:
            self.error = self._upstream.unusable("answered with what is no chat completion. Check the base URL.")
        return self._sorted(out + self._owed())

    @abstractmethod
    def _message(self, data: str | bytes, out: list[Delta]) -> None:
        """Append what one message of the dialect means; set ``error`` for one that is an error or none."""

    def _in_one_piece(self, value: dict[str, Any], out: list[Delta]) -> None:
        """Append what an answer means that came whole. In most dialects it has the shape of a message."""
        self._message(json.dumps(value), out)

    def _frames(self, max_event_size: int) -> Decoder | Lines:
        return Decoder(max_event_size)

    def _finish(self, reason: str, out: list[Delta]) -> None:
        """Note the terminal marker. Only the first counts."""
        if not self.finished:
            self.finished = True
            out.append(Finish(reason))

    def _complain(self, data: str | bytes) -> None:
        """Set the error that a message is, in whatever shape, or the one that it is no message."""
        value = loads(data)
        if isinstance(value, dict):
            words = value.get("object") == "error" or any(value.get(name) for name in _WORDS)
            self.error = self._upstream.reported(value) if words else self._foreign(data)
            return
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        words = text.strip().removeprefix("error:")
        if words != text.strip():
            self.error = self._upstream.reported(loads(words))
        else:
            self.error = self._upstream.unusable(f"sent an event that is not a JSON object: {data[:80]!r}.")

    def _foreign(self, data: str | bytes) -> ProviderError:
        return self._upstream.unusable(f"sent what is no part of an answer in this dialect: {data[:80]!r}.")

    def _close(self) -> list[Delta]:
        self._closed = True
        out: list[Delta] = []
        try:
            if isinstance(self._framing, Decoder):
                self._framing.close()
            else:
                for event in self._framing.close():
                    self._message(event.data, out)
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
        return found is not None

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


class Lines:
    """Newline-delimited JSON: bytes, however cut, to messages. Empty lines are none.

    Raises EventTooLarge for a line beyond ``max_size`` bytes. A last line without its end is a message too,
    if it is whole: nothing else could end the body.
    """

    def __init__(self, max_size: int) -> None:
        self._limit = max_size
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Return the messages that these bytes complete."""
        head, newline, rest = data.rpartition(b"\n")
        if newline:
            whole = bytes(self._begun) + head
            self._begun = bytearray(rest)
            lines = [line for line in whole.removeprefix(_BOM).split(b"\n") if line.strip()]
        else:
            self._begun += data
            lines = []
        if len(self._begun) > self._limit or any(len(line) > self._limit for line in lines):
            raise EventTooLarge(self._limit)
        return [_event(line) for line in lines]

    def close(self) -> list[Event]:
        """Return the message that the body's end completes, if there is one."""
        line = bytes(self._begun).strip()
        return [_event(line)] if line and isinstance(loads(line.decode("utf-8", "replace")), dict) else []


def _event(line: bytes) -> Event:
    return Event(line.decode("utf-8", "replace"))
