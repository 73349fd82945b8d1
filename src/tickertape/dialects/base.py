"""The contract of a client dialect: one stream, rendered in the words of one kind of client.

A `View` renders one stream for all readers of its dialect. It is fed the entries in order, from the first one on, and
may keep state: the same entries give the same bytes, for every reader, in every process, now and after a restart.

An entry may become several events. Then only the last of them carries the SSE ``id`` (WHATWG HTML 9.2.6: the id of an
event is the last one that was seen), so a connection that is cut inside an entry resumes before that entry, and loses
nothing; who reads such a dialect drops, when it reconnects, what came after the last id. `numbered` writes them so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tickertape.streams.contract import Header, Stream

RETRY = 1000
"""Milliseconds. The reconnection time that rides in the first event: browsers' own default is 3 to 5 s."""


class View(ABC):
    """One stream in one dialect, from its first entry on.

    ``position`` is how many entries it was fed; whoever feeds it keeps it, and feeds nothing else than what follows.
    A ``stateless`` view renders any entries at any time: what it says of one depends on the header and the number only.
    """

    __slots__ = ("position",)

    stateless: ClassVar[bool] = False

    def __init__(self, header: Header) -> None:
        """Encode once what all events of the stream share."""
        self.position = 0

    @abstractmethod
    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events for the entries that follow; the first of them is event number ``first``.

        Empty if they say nothing in this dialect: an ``id`` alone is not sent.
        """

    def skip(self, entries: Sequence[bytes], first: int) -> None:
        """Take note of entries that the reader has already."""
        self.feed(entries, first)


class Dialect(ABC):
    """How one kind of client reads: streams, whole answers and errors.

    ``name`` is what ``?dialect=`` says; ``headers`` go with the head of every stream, beside those of all streams.
    """

    name: ClassVar[str]
    view: ClassVar[type[View]]
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ()

    @abstractmethod
    def answer(self, stream: Stream) -> dict[str, Any]:
        """Return the JSON object of a whole answer, for those who do not want a stream."""

    @abstractmethod
    def error(self, error: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON body of an error; ``error`` is OpenAI's error object: message, type, code, param."""


def event_id(stream_id: str, number: int) -> str:
    """Return the id of an event: opaque to clients, it names the stream and the position."""
    return f"{stream_id}.{number}"


def cursor_position(cursor: str, stream_id: str) -> int | None:
    """Return the event number that a Last-Event-ID names, None if it is not one of this stream's."""
    name, _dot, number = cursor.rpartition(".")
    return int(number) if name == stream_id and number.isascii() and number.isdigit() and len(number) < 16 else None


def numbered(stream_id: str, number: int, events: Iterable[bytes]) -> bytes:
    """Return the events of one entry, the last of them with its id, the stream's first with the reconnection time.

    Each event is its lines with their line ends (``data: …``, ``event: …``), without the blank line.
    """
    *before, last = events
    head = b"retry: %d\n" % RETRY if number == 1 else b""  # with data: a block of its own crashes openai-python
    parts = [b"%b\n" % event for event in before]
    parts.append(b"id: %b.%d\n%b\n" % (stream_id.encode(), number, last))
    return head + b"".join(parts)
