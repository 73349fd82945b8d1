"""Clients as SPEC.md has them: they ask, are cut, come back with their cursor at any process, and trust nothing.

They know nothing of tickertape's own decoder. Whatever they get is held at once against what everybody else got.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .network import Request
from .sockets import open_exchange

if TYPE_CHECKING:
    from random import Random

    from .network import Exchange
    from .run import Run
    from .server import Server

HOST = "127.0.0.1:8000"
HEARTBEAT = 3.0
"""Seconds: the setting of the simulated servers."""


ENDS = ("failed", "incomplete", "lost")
"""The codes that an error has when it is the end of an answer, and no refusal."""


class Question:
    """What was asked, and all that is known of its answers. ``stops`` says when a stop was asked for and granted."""

    def __init__(self, name: str, asked_at: float, key: str | None, disconnect: str | None) -> None:
        self.name, self.asked_at, self.key, self.disconnect = name, asked_at, key, disconnect
        self.streams: list[str] = []
        self.readers: list[Reader] = []
        self.stops: list[tuple[float, float]] = []
        self.stop_asked = False
        self.padding = 0  # bytes of white space that make its request larger
        self.read_at = 0.0  # when anybody last read it, as far as it was looked at

    @property
    def request(self) -> Request:
        """The POST that asks it."""
        headers = {"host": HOST, "authorization": "Bearer ann", "content-type": "application/json"}
        if self.key:
            headers["idempotency-key"] = self.key
        if self.disconnect:
            headers["tickertape-disconnect"] = self.disconnect
        body = {"model": "simulated", "messages": [{"role": "user", "content": self.name}]}
        return Request("POST", "/api/openai/stream", headers, json.dumps(body).encode() + b" " * self.padding)


def end_of(frames: list[bytes]) -> str | None:
    """Return how the last of these frames says that the answer ended, None if it is no terminal event."""
    data = [line[6:] for line in frames[-1].split(b"\n") if line.startswith(b"data: ")]
    if data == [b"[DONE]"]:
        return "cancelled" if b'"tickertape":{"state":"cancelled"}' in frames[-2] else "completed"
    value = json.loads(b"".join(data))
    return str(value["tickertape"]["state"]) if "error" in value else None


def text_of(frames: list[bytes]) -> str:
    """Return the answer's text in these frames."""
    text = ""
    for frame in frames:
        for line in frame.split(b"\n"):
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:]).get("choices", ()):
                    text += choice["delta"].get("content") or ""
    return text


