"""One run: the plan is carried out, and SPEC.md's promises are held against everything that anybody saw."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from tickertape.server.settings import Settings

from . import seams
from .clients import HEARTBEAT, HOST, Question, Reader, Single, end_of, text_of
from .network import Request
from .plan import LONG, Action, Plan
from .server import Server
from .sockets import HttpExchange
from .upstream import LONG_ANSWER, piece
from .world import PREFIX, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from .network import Exchange
    from .upstream import Call

NOTICED = 10.0
"""Seconds after which a dead producer's readers know (TT-4)."""

SLACK = 1.0
"""Seconds on top for the network and for threads that are held."""

STOPPED = 3.0
"""Seconds in which a stop reaches the upstream, in whatever process it is asked for."""

UNREAD = 7.0
"""Seconds after its grace in which an answer that nobody reads is ended; a reader elsewhere counts until then."""

CLOSING = 2.0
"""Seconds after the grace that connections get which do not take what was sent to them."""

ANSWERED = 5.0
"""Seconds in which a request is answered that comes second on its connection."""

ABANDONED = 15.0
"""Seconds for which an answer goes on unread: the default of the setting ``disconnect``."""


class Violation(NamedTuple):
    """A promise that was broken, by what."""

    promise: str
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


class Result(NamedTuple):
    """What came of a run. ``done`` counts what was carried out of the plan, ``ends`` how the answers ended."""

    plan: Plan
    violations: list[Violation]
    trace: list[str]
    seconds: float
    events: int
    done: Counter[str]
    ends: Counter[str]

    @property
    def digest(self) -> str:
        """A digest of all that happened: the same plan has the same one."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def simulate(plan: Plan) -> Result:
    """Carry out a plan."""
    return Run(plan).go()


def shrunk(result: Result) -> Result:
    """Return a run that breaks the same promise with as little as possible happening in it."""
    promise = result.violations[0].promise
    size = len(result.plan.actions) // 2
    while size:
        smaller = False
        for at in range(0, len(result.plan.actions), size):
            left_out = {action.number for action in result.plan.actions[at : at + size]}
            tried = simulate(result.plan.without(left_out))
            if any(violation.promise == promise for violation in tried.violations):
                result, smaller = tried, True
                break
        if not smaller:
            size //= 2
    return result


@contextlib.contextmanager
def many() -> Iterator[None]:
    """Within it, many runs are quick: what was there before is not looked through after each."""
    before = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


class Run:
    """Carries out a plan. Call `go` once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.disk = seams.Disk(self.world)
        self.calls: dict[str, list[Call]] = {}
        self.questions: list[Question] = []
        self.readers: list[Reader] = []
        self.servers: list[Server] = []
        self.epochs: list[dict[str, list[bytes]]] = [{}]  # by stream: what anybody got, between lossy power cuts
        self.power_cut_at = 0.0  # the last one that took something from the log
        self.vanished: set[str] = set()  # in a power cut
        self.asked: dict[str, Question] = {}  # by stream
        self.forgotten: set[str] = set()
        self.forgotten_before = 0.0
        self.violations: list[Violation] = []
        self.troubles: list[tuple[float, float]] = []  # of the disk
        self.done: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.events = 0
        self.closing = False

    def go(self) -> Result:
        """Return what came of it."""
        gc.disable()
        try:
            with tempfile.TemporaryDirectory(dir=seams.folder() or None, prefix=PREFIX) as folder:
                self.settings = Settings(
                    data=Path(folder),
                    heartbeat=HEARTBEAT,
                    api_keys=("ann", "bob"),
                    grace=4.0,
                    send_timeout=5.0,
                    synchronous=self.plan.synchronous,
                )
                with seams.simulated(self.world, self.disk):
                    try:
                        self._go()
                    finally:
                        self._dismantle()
        finally:
            gc.enable()
        return Result(
            self.plan, self.violations, self.world.trace, self.world.elapsed, self.events, self.done, self.ends
        )

    def _dismantle(self) -> None:
        """Let go of all processes. Their code ends wherever it stands, and what it says to that counts for nothing."""
        with mock.patch.object(sys, "unraisablehook"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what would be awaited is not
            for server in self.servers:
                server.dismantle()
            for list_ in (self.servers, self.readers, self.questions):
                list_.clear()
            self.calls.clear()
            gc.collect(1)

    def _go(self) -> None:
        world = self.world
        for _ in range(self.plan.processes):
            self.open()
        world.run(world.now + 10, lambda: all(server.listening for server in self.servers))
        begin = world.now
        for action in self.plan.actions:
            world.at(begin + action.when, world.outside, lambda action=action: self._act(action))
        world.later(1.0, world.outside, self._patrol)
        world.run(begin + self.plan.horizon)
        self.disk.full_until = self.disk.unreadable_until = 0.0
        self.troubles = [(since, min(until, world.now)) for since, until in self.troubles]
        for server in self.servers:
            server.thaws = 0.0
            server.frozen = [(since, min(until, world.now)) for since, until in server.frozen]
        world.log("-", "no more faults")
        world.run(world.now + 120, lambda: all(reader.done for reader in self.readers))
        for reader in self.readers:
            if not reader.done:
                self.blame("TT-4", reader, f"hangs after event {len(reader.frames)}")
                reader.leave()
        self._judge()
        self.violations += [Violation(promise, what) for promise, what in world.broken]
        self.violations += [Violation("crash", crash) for crash in world.crashes]

    # --- for clients and processes

    @property
    def frames(self) -> dict[str, list[bytes]]:
        """What anybody got of each stream, since the last power cut that took something."""
        return self.epochs[-1]

    def last_epoch(self, stream: str) -> int:
        """Return the last epoch in which anybody was told that this stream exists."""
        return max((number for number, shown in enumerate(self.epochs) if stream in shown), default=0)

    def blame(self, promise: str, reader: Reader | None, what: str) -> None:
        """Note a violation."""
        who = "" if reader is None else f"{reader.name}, a reader of {reader.question.name} ({reader.stream[-4:]}), "
        self.violations.append(Violation(promise, who + what))
        self.world.log("!!", f"{promise}: {who}{what}")

    def some_server(self, random: Random) -> Server | None:
        """Return a process that takes connections; the listening socket is everybody's."""
        listening = [server for server in self.servers if server.listening and not server.dead]
        return random.choice(listening) if listening else None

    def began(self, question: Question, stream: str, epoch: int) -> None:
        """Note that a question has an answer of this id."""
        self.epochs[epoch].setdefault(stream, [])
        if stream not in question.streams:
            question.streams.append(stream)
            self.asked[stream] = question
            known = [one for one in question.streams if not self.is_forgotten(one)]
            known = [one for one in known if self.last_epoch(one) == epoch]  # a power cut may have taken the others
            if question.key and len(known) > 1:
                self.blame("TT-6", None, f"one key made the streams {', '.join(known)}")

    def check_unread(self, reader: Reader) -> None:
        """See that an answer which has ended because nobody read it was not read here (TT-5)."""
        server, opened, exchange = reader.server, reader.opened, reader.exchange
        if reader.question.stop_asked or server is None or opened is None or exchange is None:
            return
        read_for = self.world.now - opened
        if read_for > UNREAD and exchange.stalled_until <= opened and self.healthy(server, opened, self.world.now):
            self.blame("TT-5", reader, f"has read for {read_for:.1f} s, and it is cancelled as if nobody read it")

    def is_forgotten(self, stream: str) -> bool:
        """Whether the log may have been told to forget this."""
        return stream in self.forgotten or (
            stream in self.asked and self.asked[stream].asked_at < self.forgotten_before
        )

    def healthy(self, server: Server, since: float, until: float) -> bool:
        """Whether a process could do all this time what it should."""
        if server.opened is None or server.opened > since:
            return False
        if (server.stopping or until) < until or (server.died or until) < until:
            return False
        return not any(begin < until and end > since for begin, end in (*server.frozen, *self.troubles))

    def open(self) -> Server:
        """Start a process, and another one in a while if it cannot start."""
        name = f"p{len(self.servers) + 1}"
        server = Server(self.world, name, self.settings, self.calls, self.plan.capacity)
        server.epoch = len(self.epochs) - 1
        self.servers.append(server)
        self.world.later(15, self.world.outside, lambda: self._replace(server))
        return server

    def _open_later(self, seconds: float) -> None:
        self.world.later(seconds, self.world.outside, lambda: self.closing or self.open())

    def _replace(self, server: Server) -> None:
        """For the supervisor: see that somebody listens."""
        if not self.closing and not any(one.listening or not one.dead for one in self.servers):
            self.open()

    # --- what happens

    def _act(self, action: Action) -> None:
        random = self.world.randomness(f"action {action.number}")
        name = action.kind.replace(" ", "_")
        self.done[action.kind] += bool(getattr(self, f"_do_{name}")(random, action.number))

    def _do_ask(self, random: Random, number: int) -> bool:
        key = f"key {number}" if random.random() < 0.6 else None
        question = Question(f"q{number}", self.world.now, key, random.choice((None, "continue", "continue", "cancel")))
        size = self.world.randomness(f"size {number}")
        question.padding = size.randrange(70_000, 200_000) if size.random() < 0.04 else 0
        self.questions.append(question)
        for turn in range(random.choice((1, 1, 2, 4)) if key else 1):
            reader = Reader(self, question, f"r{number}.{turn}")
            self._habits(reader, random)
            delay = random.choice((0.0, 0.0, 0.001, 0.2, 2.0)) if turn else 0.0
            cut_at = random.randrange(1500) if random.random() < 0.2 else None
            self.world.later(delay, self.world.outside, lambda reader=reader, cut_at=cut_at: reader.connect(cut_at))
        return True

    def _do_join(self, random: Random, number: int) -> bool:
        if not self.asked:
            return False
        stream = random.choice(list(self.asked))
        if self.is_forgotten(stream):
            return False
        reader = Reader(self, self.asked[stream], f"r{number}", stream=stream)
        known = self.frames.get(stream, [])
        if random.random() < 0.5 and known and end_of(known) is None:  # comes from elsewhere, with what it has
            reader.frames = known[: random.choice((len(known), random.randint(1, len(known))))]
        self._habits(reader, random)
        reader.connect()
        return True

    def _habits(self, reader: Reader, random: Random) -> None:
        if random.random() < 0.15:
            reader.leaves_after = random.randrange(1, 30)

    def _do_stop(self, random: Random, number: int) -> bool:
        server = self.some_server(random)
        if not self.asked or server is None:
            return False
        self._stop(random.choice(list(self.asked)), server)
        return True

    def _do_stop_elsewhere(self, random: Random, number: int) -> bool:
        """Ask for a long answer, and stop it at a process that does not produce it."""
        reader = self._ask_long(number, "continue")

        def stop() -> None:
            call = self._running_call(reader.question)
            others = [server for server in self._running() if call is not None and server is not call.server]
            if others and reader.stream:
                self._stop(reader.stream, random.choice(others))

        self.world.later(random.uniform(1.0, 3.0), self.world.outside, stop)
        return True

    def _do_abandon(self, random: Random, number: int) -> bool:
        """Ask for a long answer that is not to go on unread, and leave."""
        self._ask_long(number, "cancel").leaves_after = random.randrange(1, 4)
        return True

    def _do_read_elsewhere(self, random: Random, number: int) -> bool:
        """Ask for a long answer that is not to go on unread, and read on at a process that does not produce it."""
        first = self._ask_long(number, "cancel")
        question = first.question

        def come() -> None:
            call = self._running_call(question)
            others = [server for server in self._running() if call is not None and server is not call.server]
            if others and first.stream:
                reader = Reader(self, question, f"r{number}.elsewhere", stream=first.stream)
                reader.connect(at=random.choice(others))
                self.world.later(UNREAD + random.uniform(0.5, 2.0), self.world.outside, first.leave)

        self.world.later(random.uniform(0.5, 2.0), self.world.outside, come)
        return True

    def _ask_long(self, number: int, disconnect: str) -> Reader:
        question = Question(f"{LONG_ANSWER}{number}", self.world.now, None, disconnect)
        self.questions.append(question)
        reader = Reader(self, question, f"r{number}")
        reader.connect()
        return reader

    def _stop(self, stream: str, server: Server) -> None:
        question, asked_at = self.asked[stream], self.world.now
        question.stop_asked = True
        self.world.log("-", f"stop of {question.name} at {server.name}")

        def answered(status: int, _body: bytes) -> None:
            self.world.log("-", f"stop of {question.name} is answered with {status}")
            if status == 200:
                question.stops.append((asked_at, self.world.now))

        headers = {"host": HOST, "authorization": "Bearer ann"}
        Single(self, server, Request("POST", f"/v1/streams/{stream}/cancel", headers), answered)

    def _running_call(self, question: Question) -> Call | None:
        """Return the upstream call that produces the answer now."""
        return next((call for call in self.calls.get(question.name, ()) if call.closed is None), None)

    def _reading(self) -> list[Reader]:
        return [reader for reader in self.readers if reader.opened is not None and not reader.done]

    def _do_hang_up(self, random: Random, number: int) -> bool:
        reading = self._reading()
        if reading:
            random.choice(reading).hang_up()
        return bool(reading)

    def _do_stall(self, random: Random, number: int) -> bool:
        reading = self._reading()
        if reading:
            reader = random.choice(reading)
            assert reader.exchange is not None
            seconds = random.choice((1.0, 5.0, 12.0))
            reader.log(f"reads nothing for {seconds:g} s")
            reader.exchange.stall(seconds, random.choice((0, 500, 5000)))
        return bool(reading)

    def _running(self) -> list[Server]:
        return [server for server in self.servers if server.listening and not server.dead and not server.stopping]

    def _do_kill(self, random: Random, number: int) -> bool:
        running = self._running()
        if running:
            server = random.choice(running)
            self.world.log("-", f"kill {server.name}")
            server.exit()
            self._open_later(random.choice((0.0, 0.3, 4.0)))
        return bool(running)

    def _do_freeze(self, random: Random, number: int) -> bool:
        running = [server for server in self._running() if not server.writes]  # SQLite lets nobody write beside it
        if running:
            server, seconds = random.choice(running), random.choice((0.3, 3.0, 7.0, 12.0))
            self.world.log("-", f"freeze {server.name} for {seconds:g} s")
            server.freeze(seconds)
        return bool(running)

    def _do_long_freeze(self, random: Random, number: int) -> bool:
        """Freeze a process that produces, beyond its lease; its readers look elsewhere."""
        running = [server for server in self._running() if not server.writes]
        busy = [server for server in running if any(call.server is server for call in self._open_calls())] or running
        if busy:
            server = random.choice(busy)
            self.world.log("-", f"freeze {server.name} for {LONG:g} s")
            server.freeze(LONG)
            for reader in self._reading():
                if reader.server is server:
                    reader.hang_up()
        return bool(busy)

    def _open_calls(self) -> list[Call]:
        return [call for calls in self.calls.values() for call in calls if call.closed is None]

    def _do_clock_jump(self, random: Random, number: int) -> bool:
        seconds = random.choice((-40, -1, 1, 40)) * 86_400.0
        self.world.log("-", f"the wall clock jumps by {seconds / 86_400:g} days")
        self.world.jumped += seconds
        return True

    def _do_power_cut(self, random: Random, number: int) -> bool:
        """End all processes at once, and take from the log what was not on the disk."""
        if all(server.dead for server in self.servers):
            return False

        def kill() -> None:
            for server in self.servers:
                if not server.dead:
                    server.exit()

        self.world.log("-", "the power fails")
        cut = seams.cut_power(self.settings.data / "tape.db", random, kill, synced=self.disk.synced)
        self.world.log("-", f"the write-ahead log has lost {cut}")
        if self.plan.synchronous != "FULL":
            self.epochs.append({})
            self.power_cut_at = self.world.now
        for _ in range(self.plan.processes):
            self._open_later(random.choice((0.1, 1.0, 3.0)))
        return True

    def _do_disk_full(self, random: Random, number: int) -> bool:
        seconds = random.choice((0.1, 1.0, 4.0))
        self.world.log("-", f"the disk is full for {seconds:g} s")
        self.disk.full_until = self.world.now + seconds
        self.troubles.append((self.world.now, self.disk.full_until))
        return True

    def _do_unreadable(self, random: Random, number: int) -> bool:
        seconds = random.choice((0.1, 2.0))
        self.world.log("-", f"reading the disk fails now and then for {seconds:g} s")
        self.disk.unreadable_until = self.world.now + seconds
        self.troubles.append((self.world.now, self.disk.unreadable_until))
        return True

    def _do_restart(self, random: Random, number: int) -> bool:
        running = self._running()
        if running:
            server = random.choice(running)
            self.world.log("-", f"stop the process {server.name}, start another")
            server.stop()
            self._open_later(random.choice((0.0, 2.0)))
        return bool(running)

    def _do_takeover(self, random: Random, number: int) -> bool:
        running = self._running()
        if running:
            server, successor = random.choice(running), self.open()
            self.world.log("-", f"{successor.name} takes over from {server.name}")

            def look() -> None:
                if successor.listening:
                    server.stop()
                elif not successor.dead:
                    self.world.later(0.05, self.world.outside, look)

            look()
        return bool(running)

    def _do_expire(self, random: Random, number: int) -> bool:
        """Have a process forget what has ended, or one stream of that."""
        running, ended = self._running(), [stream for stream, got in self.frames.items() if got and end_of(got)]
        if not running or not ended:
            return False
        server, chosen = random.choice(running), random.choice(ended)
        log = server.app.core.engine
        everything = random.random() < 0.3
        self.world.log("-", f"{server.name} forgets {'all that has ended' if everything else chosen}")

        async def forget() -> None:
            if everything:  # what ends in this moment too
                self.forgotten_before = self.world.now
                await log.expire(0)
                self.forgotten_before = self.world.now
            else:
                self.forgotten.add(chosen)
                await log.delete([chosen])

        server.act(lambda: server.create_task(forget()).add_done_callback(lambda task: task.exception()))
        return True

    # --- what is promised

    def _patrol(self) -> None:
        """Once a second: does anybody wait for what will not come?"""
        self.world.later(1.0, self.world.outside, self._patrol)
        for reader in self.readers:
            if not reader.done:
                reader.check_silence()
        for reader in self._reading():
            server, opened = reader.server, reader.opened
            if server is None or opened is None or reader.exchange is None or reader.exchange.stalled_until > opened:
                continue
            dead_since = self._dead_since(reader.question)
            if dead_since is None or reader.end is not None:
                continue
            since = max(dead_since, opened)
            if self.world.now - since > NOTICED + SLACK and self.healthy(server, since, self.world.now):
                self.blame("TT-4", reader, f"was not told of a death {self.world.now - dead_since:.1f} s ago")
                reader.leave()

        for question in self.questions:
            self._check_abandoned(question)
        for server in self.servers:
            for exchange in () if server.dead else server.exchanges:
                self._check_connection(exchange)

    def _check_connection(self, exchange: Exchange) -> None:
        """See that who takes nothing is dropped (TT-8), and that a second request on a connection is answered."""
        if not isinstance(exchange, HttpExchange):
            return
        now, server = self.world.now, exchange.server
        blocked, asked = exchange.blocked_since, exchange.asked_again
        allowed = self.settings.send_timeout + 2 * SLACK
        if blocked is not None and now - blocked > allowed and self.healthy(server, blocked, now):
            self.world.blame("TT-8", f"a connection of {server.name} has taken nothing for {now - blocked:.1f} s")
            exchange.died()
        if asked is not None and now - asked > ANSWERED and self.healthy(server, asked - 1, now):
            self.world.blame("HTTP", f"a second request on a connection of {server.name} was not answered")
            exchange.cut()

    def _check_abandoned(self, question: Question) -> None:
        """See that an answer which nobody reads is ended, if that is the policy (TT-5)."""
        now, call = self.world.now, self._running_call(question)
        if question.disconnect == "continue" or call is None:
            return
        reading = any(reader.exchange is not None and not reader.done for reader in question.readers)
        if reading or any(self._seems_to_read(question, exchange) for exchange in call.server.exchanges):
            question.read_at = now
        allowed = UNREAD + (0.0 if question.disconnect == "cancel" else ABANDONED)
        since = max(question.read_at, call.began)
        if now - since > allowed and self.healthy(call.server, since - 1, now):
            self.blame("TT-5", None, f"{question.name} goes on, though nobody has read it for {now - since:.1f} s")
            question.read_at = now

    def _seems_to_read(self, question: Question, exchange: Exchange) -> bool:
        """Whether this is the connection of a reader who is gone, and the server cannot know."""
        caller = exchange.caller
        return exchange.vanished and not exchange.over and isinstance(caller, Reader) and caller.question is question

    def _dead_since(self, question: Question) -> float | None:
        """Return since when all who produced this are dead, or frozen for longer than a lease."""
        calls = self.calls.get(question.name)
        if not calls:
            return None
        since = []
        for call in calls:
            if call.server.dead and call.server.died is not None:
                since.append(call.server.died)
            elif call.server.thaws > self.world.now:
                since.append(call.server.frozen[-1][0])
            else:
                return None
        return max(since)

    def _judge(self) -> None:
        """End all processes, ask one that is started then for the log, and hold everything against it."""
        world = self.world
        self._close()
        judge = self.open()
        world.run(world.now + 30, lambda: judge.listening)
        readers: dict[str, Reader] = {}
        for stream, question in self.asked.items():
            reader = readers[stream] = Reader(self, question, f"judge {stream[-4:]}", stream=stream)
            reader.connect()
        world.run(world.now + 60, lambda: all(reader.done for reader in readers.values()))
        for stream, reader in readers.items():
            if not self.is_forgotten(stream):
                self._judge_stream(stream, reader)
        for question in self.questions:
            calls = self.calls.get(question.name, [])
            kept = [stream for stream in question.streams if stream not in self.vanished]
            if question.key and len(kept) > 1 and not any(map(self.is_forgotten, kept)):
                self.blame("TT-6", None, f"{question.name} has one key and the streams {', '.join(kept)}")
            if question.asked_at < self.power_cut_at:
                continue  # what was asked may be lost before anybody was told of it
            # Of an answer that has failed at once, nobody is told the stream.
            forgotten = question.asked_at < self.forgotten_before or any(map(self.is_forgotten, question.streams))
            if question.key and len(calls) > 1 and not forgotten:
                self.blame("TT-6", None, f"{question.name} has one key, its model was asked {len(calls)} times")

    def _close(self) -> None:
        """End all processes in an orderly way, and see how long they take."""
        self.closing = True
        for server in self.servers:
            if not server.dead:
                server.stop()
        self.world.run(self.world.now + 30, lambda: all(server.dead for server in self.servers))
        for server in self.servers:
            if not server.dead:
                self.blame("TT-12", None, f"{server.name} has not ended 30 s after it was told to")
                server.exit()
            elif server.stopping is not None and server.died is not None:
                took, calm = server.died - server.stopping, self.healthy_until(server, server.stopping)
                if calm and took > self.settings.grace + CLOSING + 2 * SLACK:
                    self.blame("TT-12", None, f"{server.name} took {took:.1f} s to end")

    def healthy_until(self, server: Server, since: float) -> bool:
        """Whether nothing was in the way of a process after this, until it ended."""
        until = server.died or since
        return not any(begin < until and end > since - 10 for begin, end in (*server.frozen, *self.troubles))

    def _judge_stream(self, stream: str, reader: Reader) -> None:
        question = self.asked[stream]
        if stream in self.vanished:
            return
        if reader.end is None:
            self.blame("TT-4", reader, "has no end in the log")
            return
        frames, state = reader.frames, reader.end
        self.ends[state] += 1
        self._judge_readers(stream, reader)
        text = text_of(frames)
        number = text.count(" ")
        if text != "".join(piece(question.name, one) for one in range(number)):
            self.blame("TT-1", reader, f"the text has a gap or a repeat: {text[-60:]!r}")
        calls = self.calls.get(question.name, [])
        call = calls[0] if len(calls) == 1 else None
        if state == "completed" and not any(one.said == "finish" for one in calls):
            self.blame("TT-3", reader, "is completed, but its upstream never said so")
        if state == "completed" and call is not None and number != call.pieces:
            self.blame("TT-3", reader, f"is completed with {number} of {call.pieces} pieces")
        if state == "incomplete" and not any(one.said == "eof" for one in calls):
            self.blame("TT-3", reader, "is incomplete, but its upstream did not end like that")
        if state == "cancelled" and not question.stop_asked and question.disconnect == "continue":
            self.blame("TT-5", reader, "is cancelled, and nobody wanted that")
        if call is not None:
            self._judge_call(reader, state, call)

    def _judge_readers(self, stream: str, reader: Reader) -> None:
        """Hold what readers were shown against what the log holds."""
        held = len(reader.frames)
        for other in reader.question.readers:
            if other.stream != stream:
                continue
            got = len(other.frames)
            if any(cursor <= held for cursor in other.resets):
                self.blame("TT-7", other, f"its cursor was refused, though the log holds {held} events")
            if other.overtaken and got < held:
                self.blame("TT-3", other, f"was told after event {got} that nothing comes, the log holds {held}")
            if other.epoch < reader.epoch:
                continue  # a power cut may have taken what it was shown
            if other.end is not None and got != held:
                self.blame("TT-3", other, f"was told an end at event {got}, the log ends at {held}")
            if got > held:
                self.blame("TT-2", other, f"was shown {got} events, the log holds {held}")

    def _judge_call(self, reader: Reader, state: str, call: Call) -> None:
        """Hold the end of an answer against what its one upstream call saw."""
        question, server = reader.question, call.server
        closed = call.closed if call.closed is not None else self.world.now
        well = self.healthy_until(server, call.began - 10) and (server.stopping or closed) >= closed
        well = well and server.epoch == reader.epoch
        if state == "lost" and (server.died is None or server.died > closed + SLACK) and well:
            self.blame("TT-4", reader, f"is lost, but {server.name} lived and was well")
        if state == "failed" and well and call.said != "error" and not self.troubles:
            self.blame("TT-3", reader, "is failed, but its upstream did not fail")
        for _asked, granted in question.stops:
            until = granted + STOPPED
            if closed > until and self.healthy(server, granted - 1, until):
                self.blame("TT-5", reader, f"was stopped, but its upstream ran on for {closed - granted:.1f} s")
        if question.stops and not call.said and well and state not in ("cancelled", "lost"):
            self.blame("TT-5", reader, f"was stopped, and is {state}")
