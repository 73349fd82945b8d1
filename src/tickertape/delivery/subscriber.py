"""Who reads: a cursor on a stream, and a way for its bytes. What that way is, others say (`tickertape.asgi`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tickertape.dialects.base import View
    from tickertape.streams.contract import Stream


class SubscriberChannel(Protocol):
    """What a subscriber knows of the channel that it is in."""

    def mark(self) -> None:
        """Have the next flush look at the stream."""

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""


class Subscriber(ABC):
    """One reader of one stream, from after event number ``index`` on, rendered by views of ``view_type``.

    It writes nothing before `Fanout.attach`, which gives it its ``channel``. ``since`` is the loop time at which it was
    last written to, ``place`` the place in the line that it was sent last, ``view`` what renders for it. While it is
    not ``open`` it takes nothing; once it does again, it marks its channel.
    """

    __slots__ = ("channel", "index", "open", "place", "since", "stream", "view", "view_type")

    channel: SubscriberChannel
    view: View

    def __init__(self, stream: Stream, index: int, view_type: type[View]) -> None:
        self.stream = stream
        self.index = index
        self.view_type = view_type
        self.since = 0.0
        self.place = 0
        self.open = True

    @staticmethod
    @abstractmethod
    def frame(body: bytes, last: bool) -> bytes:
        """Return the bytes as they are to be written: the same for all subscribers of this kind."""

    @abstractmethod
    def write(self, framed: bytes, last: bool) -> None:
        """Write at once; ``last`` ends the response. Only for one that is open."""

    @abstractmethod
    def cut(self, reason: str) -> None:
        """Leave the channel with the response unfinished: a proper end would look like a whole answer."""