class Reader:
    """One reader of one answer, over all its connections.

    It reads to the end, or leaves after ``leaves_after`` events. ``done`` says that nothing more is to come, ``end``
    which of the five ends it saw.
    """

    def __init__(self, run: Run, question: Question, name: str, *, stream: str = "") -> None:
        self.run, self.question, self.name, self.stream = run, question, name, stream
        self.random: Random = run.world.randomness(f"reader {name}")
        self.frames: list[bytes] = []
        self.end: str | None = None
        self.done = False
        self.epoch = run.last_epoch(stream)  # of the process that said last that its frames are the stream's
        self.resets: list[int] = []  # cursors that were refused after a power cut
        self.overtaken = False  # by an end that stands, after a power cut, where its last event stood
        self.leaves_after: int | None = None
        self.connections = 0
        self.exchange: Exchange | None = None
        self.opened: float | None = None  # when this connection's head came
        self.heard = 0.0  # when its last byte came, or it connected
        self._tail = b""
        self._cursor = 0
        question.readers.append(self)
        run.readers.append(self)

    @property
    def server(self) -> Server | None:
        """The process that it is connected to."""
        return self.exchange.server if self.exchange is not None and self.opened is not None else None

    def connect(self, cut_at: int | None = None, at: Server | None = None) -> None:
        """Ask for the stream, or for what comes after the last event of it that came; of any process, or ``at`` one."""
        if self.done:
            return
        server = at or self.run.some_server(self.random)
        if server is None or self.connections > 200:
            self._again(0.5)
            return
        self.connections += 1
        self._tail, self._cursor, self.opened = b"", len(self.frames), None
        self.heard = self.run.world.now
        if self.stream:
            headers = {"host": HOST, "authorization": "Bearer ann"}
            if self.frames:
                headers["last-event-id"] = f"{self.stream}.{len(self.frames)}"
            request = Request("GET", f"/v1/streams/{self.stream}", headers)
        else:
            request = self.question.request
        self.log(f"{request.method} at {server.name}, cursor {self._cursor}")
        self.exchange = open_exchange(self.run.world, server, request, self, cut_at=cut_at)

    def hang_up(self) -> None:
        """Lose the connection; come back if the answer is known."""
        if self.exchange is not None and not self.exchange.lost:
            self.exchange.cut()
            self.ended(False)

    def leave(self) -> None:
        """Read no more, ever."""
        self.done = True
        if self.exchange is not None:
            self.exchange.cut()
            self.opened = None

    def log(self, what: str) -> None:
        """Write to the trace."""
        self.run.world.log(self.name, what)

    # --- as the network's caller

    def answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        if self.done:
            return
        now = self.run.world.now
        self.log(f"gets status {status}")
        assert self.exchange is not None
        epoch = self.exchange.server.epoch
        power_cut = epoch > self.epoch  # since it was last told something
        if status == 200:
            self.opened = self.heard = now
            stream = headers.get(b"location", b"").decode().rpartition("/")[2]
            if not self.stream:
                self.stream = stream
                self.epoch = epoch
                self.run.began(self.question, stream, epoch)
            if b"tickertape-cursor" in headers and self._cursor and power_cut:
                self.log(f"begins anew, its cursor {self._cursor} is lost")
                self.resets.append(self._cursor)
                self.frames, self._cursor, self.epoch = [], 0, epoch
            elif b"tickertape-cursor" in headers and self._cursor:
                self.run.blame("TT-7", self, f"its cursor {self._cursor} was refused, though the event was delivered")
                self.leave()
        elif status == 204:
            if self.end is None and power_cut:
                self.overtaken = True
            elif self.end is None:
                self.run.blame("TT-3", self, "was told that nothing comes, and has no end")
            self.done = True
        elif status == 404:
            if power_cut:
                self.run.vanished.add(self.stream)
            elif not self.run.is_forgotten(self.stream):
                self.run.blame("TT-2", self, "was shown a stream that nobody knows any more")
            self.leave()

    def received(self, data: bytes) -> None:
        now = self.run.world.now
        if self.opened is None or self.done:
            self._tail += data  # of a refusal: the body says why
            return
        self.check_silence()
        self.heard = now
        before = len(self.frames)
        *frames, self._tail = (self._tail + data).split(b"\n\n")
        for frame in frames:
            self._take(b"\n".join(line for line in frame.split(b"\n") if not line.startswith(b":")))
            if self.done:
                return
        if len(self.frames) > before:
            end = f", the end: {self.end}" if self.end else ""
            self.log(f"gets {before + 1} to {len(self.frames)} of {self.question.name}{end}")
        if self.leaves_after is not None and len(self.frames) >= self.leaves_after:
            self.log("leaves")
            self.leave()

    def ended(self, whole: bool) -> None:
        if self.done:
            return
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        opened, self.opened = self.opened, None
        self.log("is told the end" if whole else "is cut")
        if self.end is not None:
            self.done = True
        elif opened is not None and whole:
            self.run.blame("TT-3", self, f"a response ended properly after event {len(self.frames)}, without an end")
            self.leave()
        elif whole and not self.stream and not self._refused(exchange.status):
            self.done = True  # the answer has failed at once, and its error is the response
        elif self.stream or self.question.key or (whole and self._refused(exchange.status)):
            self._again(self.random.choice((0.02, 0.1, 1.0)))
        else:
            self.done = True  # who asks without a key cannot know whether there is an answer

    def _refused(self, status: int) -> bool:
        """Whether it was told to come again: there is no answer yet."""
        return status in (429, 503) and json.loads(self._tail)["error"]["code"] not in ENDS

    def _again(self, seconds: float) -> None:
        self.run.world.later(seconds, self.run.world.outside, self.connect)

    def _take(self, frame: bytes) -> None:
        number = len(self.frames) + 1
        self.run.events += 1
        if f"id: {self.stream}.{number}".encode() not in frame.split(b"\n"):
            self.run.blame("TT-1", self, f"event {number} was due, {frame[:60]!r} came")
            self.leave()
            return
        if self.end is not None:
            self.run.blame("TT-3", self, f"{frame[:60]!r} came after the end")
        assert self.exchange is not None
        self.epoch = self.exchange.server.epoch
        known = self.run.epochs[self.epoch].setdefault(self.stream, [])
        known += self.frames[len(known) :]  # from before a power cut: it goes on after them
        if len(known) < number:
            known.append(frame)
        elif known[number - 1] != frame and not self._excused(known[number - 1], frame):
            self.run.blame("TT-1", self, f"event {number} is {frame[-80:]!r}, others got {known[number - 1][-80:]!r}")
        self._compare(number, frame)
        self.frames.append(frame)
        self.end = end_of(self.frames)
        if self.end == "cancelled":
            self.run.check_unread(self)

    def _compare(self, number: int, frame: bytes) -> None:
        """Hold an event against what was read before and after power cuts: all that they add is the end *lost*."""
        for epoch, shown in enumerate(self.run.epochs):
            others = shown.get(self.stream, [])
            if epoch != self.epoch and len(others) >= number and others[number - 1] != frame:
                later = frame if epoch < self.epoch else others[number - 1]
                if b'"state":"lost"' not in later:
                    self.run.blame("TT-1", self, f"event {number} is {frame[-80:]!r} on one side of a power cut only")

    def _excused(self, known: bytes, frame: bytes) -> bool:
        """Whether this end may be another one than somebody else was told.

        It may when the stream was forgotten before its end was seen here, and when it is one of the exception in TT-2:
        with a disk that cannot be written, readers are told that the answer failed; if its process dies before there
        is room again, it is lost.
        """
        ends = {state for state in ENDS for one in (known, frame) if b'"state":"%b"' % state.encode() in one}
        if ends == {"failed", "lost"} and self.run.troubles:
            return any(server.died or server.frozen for server in self.run.servers)
        return "lost" in ends and self.run.is_forgotten(self.stream)

    def check_silence(self) -> None:
        """See that silence is bridged (TT-9), from the moment on in which it connected."""
        now, exchange = self.run.world.now, self.exchange
        if exchange is None or exchange.stalled_until > self.heard:
            return
        if now - self.heard > HEARTBEAT + 2.5 and self.run.healthy(exchange.server, self.heard - 1, now):
            self.run.blame("TT-9", self, f"{now - self.heard:.1f} s of silence")


class Single:
    """A request with a short answer: a stop, or a stranger's try. ``then`` gets the status and the body."""

    def __init__(self, run: Run, server: Server, request: Request, then: object) -> None:
        self._then, self._status, self._body = then, 0, b""
        open_exchange(run.world, server, request, self)

    def answered(self, status: int, headers: dict[bytes, bytes]) -> None:
        self._status = status

    def received(self, data: bytes) -> None:
        self._body += data

    def ended(self, whole: bool) -> None:
        self._then(self._status if whole else 0, self._body)
