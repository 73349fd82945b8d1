"""An event source without I/O: what to send, when to read, wait and stop, and the events that were received.

`tickertape.sse.reconnect` decides about connections; this machine adds all that a caller sees of a source: its request,
its events, its callbacks and its error. The blocking and the asyncio client are shells that perform its actions::

    while (event := machine.next_event()) is None:
        match machine.next_action():                    perform it, then report with
            case Connect() as connect:                    receive_head, or connection_lost
                request = machine.request(connect, …)
            case Read():                                  receive_data, receive_eof, or connection_lost
            case ReadRefusal():                           receive_refusal
            case Wait():                                  waited
            case Call():                                  receive_reply       (only an AnswerMachine calls)
            case Finished():                              close, then raise its error or end the iteration

Threads: one thread takes, performs and reports; any thread may call `close`. From then on there is no event, every
report is ignored, and the next action is `Finished`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from tickertape.client.request import HttpRequest, connection_failed, log_reconnect
from tickertape.errors import EventTooLarge, TickertapeError
from tickertape.sse.actions import Connect, Loss, Read, ReadyState, Stop, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE
from tickertape.sse.reconnect import Reconnector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickertape.client.request import RequestTemplate
    from tickertape.sse.actions import Policy
    from tickertape.sse.event import Event


CALL_TIMEOUT = 10.0
"""Seconds that a server may take to answer a request of its own: a `Call`, or a cancellation."""


class ReadRefusal(msgspec.Struct, frozen=True):
    """Read up to `EXCERPT` bytes of the body, for `EXCERPT_TIMEOUT` seconds at most; then call `receive_refusal`."""


class Call(msgspec.Struct, frozen=True):
    """Send this request over another connection and read the whole response; then call `receive_reply`."""

    request: HttpRequest


class Finished(msgspec.Struct, frozen=True):
    """It is over. Close the connection and raise the error, if there is one."""

    error: TickertapeError | None = None


Action = Connect | Read | ReadRefusal | Wait | Call | Finished


class EventMachine:
    """Decides for one event source; the module says how to drive it.

    ``last_event_id`` is the ID of the last event taken. ``on_open`` gets the headers of each response that opens the
    stream, ``on_comment`` each comment, ``on_reconnect`` each `Wait`. What a callback raises comes out of the report
    that led to it.
    """

    def __init__(
        self,
        url: str,
        template: RequestTemplate,
        policy: Policy,
        *,
        random: Callable[[], float],
        last_event_id: str = "",
        max_event_size: int = MAX_EVENT_SIZE,
        on_open: Callable[[Mapping[str, str]], object] | None = None,
        on_comment: Callable[[str], object] | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
        keep_ignored: bool = False,
    ) -> None:
        self.policy = policy
        self.last_event_id = last_event_id
        self.closed = False
        self._template = template
        self._reconnector = Reconnector(
            url,
            method=template.method,
            policy=policy,
            last_event_id=last_event_id,
            on_comment=on_comment,
            max_event_size=max_event_size,
            random=random,
            keep_ignored=keep_ignored,
        )
        self._on_open = on_open
        self._on_reconnect = on_reconnect or log_reconnect
        self._events: deque[Event] = deque()
        self._refused = Stop()
        self._action: Action = self._reconnector.connect()

    @property
    def state(self) -> ReadyState:
        """Where the source stands now."""
        return ReadyState.CLOSED if self.closed else self._reconnector.state

    @property
    def location(self) -> str | None:
        """The URL that the server gave the stream in its response to a POST; None if it gave none."""
        return self._reconnector.location

    @property
    def reconnection_time(self) -> float:
        """Seconds between connections: the policy's, until the stream says otherwise."""
        return self._reconnector.reconnection_time

    # --- taken and performed

    def next_event(self) -> Event | None:
        """Return the next event that was received; None if the next action has to be performed first."""
        if self.closed or not self._events:
            return None
        event = self._events.popleft()
        self.last_event_id = event.id
        return event

    def next_action(self) -> Action:
        """Return what is to be done now that all events are taken."""
        if self.closed and not isinstance(self._action, Finished):
            self._finish(None)
        return self._action

    def request(self, connect: Connect, authorization: str | None) -> HttpRequest:
        """Return the request to send for a `Connect`. ``authorization`` is the caller's value for this connection."""
        self.last_event_id = self._reconnector.last_event_id  # an ID without an event counts, once all before is taken
        return self._template.render(connect, authorization)

    def close(self) -> None:
        """Take note that the caller wants nothing more."""
        self.closed = True

    # --- reported

    def receive_head(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """Take the status and the headers of the response to a `Connect`. ``now`` is in seconds since 1970."""
        if self.closed:
            return
        found = {name.lower(): value for name, value in headers.items()}
        action = self._reconnector.answered(status, found, now)
        if isinstance(action, Read):
            self._opened(found)
        if isinstance(action, Stop) and action.error is not None:
            self._refused, self._action = action, ReadRefusal()
        else:
            self._follow(action)

    def receive_data(self, data: bytes) -> None:
        """Take some bytes of the body."""
        if self.closed:
            return
        try:
            self._events += self._reconnector.feed(data)
        except EventTooLarge as error:
            self._finish(error)

    def receive_eof(self, now: float) -> None:
        """Take the end of the body, where HTTP says that it ends."""
        self.connection_lost(Loss.ENDED, "", now)

    def connection_lost(self, loss: Loss, detail: str, now: float) -> None:
        """Take the failure to make a connection, or its loss; ``detail`` is the reason in the HTTP library's words."""
        if self.closed:
            return
        try:
            self._body_ended(self._reconnector.end_body())
        except EventTooLarge as error:
            self._finish(error)
        else:
            self._follow(self._reconnector.lost(loss, detail, now))

    def receive_refusal(self, body: bytes) -> None:
        """Take the beginning of a refusal's body, empty if it could not be read."""
        self._finish(connection_failed(self._refused, body))

    def receive_reply(self, reply: tuple[int, bytes] | None) -> None:
        """Take the status and the body of the response to a `Call`, None if there was none."""

    def waited(self) -> None:
        """Take note that the time of a `Wait` is over."""
        if not self.closed:
            self._follow(self._reconnector.connect())

    # --- decided

    def _opened(self, headers: Mapping[str, str]) -> None:
        if self._on_open is not None:
            self._on_open(headers)

    def _body_ended(self, ignored: list[Event]) -> None:
        """Take the lines at the end of a body that are no event; here they are not kept."""

    def _follow(self, action: Connect | Read | Wait | Stop) -> None:
        if isinstance(action, Stop):
            self._finish(connection_failed(action) if action.error is not None else None)
            return
        self._action = action
        if isinstance(action, Wait):
            self._on_reconnect(action)

    def _finish(self, error: TickertapeError | None) -> None:
        self._action = Finished(error)
