"""Reading an event stream as slowly as WHATWG HTML 9.2.6 puts it: one character after the other, the whole at once.

It shares nothing with the decoder but the result, and is what the decoder is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tickertape.sse import Event


@dataclass
class Outcome:
    """What reading a stream to its end came to."""

    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    retry: int | None = None
    last_event_id: str = ""
    too_large: bool = False


def read(body: bytes, last_event_id: str = "") -> Outcome:
    """Return what the standard says about these bytes."""
    outcome = Outcome(last_event_id=last_event_id)
    data, kind, id_buffer, block_retry = "", "", last_event_id, None
    for line in _lines(body.decode("utf-8", "replace").removeprefix("\ufeff")):
        if line == "":
            outcome.last_event_id = id_buffer
            if data != "":
                text = data[:-1] if data[-1] == "\n" else data
                outcome.events.append(Event(text, kind if kind != "" else "message", id_buffer, block_retry))
            data, kind, block_retry = "", "", None
            continue
        if line[0] == ":":
            outcome.comments.append(line[1:])
            continue
        name, value = _field(line)
        if name == "event":
            kind = value
        elif name == "data":
            data = data + value + "\n"
        elif name == "id":
            if "\0" not in value:
                id_buffer = value
        elif name == "retry" and value != "" and all(digit in "0123456789" for digit in value):
            number = 0
            for digit in value:
                number = min(number * 10 + "0123456789".index(digit), 2**53 - 1)
            outcome.retry = block_retry = number
    return outcome


def _field(line: str) -> tuple[str, str]:
    if ":" not in line:
        return line, ""
    at = line.index(":")
    value = line[at + 1 :]
    if value != "" and value[0] == " ":
        value = value[1:]
    return line[:at], value


def _lines(text: str) -> list[str]:
    """Return the lines that have ended; the unfinished last one is pending data and discarded."""
    lines, line, before = [], "", ""
    for character in text:
        if character == "\n" and before == "\r":
            pass
        elif character in ("\r", "\n"):
            lines.append(line)
            line = ""
        else:
            line += character
        before = character
    return lines
