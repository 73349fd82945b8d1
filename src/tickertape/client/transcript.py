"""What an answer has said so far, from the events of any OpenAI-compatible stream. Pure: no I/O here.

When is an answer whole? It is, once its stream said a finish reason or ``[DONE]``: some servers leave out the one,
some the other. It is cancelled if the stream carries tickertape's mark for that: a state on the result, not an
error, as somebody wanted it so. It has failed if an event holds an error, even if ``[DONE]`` follows. Everything
else is incomplete, however cleanly the connection ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from tickertape.deltas import Delta, Finish, Raw, Reasoning, State, Text, Usage
from tickertape.errors import ConnectionFailed, IncompleteStream, StreamError
from tickertape.foreign_json import UNREADABLE
from tickertape.tool_calls import merge_tool_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickertape.sse.event import Event

_POSITION = re.compile(r"(.+)\.([0-9]{1,18})")


class Transcript:
    """The answer so far: `take` its events, then say `end`; the attributes hold at any moment in between.

    ``tool_calls`` are merged to OpenAI's whole tool calls. ``usage`` is what the server counted, if it was asked to.
    ``finish_reason`` is the provider's: stop, length, tool_calls, content_filter, … ``state`` is running, or one of
    the five ends. ``events`` are the events as they came.
    """

    def __init__(self) -> None:
        self.state = State.RUNNING
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.refusal = ""
        self.tool_calls: list[dict[str, Any]] = []
        self.usage: dict[str, Any] | None = None
        self.events: list[Event] = []
        self.done = False
        """The stream said ``[DONE]``: nothing follows."""
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._cancelled = False  # the stream said so
        self._stopped = False  # the caller wanted it so
        self._skip = 0  # events that a replay repeats
        self._replayed: tuple[str, int] | None = None  # the position up to which a replay may repeat

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The model's thinking so far, if it shows it."""
        return "".join(self._reasoning)

    def take(self, event: Event) -> list[Delta]:
        """Return what this event adds. Raises StreamError if it carries an error or cannot be understood."""
        if self._seen_before(event):
            return []
        self.events.append(event)
        if event.data == "[DONE]":
            self.done = True
            self.state = State.CANCELLED if self._cancelled else State.COMPLETED
            return []
        chunk = self._parse(event)
        if chunk.get("error") or chunk.get("object") == "error":
            self._fail(chunk)
        self._cancelled = self._cancelled or _mark(chunk) == State.CANCELLED
        self.model = self.model or _text(chunk.get("model")) or None
        deltas: list[Delta] = []
        for choice in _objects(chunk.get("choices")):  # Azure's first chunk has none, some servers send null
            if not choice.get("index"):
                deltas += self._choice(choice)
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
            deltas.append(Usage(chunk["usage"]))
        return deltas

    def reconnected(self, last_event_id: str) -> None:
        """Say that the events go on over a new connection, whose request named this last event.

        What was named but is unknown to the server, or was not named, is sent from the start: what was taken
        already is then passed over.
        """
        match = _POSITION.fullmatch(last_event_id)
        self._replayed = (match[1], int(match[2])) if match else None
        self._skip = 0 if last_event_id else len(self.events)

    def end(self, error: ConnectionFailed | None = None) -> None:
        """Say that no event follows, and why if that is known. Raises IncompleteStream unless the answer is whole."""
        if self.done or self.state is not State.RUNNING:
            return
        if self._cancelled or (self._stopped and self.finish_reason is None):
            self.state = State.CANCELLED
        elif self.finish_reason is not None:
            self.state = State.COMPLETED
        else:
            self.state = State.INCOMPLETE
            text = self.text
            why = str(error) if error else "The connection ended cleanly all the same."
            raise IncompleteStream(
                f"The answer broke off after {len(text):,} characters, without a finish reason or [DONE]. {why}",
                text=text,
            ) from error

    def stopped(self) -> None:
        """Say that the caller has stopped the answer: if it breaks off now, it is cancelled and not incomplete."""
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

    def _parse(self, event: Event) -> dict[str, Any]:
        try:
            value = msgspec.json.decode(event.data)
        except UNREADABLE:
            value = None
        if isinstance(value, dict):
            if event.type == "error" and not value.get("error"):
                return {"error": value}
            return value
        if event.type == "error":
            return {"error": event.data or "an error event without data"}
        if event.type != "message" or not event.data.strip():
            return {}  # a ping of somebody's making
        self.state = State.FAILED
        raise StreamError(f"An event is not a JSON object, as OpenAI's are: {event.data[:200]!r}.", text=self.text)

    def _fail(self, chunk: Mapping[str, Any]) -> NoReturn:
        error = chunk.get("error") or chunk
        mark = _mark(chunk)
        self.state = State(mark) if mark in (State.INCOMPLETE, State.LOST) else State.FAILED
        if not isinstance(error, dict):
            raise StreamError(f"The answer ended with an error: {error}", text=self.text)
        code, kind = error.get("code"), error.get("type")
        raise StreamError(
            f"The answer ended with an error: {error.get('message') or msgspec.json.encode(error).decode()}",
            text=self.text,
            code=None if code is None else str(code),
            type=None if kind is None else str(kind),
        )

    def _choice(self, choice: dict[str, Any]) -> list[Delta]:
        delta = _object(choice.get("delta"))
        deltas: list[Delta] = []
        thought, text = _content(delta.get("content") or choice.get("text"))
        thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")) or thought
        if thought:
            self._reasoning.append(thought)
            deltas.append(Reasoning(thought))
        if text:
            self._text.append(text)
            deltas.append(Text(text))
        self.refusal += _text(delta.get("refusal"))
        for piece in _objects(delta.get("tool_calls")):
            merge_tool_call(self.tool_calls, piece)
        if delta.get("tool_calls") or delta.get("refusal"):
            deltas.append(Raw(delta))
        reason = _text(choice.get("finish_reason"))
        if reason == "error":
            self._fail({"error": choice.get("error") or "the provider's finish reason is 'error'"})
        if reason:
            self.finish_reason = reason
            deltas.append(Finish(reason))
        return deltas


# A stream is somebody's JSON: what is not of the type it should be counts as absent.


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _mark(chunk: Mapping[str, Any]) -> str:
    """Return the state that tickertape's own field names, if the chunk has one."""
    return _text(_object(chunk.get("tickertape")).get("state"))


def _content(content: Any) -> tuple[str, str]:
    """Return the thinking and the text in a delta's content: a string, or Mistral's list of typed parts."""
    if isinstance(content, str):
        return "", content
    thought = text = ""
    for part in _objects(content):
        if part.get("type") == "thinking":
            thought += "".join(_content(part.get("thinking")))
        else:
            text += _text(part.get("text"))
    return thought, text
