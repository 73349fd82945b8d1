"""Readers that are tickertape's own client without its sockets: `AnswerMachine`, performed in virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from tickertape.client.answer_machine import AnswerMachine
from tickertape.client.answer_request import KEY, TICKERTAPE_ROUTE, prepare
from tickertape.client.event_machine import Call, Finished, ReadRefusal
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State
from tickertape.errors import AnswerFailed
from tickertape.sse.actions import Connect, Loss, Read, Wait

from .clients import HOST, Question, Reader, Single, text_of
from .network import Request
from .run import Run
from .sockets import open_exchange

if TYPE_CHECKING:
    from random import Random

    from tickertape.client.request import HttpRequest

RETRIES = 8
"""Connections in a row without an event after the first such one: the default of ``ask``."""

RECONNECTION_TIME, MAX_DELAY = 0.5, 10.0
"""Seconds: the policy of ``ask``."""


class MachineReader(Reader):
    """Performs the actions of an AnswerMachine on the simulated network.

    Without ``own_route`` it asks at ``/v1/chat/completions``: what the client takes for anybody's server, to which it
    sends a question again only once the server has proved to be tickertape.
    """

    def __init__(self, run: Run, question: Question, name: str, *, own_route: bool) -> None:
        super().__init__(run, question, name)
        assert question.key is not None
        asked = prepare(
            f"http://{HOST}{TICKERTAPE_ROUTE if own_route else ''}",
            question.name,
            model="simulated",
            api_key="ann",
            attach=None,
            headers={"tickertape-disconnect": question.disconnect} if question.disconnect else None,
            idempotency_key=None,
            read_timeout=None,
            reconnection_time=RECONNECTION_TIME,
            max_retries=RETRIES,
            parameters={},
        )
        asked = msgspec.structs.replace(asked, headers=asked.headers | {KEY: question.key})
        self.own_route = own_route
        self.authorization = asked.auth
        self.transcript = EventTranscript()
        self.machine = AnswerMachine(
            asked, self.transcript, random=self.random.random, on_open=self._opened, on_reconnect=self._waits
        )
        self.refusal = b""
        self.posts = 0
        self.proved = own_route  # the server is known to be tickertape
        self.barren = 0  # connections in a row without an event
        self.cut_at: int | None = None

    def connect(self, cut_at: int | None = None) -> None:
        if not self.done:
            self.cut_at = cut_at
            self._perform()

    def hang_up(self) -> None:
        if self.exchange is not None and not self.exchange.lost:
            self.exchange.cut()
            self.ended(False)

    # --- as the network's caller: reports to the machine

    def answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        if self.done:
            return
        self.log(f"gets status {status}")
        found = {name.decode(): value.decode() for name, value in headers.items()}
        self.machine.receive_head(status, found, self.run.world.now)
        self._perform()

    def received(self, data: bytes) -> None:
        if self.done or self.exchange is None:
            return
        if self.opened is None:
            self.refusal += data
            return
        self.check_silence()
        self.heard = self.run.world.now
        self.machine.receive_data(data)
        self._perform()

    def ended(self, whole: bool) -> None:
        if self.done or self.exchange is None:
            return
        self.exchange, self.opened = None, None
        self.log("is told the end" if whole else "is cut")
        if isinstance(self.machine.next_action(), ReadRefusal):
            self.machine.receive_refusal(self.refusal)
        elif whole:
            self.machine.receive_eof(self.run.world.now)
        else:
            self.machine.connection_lost(Loss.BROKEN, "", self.run.world.now)
        self._perform()

    def _opened(self, _headers: object) -> None:
        assert self.exchange is not None
        self.opened = self.heard = self.run.world.now
        self.stream = (self.machine.location or "").rpartition("/")[2]
        self.run.began(self.question, self.stream, self.exchange.server.epoch)

    # --- what the machine wants

    def _perform(self) -> None:
        while self.machine.next_delta() is not None:
            pass
        self._check_events()
        match self.machine.next_action():
            case Read() | ReadRefusal():
                pass  # the network sends by itself
            case Connect() as connect:
                self._send(connect)
            case Wait(seconds=seconds):
                self._drop()
                self.run.world.later(seconds, self.run.world.outside, self._waited)
            case Call(request=request):
                self._call(request)
            case Finished(error=error):
                self._finished(error)

    def _check_events(self) -> None:
        for event in self.transcript.events[len(self.frames) :]:
            self.barren = 0
            self.run.events += 1
            self.frames.append(event.id.encode())
            if event.id != f"{self.stream}.{len(self.frames)}":
                self.run.blame("TT-1", self, f"event {len(self.frames)} was due, {event.id[-8:]!r} was taken")

    def _send(self, connect: Connect) -> None:
        self._drop()
        self.barren += 1
        server = self.run.some_server(self.random)
        if server is None:
            self.machine.connection_lost(Loss.UNREACHABLE, "", self.run.world.now)
            self._perform()
            return
        self.connections += 1
        self.posts += connect.method == "POST"
        if self.posts > 1 and not self.proved:
            self.run.blame("client", self, "sent its POST again to a server that may answer it twice")
        if connect.last_event_id != (self.frames[-1] if self.frames else b""):
            self.run.blame("TT-7", self, f"names {connect.last_event_id!r} after event {len(self.frames)}")
        self.log(f"{connect.method} at {server.name}, last event {connect.last_event_id[-5:]!r}")
        request = network_request(self.machine.request(connect, self.authorization))
        self.refusal = b""
        self.exchange = open_exchange(self.run.world, server, request, self, cut_at=self.cut_at)
        self.cut_at = None

    def _waits(self, wait: Wait) -> None:
        if not 0 <= wait.seconds <= max(MAX_DELAY, self.machine.reconnection_time):
            self.run.blame("client", self, f"waits {wait.seconds:.1f} s")
        self.log(f"waits {wait.seconds:.3f} s")

    def _waited(self) -> None:
        if not self.done:
            self.machine.waited()
            self._perform()

    def _call(self, request: HttpRequest) -> None:
        server = self.run.some_server(self.random)
        if server is None:
            self._replied(0, b"")
        else:
            self.log(f"asks {server.name} whether it is tickertape")
            Single(self.run, server, network_request(request), self._replied)

    def _replied(self, status: int, body: bytes) -> None:
        if self.done:
            return
        self.proved = status == 404
        self.run.done["client probes"] += self.proved
        self.machine.receive_reply((status, body) if status else None)
        self._perform()

    def _finished(self, error: Exception | None) -> None:
        state = self.transcript.state
        if (error is None) != (state in (State.COMPLETED, State.CANCELLED)):
            self.run.blame("TT-3", self, f"is {state.value}, and raised {error!r}")
        if error is None or isinstance(error, AnswerFailed) or self.transcript.done:
            self.end = state.value
            self.log(f"ends as {state.value} after event {len(self.frames)}")
        else:
            self.log(f"gives up: {error}")
            self._check_patience(error)
        self.leave()

    def _check_patience(self, error: Exception) -> None:
        """Blame a client that gives up a stream, or a question that it may repeat, before its retries are spent."""
        if self.barren > RETRIES or self.run.is_forgotten(self.stream):
            return
        if self.stream or (self.proved and self.connections and getattr(error, "status", None) is None):
            self.run.blame("client", self, f"gave up after {self.barren} connections without an event: {error}")

    def _drop(self) -> None:
        if self.exchange is not None:
            self.exchange.cut()
            self.exchange, self.opened = None, None


def network_request(request: HttpRequest) -> Request:
    """Return a client's request as the simulated network takes it."""
    headers = {"host": HOST} | request.headers
    return Request(request.method, urlsplit(request.url).path, headers, request.body or b"")


