"""What an answer has said so far, from the events of any OpenAI-compatible stream. Pure: no I/O here.

When is an answer whole? It is, once its stream said a finish reason that is known to mean so (`finish_reasons`), or
``[DONE]``: some servers leave out the one, some the other. Text revokes a reason or ``[DONE]`` that came before it, and
an unknown reason is no success. It is cancelled if the stream carries tickertape's mark for that: a state on the
result, not an error, as somebody wanted it so. It has failed if an event holds an error, before or after ``[DONE]``.
Everything else is incomplete, however cleanly the connection ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from tickertape.deltas import Delta, Finish, State, Usage
from tickertape.errors import AnswerFailed, ConnectionFailed, IncompleteStream
from tickertape.parsing.openai_chunks import ChunkParser
from tickertape.parsing.reported_errors import parse_error, stray_error
from tickertape.sse.decoder import IGNORED
from tickertape.transcript import Transcript
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from tickertape.sse.event import Event

_STRAY = 8192
"""Characters of a line that is no event which are looked at; and twice as many of all such lines."""

_POSITION = re.compile(r"(.+)\.([0-9]{1,18})")


class EventTranscript(Transcript):
    """The answer so far: `take` its events, then call `end`; the attributes hold at any moment in between.

    ``state`` is running until `end` or an error, then one of the five ends. ``finish_reason`` is the provider's, in
    OpenAI's words: stop, length, tool_calls, content_filter, … ``usage`` is what the server counted, if it was asked
    to. ``events`` are the events as they came. What else there is, `tickertape.transcript` says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = State.RUNNING
        self.events: list[Event] = []
        self.done = False
        """The stream said ``[DONE]``: call `end` once the events that were received with it are taken."""
        self._chunks = ChunkParser()
        self._cancelled = False  # the stream said so
        self._stopped = False  # the caller wanted it so
        self._stray = ""  # lines that are no events: an error, perhaps
        self._skip = 0  # events that a replay repeats
        self._replayed: tuple[str, int] | None = None  # the position up to which a replay may repeat

    @property
    def model(self) -> str | None:
        """The model that answers, by its own account."""
        return self._chunks.model

    def take(self, event: Event) -> list[Delta]:
        """Return what this event adds. Raises AnswerFailed if it carries an error or cannot be understood."""
        if event.type == IGNORED:
            self._stray = (self._stray + event.data[:_STRAY] + "\n")[: 2 * _STRAY]
            return []
        if self._seen_before(event):
            return []
        self.events.append(event)
        out: list[Delta] = []
        if event.data.strip() == "[DONE]":
            self.done = True
            self._chunks.done()
            self._close(out)
        elif not self._says_nothing(event):
            self._chunk(event, out)
        return out

    def _says_nothing(self, event: Event) -> bool:
        """Return whether an event only keeps the connection open. Raises AnswerFailed for one that is an error."""
        if event.type == "message":
            return event.data == "null" or not event.data.strip()
        if event.type == "error":
            try:
                value = msgspec.json.decode(event.data)
            except UNREADABLE:
                value = event.data or "an error event without data"
            self._fail(value)
        return event.data[:1] != "{"  # a ping of somebody's making

    def _chunk(self, event: Event, out: list[Delta]) -> None:
        if '"tickertape"' in event.data:
            self._marked(event.data)
        chunks, usage, before = self._chunks, self._chunks.usage, self._chunks.end.held
        wrong = chunks.read(event.data, out)
        self.done = self.done and chunks.end.marked  # text after [DONE] revokes it
        if chunks.usage is not usage and chunks.usage is not None:
            out.append(Usage(chunks.usage))
        for delta in out:
            self.add(delta)
        held = chunks.end.held
        if held is not before:
            self.finish_reason = held.reason if held else None
            if held is not None and held.reason is not None:
                out.append(Finish(held.reason))
        if wrong:
            if chunks.error is not None:
                self._fail(chunks.error)
            if event.type == "message":
                self._fail_with(f"The stream {chunks.problem}")
            chunks.forgive()
        if held is not None and held.broken:
            self._conclude()

    def _close(self, out: list[Delta]) -> None:
        """Add what was held back."""
        before = len(out)
        self._chunks.close(out)
        for delta in out[before:]:
            self.add(delta)

    def _marked(self, data: str) -> None:
        """Take note of tickertape's own mark, if the event has one."""
        mark = _mark(data)
        self._cancelled = self._cancelled or mark == State.CANCELLED
        self._ends_as = State(mark) if mark in (State.INCOMPLETE, State.LOST) else State.FAILED

    _ends_as = State.FAILED
    """What an error makes of the answer: tickertape's own say what they are."""

    def reconnected(self, last_event_id: str) -> None:
        """Prepare for events from a new connection, whose request named this last event.

        A server that does not know the event, or was not given one, sends all events again from the start: those that
        were taken already are then skipped.
        """
        match = _POSITION.fullmatch(last_event_id)
        self._replayed = (match[1], int(match[2])) if match else None
        self._skip = 0 if last_event_id else len(self.events)
        self._stray = ""

    def end(self, error: ConnectionFailed | None = None) -> None:
        """Take the end of the events, and its cause if that is known.

        Raises IncompleteStream unless the answer is whole, AnswerFailed if its last reason means a failure.
        """
        if self.state is not State.RUNNING:
            return
        self._close([])
        if not (self._cancelled or self._stopped) and (found := stray_error(self._stray)) is not None:
            self._fail(found)
        verdict = self._chunks.end.verdict(clean=error is None)
        if self._cancelled or (self._stopped and verdict is None):
            self.state = State.CANCELLED
        elif verdict is not None:
            self._conclude()
        elif self.done:
            self.state = State.INCOMPLETE
            raise IncompleteStream("The stream said [DONE] before there was an answer.", text=self.text)
        else:
            self.state = State.INCOMPLETE
            text = self.text
            why = str(error) if error else "The connection ended cleanly all the same."
            raise IncompleteStream(
                f"The answer broke off after {len(text):,} characters, without a finish reason or [DONE]. {why}",
                text=text,
            ) from error

    def _conclude(self) -> None:
        """Set the state that the last reason means. Raises AnswerFailed or IncompleteStream unless that is whole."""
        held = self._chunks.end.held
        if held is None or held.reason is not None:
            self.state = State.COMPLETED
            return
        sentence = f"The answer ended with the reason {held.word[:80]!r}: {held.why}."
        if held.broken:
            self._fail_with(sentence, code=held.word[:80])
        self.state = State.INCOMPLETE
        raise IncompleteStream(sentence, text=self.text)

    def stopped(self) -> None:
        """Take note that the caller has stopped the answer: if it breaks off now, it is cancelled, not incomplete."""
        self._stopped = True

    def _seen_before(self, event: Event) -> bool:
        if self._skip:
            self._skip -= 1
            return True
        if self._replayed is None:
            return False
        match = _POSITION.fullmatch(event.id)
        if match and match[1] == self._replayed[0] and int(match[2]) <= self._replayed[1]:
            return True
        self._replayed = None
        return False

    def _fail(self, error: Any) -> NoReturn:
        reported = parse_error(error)
        words = reported.words or (error if isinstance(error, str) else msgspec.json.encode(error).decode())
        self.state = self._ends_as
        raise AnswerFailed(
            f"The answer ended with an error: {words}", text=self.text, code=reported.code, type=reported.type or None
        )

    def _fail_with(self, sentence: str, code: str | None = None) -> NoReturn:
        self.state = State.FAILED
        raise AnswerFailed(sentence, text=self.text, code=code)


def _mark(data: str) -> str:
    """Return the state that tickertape's own field names, if the event has one."""
    try:
        value = msgspec.json.decode(data)
    except UNREADABLE:
        return ""
    mark = value.get("tickertape") if isinstance(value, dict) else None
    state = mark.get("state") if isinstance(mark, dict) else None
    return state if isinstance(state, str) else ""
