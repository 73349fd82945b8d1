"""Events to bytes; what cannot be said truthfully is refused.

An event stream has no escapes. A CR in the data would arrive as LF, a LF in an id would start another field,
a NUL makes the reader drop the id (WHATWG HTML 9.2.6). Instead of repairing, which changes what was said,
`encode` raises before the first byte. Whatever it returns decodes to an equal event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.sse.event import Event

MAX_RETRY = 2**53 - 1
"""Milliseconds. The largest integer that every reader, JavaScript's included, holds exactly."""


def encode(event: Event) -> bytes:
    """Return the event's bytes, ending in the empty line that dispatches it.

    Raises ValueError for what a reader could not get back: CR in the data; CR, LF or NUL in the id; CR or LF
    in the type, or an empty type; a retry that is not a whole number of 0 to 2**53 - 1 milliseconds; lone
    surrogates anywhere. Raises TypeError for data, a type or an id that is no str.
    """
    data, kind, last_id = event.data, event.type, event.id
    if not (isinstance(data, str) and isinstance(kind, str) and isinstance(last_id, str)):
        raise TypeError(_no_str(data, kind, last_id))
    head = ""
    if last_id:
        if "\n" in last_id or "\r" in last_id or "\0" in last_id:
            raise ValueError(f"An event id cannot hold CR, LF or NUL; it was {last_id!r}.")
        head = "id: " + last_id + "\n"  # added, not formatted: a str enum formats as its name
    if kind != "message":
        if not kind or "\n" in kind or "\r" in kind:
            raise ValueError(f"An event type must not be empty or hold CR or LF; it was {kind!r}.")
        head += "event: " + kind + "\n"
    if event.retry is not None:
        if type(event.retry) is not int or not 0 <= event.retry <= MAX_RETRY:
            raise ValueError(f"retry must be a whole number of 0 to 2**53 - 1 ms; it was {event.retry!r}.")
        head += f"retry: {event.retry}\n"
    if "\r" in data:
        raise ValueError("Event data cannot hold CR: a reader would get LF in its place. Encode it, as JSON does.")
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    return (head + "data: " + data + "\n\n").encode()  # lone surrogates: UnicodeEncodeError, a ValueError


def _no_str(*values: object) -> str:
    kinds = ", ".join(type(value).__name__ for value in values)
    return f"An event's data, type and id must be str; they were {kinds}. Encode the data first, as JSON for example."


def encode_comment(text: str = "") -> bytes:
    """Return a comment, one line that readers ignore; it keeps an idle connection open.

    It ends in a single LF and belongs between events. A blank line after it would dispatch an empty block,
    on which several clients crash. Raises ValueError if the text holds CR, LF or lone surrogates.
    """
    if "\n" in text or "\r" in text:
        raise ValueError(f"A comment is one line and cannot hold CR or LF; it was {text!r}.")
    return f": {text}\n".encode() if text else b":\n"
