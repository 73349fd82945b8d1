"""Performs the clients' machines without sockets and without waiting: a server is a function here.

What a machine decides holds for both clients, because they only perform it. So everything that depends on where bytes
are cut is tried here at every byte, and over sockets at a few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tickertape.client.answer_machine import AnswerMachine
from tickertape.client.answer_request import prepare
from tickertape.client.event_machine import Action, Call, EventMachine, Finished, ReadRefusal
from tickertape.client.request import HttpRequest, RequestTemplate
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import Text
from tickertape.sse.actions import Connect, Loss, Policy, Read, Wait

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tickertape.errors import TickertapeError
    from tickertape.sse.event import Event


@dataclass
class Response:
    """A head, the pieces in which the body arrives, and how the connection ends."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    loss: Loss = Loss.ENDED
    content_type: str = "text/event-stream"

    def cut(self, at: int, loss: Loss) -> Response:
        """Return it with a connection that is lost after so many bytes of the body; all of them are not cut."""
        body = b"".join(self.pieces)
        return self if at >= len(body) else Response(self.status, self.headers, [body[:at]], loss)


class Driver:
    """Performs one machine to its end, and keeps what happened."""

    def __init__(self, machine: EventMachine, serve: Callable[[HttpRequest], Response | Loss]) -> None:
        self.machine = machine
        self.requests: list[HttpRequest] = []
        self.actions: list[Action] = []
        self.waits: list[Wait] = []
        self.error: TickertapeError | None = None
        self.now = 1_000_000.0
        self._serve = serve
        self._response = Response()
        self._pieces = iter(())

    def perform(self) -> bool:
        """Perform the next action; return False at the end."""
        machine, action = self.machine, self.machine.next_action()
        self.actions.append(action)
        match action:
            case Connect():
                self._connect(machine.request(action, None))
            case Read():
                data = next(self._pieces, None)
                if data is not None:
                    machine.receive_data(data)
                elif self._response.loss is Loss.ENDED:
                    machine.receive_eof(self.now)
                else:
                    machine.connection_lost(self._response.loss, "", self.now)
            case ReadRefusal():
                machine.receive_refusal(b"".join(self._pieces))
            case Wait():
                self.now += action.seconds
                machine.waited()
            case Call():
                self.requests.append(action.request)
                reply = self._serve(action.request)
                machine.receive_reply(None if isinstance(reply, Loss) else (reply.status, b"".join(reply.pieces)))
            case Finished():
                self.error = action.error
                machine.close()
                return False
        return True

    def _connect(self, request: HttpRequest) -> None:
        self.requests.append(request)
        response = self._serve(request)
        if isinstance(response, Loss):
            self.machine.connection_lost(response, "", self.now)
            return
        self._response, self._pieces = response, iter(response.pieces)
        headers = {"Content-Type": response.content_type} | response.headers
        self.machine.receive_head(response.status, headers, self.now)


class SourceDriver(Driver):
    """Reads an event source to its end."""

    def __init__(
        self,
        serve: Callable[[HttpRequest], Response | Loss],
        *,
        url: str = "http://host/",
        template: RequestTemplate | None = None,
        policy: Policy | None = None,
        **options: Any,
    ) -> None:
        self.events: list[Event] = []
        machine = EventMachine(
            url,
            template or RequestTemplate(),
            policy or Policy(),
            random=lambda: 0.5,
            on_reconnect=lambda wait: self.waits.append(wait),
            **options,
        )
        super().__init__(machine, serve)

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]

    def run(self, *, limit: int | None = None) -> SourceDriver:
        """Read to the end, or until so many events are there."""
        while len(self.events) != limit:
            event = self.machine.next_event()
            if event is not None:
                self.events.append(event)
            elif not self.perform():
                break
        return self


class AnswerDriver(Driver):
    """Reads an answer to its end."""

    def __init__(
        self,
        serve: Callable[[HttpRequest], Response | Loss],
        url: str = "http://host/api/openai/stream",
        messages: str | None = "hi",
        **options: Any,
    ) -> None:
        given: dict[str, Any] = dict.fromkeys(
            ("model", "api_key", "attach", "headers", "idempotency_key", "read_timeout")
        )
        given |= {"reconnection_time": 0.5, "max_retries": 8, "parameters": {}}
        self.transcript = EventTranscript()
        self.pieces: list[str] = []
        self.machine: AnswerMachine
        machine = AnswerMachine(
            prepare(url, messages, **(given | options)),
            self.transcript,
            random=lambda: 0.5,
            on_reconnect=lambda wait: self.waits.append(wait),
        )
        super().__init__(machine, serve)

    def run(self) -> AnswerDriver:
        """Read to the end."""
        while True:
            delta = self.machine.next_delta()
            if delta is None:
                if not self.perform():
                    return self
            elif isinstance(delta, Text):
                self.pieces.append(delta.text)
