"""The value everyone hands around."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of an event stream (WHATWG HTML 9.2.6).

    ``data`` is the text, its lines joined by LF. ``type`` is the event type. ``id`` is the last event ID at
    the moment of dispatch: when an event carries no ``id`` field of its own, that of an earlier one stands.
    ``retry`` is the reconnection time in milliseconds if the event's block carried one.
    """

    # A Struct without gc: 30 ns to make where a tuple subclass takes 75-120 and a frozen dataclass 330.
    data: str
    type: str = "message"
    id: str = ""
    retry: int | None = None