def finish_reason_of(frames: list[bytes]) -> str | None:
    """Return the finish reason that these frames say."""
    said = None
    for frame in frames:
        for line in frame.split(b"\n"):
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:]).get("choices", ()):
                    said = choice.get("finish_reason") or said
    return said


class ClientRun(Run):
    """A run in which the questions are asked by tickertape's own client."""

    def _do_ask(self, random: Random, number: int) -> bool:
        own_route = random.random() < 0.7
        disconnect = random.choice((None, "continue", "continue", "cancel"))
        question = Question(f"q{number}", self.world.now, f"key {number}", disconnect)
        self.questions.append(question)
        for turn in range(random.choice((1, 1, 2))):
            reader = MachineReader(self, question, f"c{number}.{turn}", own_route=own_route)
            cut_at = random.randrange(1500) if random.random() < 0.5 else None
            self.world.later(0.1 * turn, self.world.outside, lambda one=reader, at=cut_at: one.connect(at))
            if random.random() < 0.2:  # before the head of the answer comes, mostly
                self.world.later(0.1 * turn + random.random() * 0.05, self.world.outside, reader.hang_up)
        return True

    def _do_power_cut(self, random: Random, number: int) -> bool:
        """Leave out the cuts that take something from the log: what they allow is held against the other readers."""
        return self.plan.synchronous == "FULL" and super()._do_power_cut(random, number)

    def _judge_stream(self, stream: str, reader: Reader) -> None:
        super()._judge_stream(stream, reader)
        text, reason = text_of(reader.frames), finish_reason_of(reader.frames)
        for other in self.asked[stream].readers:
            if not isinstance(other, MachineReader) or other.stream != stream or other.end is None:
                continue
            said = other.transcript
            if other.end != reader.end and not (self.troubles and {other.end, reader.end} == {"failed", "lost"}):
                self.blame("TT-3", other, f"is {other.end}, the log says {reader.end}")
            if said.text != text:
                self.blame("TT-1", other, f"has {len(said.text)} characters, the log has {len(text)}")
            if other.end == "completed" and said.finish_reason != reason:
                self.blame("TT-3", other, f"finished with {said.finish_reason}, the log says {reason}")
            self.done["client answers"] += 1
            self.done["client reconnects"] += other.connections - 1
