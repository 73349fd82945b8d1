"""A virtual clock, the processes that live on it, and their threads: everything that happens comes from one seed.

A *process* is an event loop and its threads. All of them run in one real thread, one step at a time: a turn of a loop,
or a thread (a greenlet) from one place where it may be interrupted to the next. A step takes no time; the clock then
jumps to the next one. How long anything waits for its step is drawn from the seed, so the same seed gives the same run.

`tickertape` itself is not changed for this. `seams` replaces what the standard library offers it: clock, randomness,
threads, queues, locks, and the moments between two statements of SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import queue
import re
from asyncio import events
from collections import deque
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

    from filelock import BaseFileLock

    from .seams import Connection

T = TypeVar("T")

START = 1_000_000.0
"""Seconds on the monotonic clock when a run begins."""

EPOCH = 1_800_000_000.0
"""What the wall clock shows then."""

PREFIX = "tickertape-simulation-"
"""How the names of the folders of runs begin."""

PLACE = re.compile(rf"\S*/{PREFIX}[^/ ]+")


class Owner:
    """Whose step it is. The steps of one that is dead never come, those of a frozen one come when it thaws."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.thaws = 0.0


class World:
    """The clock and the agenda. ``random`` is for the run as a whole; every process has randomness of its own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = START
        self.jumped = 0.0  # the wall clock, in seconds
        self.outside = Owner("-")  # the network and the experimenter: no fault hits them
        self.acting: Process | None = None  # whose code runs now
        self.thread: Thread | None = None  # which of its threads, None for its loop
        self.trace: list[str] = []
        self.crashes: list[str] = []  # what went wrong in a way that nobody foresaw
        self.broken: list[tuple[str, str]] = []  # promises, and by what: where no reader is concerned
        self.steps = 0
        self._agenda: list[tuple[float, int, Owner, Callable[[], object]]] = []
        self._order = itertools.count()
        self._hub = getcurrent()

    def randomness(self, name: str) -> Random:
        """Return a source of its own for whoever is called that: what others draw does not change it."""
        return Random(f"{self.seed}/{name}")

    def log(self, who: str, what: str) -> None:
        """Write a line of the trace; the run's folder, which has another name every time, is called ``data`` there."""
        if PREFIX in what:
            what = PLACE.sub("data", what)
        self.trace.append(f"{self.now - START:10.4f}  {who:8} {what}")

    def blame(self, promise: str, what: str) -> None:
        """Note that a promise is broken."""
        self.broken.append((promise, what))
        self.log("!!", f"{promise}: {what}")

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the run began."""
        return self.now - START

    def at(self, when: float, owner: Owner, step: Callable[[], object]) -> None:
        """Take this step at that time, or as soon as its owner can."""
        heapq.heappush(self._agenda, (when if when > self.now else self.now, next(self._order), owner, step))

    def later(self, seconds: float, owner: Owner, step: Callable[[], object]) -> None:
        """Take this step in so many seconds."""
        self.at(self.now + seconds, owner, step)

    def run(self, until: float, done: Callable[[], object] = lambda: False) -> bool:
        """Take steps until that time, or until ``done``; return whether it is done."""
        agenda = self._agenda
        while not done():
            if not agenda or agenda[0][0] > until:
                self.now = until
                return bool(done())
            when, order, owner, step = heapq.heappop(agenda)
            if owner.dead:
                continue
            self.now = when
            if owner.thaws > when:
                heapq.heappush(agenda, (owner.thaws, order, owner, step))  # in the order in which they were due
                continue
            self.steps += 1
            step()
        return True


class Process(Owner, asyncio.AbstractEventLoop):
    """One process: its event loop, its threads, and what the operating system takes from it when it dies."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world
        self.random = world.randomness(name)
        self.connections: list[Connection] = []
        self.locks: set[BaseFileLock] = set()
        self.tasks: list[asyncio.Task[Any]] = []
        self.threads: list[Thread] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._awake = False
        self._told = 0.0
        self._lines: dict[Executor | None, deque[Thread]] = {}

    # --- time and callbacks

    def time(self) -> float:
        return self.world.now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)
        self._wake()
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = events.TimerHandle(when, callback, args, self, context)
        self.world.at(when, self, partial(self._due, handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run a callback some time later, never before one that was handed over earlier.

        The thread that hands it over may be held before it does.
        """
        world = self.world
        if world.thread is not None:
            world.thread.pause(self.delay(("at once", 0.0), ("at once", 0.0), ("held", 0.003), ("held long", 0.15)))
        handle = events.Handle(callback, args, self, context)
        self._told = max(self._told, world.now + self.random.choice((0.0, 0.0, 0.0, 0.0003, 0.02)))
        world.at(self._told, self, partial(self._due, handle))
        return handle

    def delay(self, *choices: tuple[str, float]) -> float:
        """Draw how long the machine lets something wait; the fault is the last choice."""
        return self.random.choice(choices)[1]

    def _due(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            self._ready.append(handle)
            self._wake()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """For asyncio: nothing to do, it is passed over when it is due."""

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            busy = self.random.random()
            self.world.later(0.0 if busy < 0.9 else 0.0005 if busy < 0.99 else 0.03, self, self._turn)

    def _turn(self) -> None:
        """Run what is ready, as one turn of the loop."""
        self._awake = False
        ready, self._ready = self._ready, deque()
        self.act(partial(self._run, ready))

    def _run(self, ready: deque[asyncio.Handle]) -> None:
        for handle in ready:
            if not handle.cancelled() and not self.dead:
                handle._run()

    def act(self, call: Callable[[], T]) -> T:
        """Run code of this process on its event loop."""
        world, before = self.world, self.world.acting
        world.acting = self
        events._set_running_loop(self)
        try:
            return call()
        finally:
            events._set_running_loop(None)
            world.acting = before

    # --- tasks and futures

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
        task: asyncio.Task[T] = NumberedTask(coro, loop=self, **options)
        self.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note a crash: nothing of ours may raise where nobody catches it."""
        self.world.crashes.append(f"{self.name}: {context.get('message')} {context.get('exception')!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    # --- threads

    def run_in_executor(self, executor: Executor | None, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Do the work in a thread; an executor of one thread does one piece after the other."""
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            try:
                outcome = call(*args)
            except BaseException as error:
                self.call_soon_threadsafe(_outcome, future, None, error)
            else:
                self.call_soon_threadsafe(_outcome, future, outcome, None)
            if executor is not None:
                line.popleft()
                if line:
                    line[0].start()

        thread = Thread(self, work)
        if executor is None:
            thread.start()
        else:
            line = self._lines.setdefault(executor, deque())
            line.append(thread)
            if len(line) == 1:
                thread.start()
        return future

    # --- the operating system

    def freeze(self, seconds: float) -> None:
        """Stop it, as SIGSTOP does, for so long."""
        self.thaws = self.world.now + seconds

    @property
    def writes(self) -> bool:
        """Whether it is in the middle of a transaction that keeps others from writing."""
        return any(connection.in_transaction and connection.writes for connection in self.connections)

    def kill(self) -> None:
        """End it, as SIGKILL does: no code of it runs again, and what it held is released."""
        self.dead = True
        for connection in tuple(self.connections):
            connection.close()  # with a transaction that was open, if there was one
        for lock in self.locks:
            if lock.is_locked:
                lock.release(force=True)

    def dismantle(self) -> None:
        """After the run: let go of everything, whatever its code says to that."""
        self.dead = True
        for task in self.tasks:
            task._log_destroy_pending = False
            if not task.done():
                _quietly(task.get_coro().close)
        for thread in self.threads:
            _quietly(thread.end)
        self.connections.clear()
        self.locks.clear()


def _outcome(future: asyncio.Future[T], outcome: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(outcome)
    else:
        future.set_exception(error)


def _quietly(call: Callable[[], object]) -> None:
    with contextlib.suppress(BaseException):  # it is dead: nobody listens to it
        call()


class NumberedTask(asyncio.Task[T]):
    """A task that hashes by its number: sets of tasks are walked through in the same order in every run."""

    numbers = itertools.count()

    def __new__(cls, *_args: Any, **_options: Any) -> NumberedTask[T]:
        task: NumberedTask[T] = super().__new__(cls)
        task.number = next(cls.numbers)
        return task

    number: int

    def __hash__(self) -> int:
        return self.number


class Thread:
    """A thread of a process: it runs until it waits, and may be interrupted wherever it `pause`s."""

    def __init__(self, process: Process, work: Callable[[], object]) -> None:
        self.process = process
        self.world = process.world
        self.over = False
        self._waits = 0
        self._work = work
        self._greenlet = greenlet(self._main, parent=self.world._hub)
        self._joining: list[Thread] = []
        process.threads.append(self)

    def start(self) -> None:
        """Begin it, when the machine gets to it."""
        self.wake(self.process.random.choice((0.0, 0.0, 0.0005, 0.01, self.process.random.random() * 0.2)))

    def wake(self, seconds: float = 0.0) -> None:
        """Let it go on, in so many seconds, if it still waits for the same thing then."""
        self.world.later(seconds, self.process, partial(self._go_on, self._waits))

    def pause(self, seconds: float) -> None:
        """Within it: let others run for so long."""
        self.wake(seconds)
        self.wait()

    def wait(self) -> None:
        """Within it: let others run until it is woken."""
        self.world._hub.switch()
        self._waits += 1

    def join(self) -> None:
        """Wait, in the thread that runs now, until this one is over."""
        if self.over:
            return
        waiting = self.world.thread
        assert waiting is not None, "the event loop waits for a thread"
        self._joining.append(waiting)
        waiting.wait()

    def end(self) -> None:
        """After the run: unwind it."""
        if not self.over and self._greenlet:
            self._greenlet.throw()

    def _go_on(self, waits: int) -> None:
        if waits != self._waits or self.over:
            return
        world = self.world
        world.acting, world.thread = self.process, self
        try:
            self._greenlet.switch()
        finally:
            world.acting = world.thread = None

    def _main(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.world.crashes.append(f"{self.process.name}: a thread has ended with {error!r}")
        self.over = True
        for thread in self._joining:
            thread.wake()


class Queue:
    """`queue.SimpleQueue` for threads of a process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._items: deque[Any] = deque()
        self._waiting: deque[Thread] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)
        if self._waiting:
            thread = self._waiting.popleft()
            random = thread.process.random
            thread.wake(random.choice((0.0, 0.0, 0.0, 0.0002, 0.004, random.random() * 0.3)))

    put_nowait = put

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        thread = self._world.thread
        if not self._items and block:
            assert thread is not None, "the event loop waits for a queue"
            self._waiting.append(thread)
            if timeout is not None:
                thread.wake(timeout)
            thread.wait()
            if thread in self._waiting:
                self._waiting.remove(thread)
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Lock:
    """`threading.Lock` for threads of a process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held = False
        self._waiting: deque[Thread] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        while self._held:
            thread = self._world.thread
            if not blocking:
                return False
            assert thread is not None, "the event loop waits for a lock that a thread holds"
            self._waiting.append(thread)
            thread.wait()
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        if self._waiting:
            self._waiting.popleft().wake()

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc: object) -> None:
        self.release()
