"""An answer without I/O: how it is asked for, read, resumed, asked for again and cancelled.

It is an `EventMachine` whose events are folded into a transcript. What it adds::

    a connection is lost before the answer began      Call: is this a tickertape server? Then the key of the request is
                                                      honoured, and it is sent again; else the loss is final
    [DONE], and no event that was received with it    Finished, without waiting for the end of the connection
    the stream ends in another way                    Finished, with the error that the transcript makes of it
    the caller cancels                                the request that tells the server, or None: closing tells it

An error wins over ``[DONE]`` where it was received together with it; later bytes are not waited for. It may be in lines
that are no events, as proxies write it into a response that has begun.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tickertape.client.answer_request import cancellation, is_tickertape, probe, repeatable
from tickertape.client.event_machine import Call, EventMachine
from tickertape.client.request import RequestTemplate, connection_failed
from tickertape.deltas import State
from tickertape.errors import AnswerFailed, ConnectionFailed, IncompleteStream, TickertapeError
from tickertape.sse.actions import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickertape.client.answer_request import AnswerRequest
    from tickertape.client.event_machine import Action
    from tickertape.client.request import HttpRequest
    from tickertape.client.transcript import EventTranscript
    from tickertape.deltas import Delta
    from tickertape.sse.actions import Wait
    from tickertape.sse.event import Event

HEAD_TIMEOUT = 2.0
"""Seconds that cancelling waits to learn the name of a stream that is just being opened."""


class AnswerMachine(EventMachine):
    """Decides for one answer, and folds it into ``transcript``.

    Take the answer with `next_delta` in place of `next_event`. ``opened`` says that an answer has begun, ``started``
    that somebody reads it. `cancel` may be called from another thread, like `close`.
    """

    def __init__(
        self,
        asked: AnswerRequest,
        transcript: EventTranscript,
        *,
        random: Callable[[], float],
        on_open: Callable[[Mapping[str, str]], object] | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        template = RequestTemplate(json=asked.json, headers=asked.headers)
        super().__init__(
            asked.url,
            template,
            asked.policy,
            random=random,
            on_open=on_open,
            on_reconnect=on_reconnect,
            keep_ignored=True,
        )
        self.transcript = transcript
        self.started = False
        self.opened = False
        self._asked = asked
        self._deltas: deque[Delta] = deque()
        self._lost: ConnectionFailed | None = None  # why the first connection failed, while a `Call` is out

    @property
    def location(self) -> str | None:
        """Where a tickertape server keeps this answer; None on other servers."""
        return self._asked.url if self._asked.json is None else super().location

    def next_delta(self) -> Delta | None:
        """Return what comes next in the answer; None if the next action has to be performed first."""
        while not self._deltas:
            event = self.next_event()
            if event is None:
                return None
            self._take(event)
        return self._deltas.popleft()

    def next_action(self) -> Action:
        """Return what is to be done now that all deltas are taken."""
        self.started = True
        return super().next_action()

    def receive_reply(self, reply: tuple[int, bytes] | None) -> None:
        """Send the request again if the reply is tickertape's."""
        if self.closed:
            return
        if reply is not None and is_tickertape(*reply):
            self._asked = repeatable(self._asked)
            self._reconnector.policy = self._asked.policy
            self._action = self._reconnector.connect()
        else:
            self._end(self._lost)

    def cancel(self) -> HttpRequest | None:
        """Take note that the caller stops the answer.

        Return the request that tells the server, whose response goes to `receive_cancel_reply`; None if the server
        learns it from the close of the connection.
        """
        self.transcript.stopped()
        location = self.location
        return cancellation(self._asked, location) if location is not None else None

    def receive_cancel_reply(self, status: int, body: bytes) -> None:
        """Take the response to a cancellation. Raises ConnectionFailed if the server did not accept it."""
        if status >= 300:
            raise connection_failed(Stop(f"Cancelling was answered with {status}", status), body)

    # --- decided

    def _take(self, event: Event) -> None:
        """Fold an event, and after [DONE] all others that were received with it: one may be an error."""
        transcript = self.transcript
        try:
            self._deltas += transcript.take(event)
            while transcript.done:
                later = self.next_event()
                if later is None:
                    self._finish(None)
                    return
                self._deltas += transcript.take(later)
        except AnswerFailed as error:
            self._events.clear()
            super()._finish(error)

    def _opened(self, headers: Mapping[str, str]) -> None:
        if self.opened:
            self.transcript.reconnected(self.last_event_id)
        self.opened = True
        super()._opened(headers)

    def _body_ended(self, ignored: list[Event]) -> None:
        for line in ignored:
            self.transcript.take(line)

    def _finish(self, error: TickertapeError | None) -> None:
        if isinstance(error, ConnectionFailed) and not self.opened:
            request = probe(self._asked, error)
            if request is not None:
                self._lost, self._action = error, Call(request)
                return
        self._end(error)

    def _end(self, error: TickertapeError | None) -> None:
        transcript = self.transcript
        if error is None or (isinstance(error, ConnectionFailed) and self.opened):
            try:
                transcript.end(error)
                error = None
            except (IncompleteStream, AnswerFailed) as raised:
                error = raised
        elif transcript.state is State.RUNNING:
            transcript.state = State.FAILED
        super()._finish(error)
