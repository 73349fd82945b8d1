"""Readers that are tickertape's own client without its sockets: they do what `tickertape.ask` does, in virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from tickertape.client.question import KEY, TICKERTAPE_ROUTE, prepare, stream_id
from tickertape.client.request import Request as ClientRequest
from tickertape.client.request import failed
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State
from tickertape.errors import IncompleteStream, StreamError
from tickertape.sse.actions import Connect, Loss, Read, Stop, Wait
from tickertape.sse.reconnect import Reconnector

from .clients import HOST, Question, Reader, text_of
from .network import Exchange, Request
from .run import Run

if TYPE_CHECKING:
    from random import Random

RETRIES = 8
"""Connections in a row without an event after the first such one: the default of ``ask``."""

RECONNECTION_TIME, MAX_DELAY = 0.5, 10.0
"""Seconds: the policy of ``ask``."""


class MachineReader(Reader):
    """Performs the actions of a Reconnector on the simulated network, and gives its events to an EventTranscript."""

    def __init__(self, run: Run, question: Question, name: str, *, repeat: bool) -> None:
        super().__init__(run, question, name)
        asked = prepare(
            f"http://{HOST}{TICKERTAPE_ROUTE}",
            question.name,
            model="simulated",
            api_key="ann",
            attach=None,
            headers={"tickertape-disconnect": question.disconnect} if question.disconnect else None,
            idempotency_key=question.key or "none",
            read_timeout=None,
            reconnection_time=RECONNECTION_TIME,
            max_retries=RETRIES,
            parameters={},
        )
        headers = asked.headers if question.key else {k: v for k, v in asked.headers.items() if k != KEY}
        self.repeat = repeat
        self.policy = msgspec.structs.replace(asked.policy, repost=repeat)
        self.authorization = asked.auth
        self.asking = ClientRequest(json=asked.json, headers=headers)
        self.machine = Reconnector(asked.url, method="POST", policy=self.policy, random=self.random.random)
        self.transcript = EventTranscript()
        self.error: StreamError | IncompleteStream | None = None
        self.posts = 0
        self.barren = 0  # connections in a row without an event
        self.cut_at: int | None = None

    def connect(self, cut_at: int | None = None) -> None:
        if not self.done:
            self.cut_at = cut_at
            self._perform(self.machine.connect())

    def hang_up(self) -> None:
        if self.exchange is not None and not self.exchange.lost:
            self.exchange.cut()
            self.ended(False)

    def answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        if self.done:
            return
        assert self.exchange is not None
        self.log(f"gets status {status}")
        found = {name.decode().lower(): value.decode() for name, value in headers.items()}
        action = self.machine.answered(status, found, self.run.world.now)
        if isinstance(action, Read):
            if self.stream:
                self.transcript.reconnected(self.machine.last_event_id)
            self.opened = self.heard = self.run.world.now
            self.stream = stream_id(self.machine.location) or ""
            self.run.began(self.question, self.stream, self.exchange.server.epoch)
            return
        self.exchange.cut()
        self.exchange = None
        self._perform(action)

    def received(self, data: bytes) -> None:
        if self.done or self.opened is None:
            return
        self.check_silence()
        self.heard = self.run.world.now
        for event in self.machine.feed(data):
            before = len(self.transcript.events)
            try:
                self.transcript.take(event)
            except (StreamError, IncompleteStream) as error:
                self.error = error
            if len(self.transcript.events) > before:
                self.barren = 0
                self.run.events += 1
                self.frames.append(event.id.encode())
                if event.id != f"{self.stream}.{len(self.frames)}":
                    self.run.blame("TT-1", self, f"event {len(self.frames)} was due, {event.id[-8:]!r} was taken")
            if self.transcript.done or self.error is not None:
                self._finish()
                self.leave()
                return

    def ended(self, whole: bool) -> None:
        if self.done or self.exchange is None:
            return
        self.exchange, self.opened = None, None
        self.log("is told the end" if whole else "is cut")
        self._perform(self.machine.lost(Loss.ENDED if whole else Loss.BROKEN, "", self.run.world.now))

    def _perform(self, action: Connect | Read | Wait | Stop) -> None:
        match action:
            case Connect():
                self._send(action)
            case Wait():
                if not 0 <= action.seconds <= max(MAX_DELAY, self.machine.reconnection_time):
                    self.run.blame("client", self, f"waits {action.seconds:.1f} s")
                self.log(f"waits {action.seconds:.3f} s")
                self.run.world.later(action.seconds, self.run.world.outside, self.connect)
            case Stop():
                self._stopped(action)

    def _send(self, connect: Connect) -> None:
        server = self.run.some_server(self.random)
        if server is None:
            self.barren += 1
            self._perform(self.machine.lost(Loss.UNREACHABLE, "", self.run.world.now))
            return
        self.connections += 1
        self.barren += 1
        self.posts += connect.method == "POST"
        if self.posts > 1 and not self.repeat:
            self.run.blame("client", self, "sent its POST again, without a key")
        if connect.last_event_id != (self.frames[-1] if self.frames else b""):
            self.run.blame("TT-7", self, f"names {connect.last_event_id!r} after event {len(self.frames)}")
        headers = {"host": HOST} | self.asking.headers_for(connect, self.authorization)
        if connect.last_event_id:
            headers["last-event-id"] = connect.last_event_id.decode()
        self.log(f"{connect.method} at {server.name}, last event {connect.last_event_id[-5:]!r}")
        request = Request(connect.method, urlsplit(connect.url).path, headers, self.asking.body_for(connect) or b"")
        self.exchange = Exchange(self.run.world, server, request, self, cut_at=self.cut_at)
        self.cut_at = None

    def _stopped(self, stop: Stop) -> None:
        self.log(f"gives up: {stop.error}")
        self.done = True
        if not self.stream:
            if self.repeat and stop.status is None and self.connections and self.barren <= RETRIES:
                self.run.blame("client", self, f"gave up after {self.barren} connections: {stop.error}")
            return
        if self.barren <= RETRIES and not self.run.is_forgotten(self.stream):
            self.run.blame("client", self, f"gave up after {self.barren} connections without an event: {stop.error}")
        try:
            self.transcript.end(failed(stop) if stop.error else None)
        except IncompleteStream as error:
            self.error = error
        if self.error is None and self.transcript.state is not State.COMPLETED:
            self.run.blame("TT-3", self, f"is {self.transcript.state}, and nothing was raised")

    def _finish(self) -> None:
        state = self.transcript.state
        self.end = state.value
        if (self.error is None) != (state in (State.COMPLETED, State.CANCELLED)):
            self.run.blame("TT-3", self, f"is {state.value}, and raised {self.error!r}")
        self.log(f"ends as {state.value} after event {len(self.frames)}")


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
        key = f"key {number}" if random.random() < 0.8 else None
        question = Question(f"q{number}", self.world.now, key, random.choice((None, "continue", "continue", "cancel")))
        self.questions.append(question)
        for turn in range(random.choice((1, 1, 2)) if key else 1):
            reader = MachineReader(self, question, f"c{number}.{turn}", repeat=key is not None)
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
