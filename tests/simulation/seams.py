"""What the standard library offers tickertape, replaced for the time of a run: clock, randomness, threads and SQL.

Everything here acts only for code of a `Process`; pytest's own threads and clocks go on as they are. SQLite is real and
so is its file. Its statements are the places where a thread may be interrupted, and where a disk may fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import os
import queue
import random
import secrets
import sqlite3
import struct
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import filelock

import tickertape.conversations.async_store
import tickertape.conversations.sqlite
import tickertape.streams.sqlite.engine  # noqa: F401 - what a core imports when it is made, before there is a world
from tickertape.asgi.subscriber import Cut
from tickertape.delivery.subscriber import Subscriber
from tickertape.generation.generation import Generation
from tickertape.server import routes
from tickertape.server.assets import Assets
from tickertape.server.http_protocol import HttpProtocol
from tickertape.streams.contract import Stream, StreamWriter

from .world import EPOCH, START, Lock, Process, Queue, Thread, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

WAL_HEADER, WAL_FRAME = 32, 24
"""Bytes at the beginning of a write-ahead log, and of each of its frames, which hold a page each."""

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "BEGIN IMMEDIATE", "CREATE", "ALTER")
READS = ("SELECT", "BEGIN")


@functools.cache
def assets() -> Assets:
    """Return the page's files, read once for all runs."""
    return Assets()


@contextlib.contextmanager
def simulated(world: World, disk: Disk) -> Iterator[None]:
    """Have all code of this world's processes see its clock, threads and disk."""
    connect, acquire = sqlite3.connect, filelock.FileLock.acquire
    start, join, alive = threading.Thread.start, threading.Thread.join, threading.Thread.is_alive
    simple_queue, lock = queue.SimpleQueue, threading.Lock
    chance = world.randomness("chance")
    threads: dict[threading.Thread, Thread] = {}

    def opened(path: Any, timeout: float = 5.0, **options: Any) -> sqlite3.Connection:
        process = world.acting
        if process is None:
            return connect(path, timeout, **options)
        connection = connect(path, 0, **options | {"factory": Connection})
        connection.process, connection.disk, connection.patience = process, disk, timeout
        process.connections.append(connection)
        return connection

    def acquired(self: filelock.FileLock, *args: Any, **options: Any) -> Any:
        if world.acting is not None:
            world.acting.locks.add(self)
        return acquire(self, *args, **options)

    def started(self: threading.Thread) -> None:
        if world.acting is None:
            start(self)
        else:
            threads[self] = Thread(world.acting, self.run)
            threads[self].start()

    def joined(self: threading.Thread, timeout: float | None = None) -> None:
        if self in threads:
            threads[self].join()
        else:
            join(self, timeout)

    def sleep(seconds: float) -> None:
        assert world.thread is not None, "the event loop sleeps"
        world.thread.pause(seconds)

    names = itertools.count(1)
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (time, "monotonic", lambda: world.now),
            (time, "perf_counter", lambda: world.now),
            (time, "thread_time", lambda: 0.0),  # no step takes any
            (time, "time", lambda: EPOCH - START + world.now + world.jumped),
            (time, "sleep", sleep),
            (random, "random", chance.random),
            (secrets, "token_hex", lambda size=32: f"{next(names):0{2 * size}x}"[-2 * size :]),
            (sqlite3, "connect", opened),
            (sqlite3.dbapi2, "connect", opened),
            (filelock.FileLock, "acquire", acquired),
            (threading.Thread, "start", started),
            (threading.Thread, "join", joined),
            (threading.Thread, "is_alive", lambda self: not threads[self].over if self in threads else alive(self)),
            (threading, "Lock", lambda: lock() if world.acting is None else Lock(world)),
            (queue, "SimpleQueue", lambda: simple_queue() if world.acting is None else Queue(world)),
            (gc, "collect", lambda *_: 0),  # when it comes, weak references go: that must not depend on chance
            (gc, "freeze", lambda: None),
            (gc, "set_threshold", lambda *_: None),
            (routes, "Assets", assets),  # the page's files take longer to read than a run to run
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        for kind in (Stream, StreamWriter, Subscriber, Generation, HttpProtocol):
            stack.enter_context(numbered(kind))
        stack.enter_context(logged("tickertape", Handler(world)))
        stack.enter_context(logged("uvicorn.error", UvicornHandler(world)))
        yield


@contextlib.contextmanager
def numbered(kind: type) -> Iterator[None]:
    """Have the objects of a class hash by the order in which they were made, not by where they lie in memory."""
    numbers: dict[int, int] = {}
    counter = itertools.count()
    make: Callable[..., None] = kind.__init__

    def made(self: Any, *args: Any, **options: Any) -> None:
        numbers[id(self)] = next(counter)
        make(self, *args, **options)

    with mock.patch.object(kind, "__init__", made), mock.patch.object(kind, "__hash__", lambda self: numbers[id(self)]):
        yield


@contextlib.contextmanager
def logged(name: str, handler: Handler) -> Iterator[None]:
    """Have a logger write to this handler and nowhere else."""
    logger = logging.getLogger(name)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(handler)


class Handler(logging.Handler):
    """Writes what the server logs into the trace; a traceback is a crash, and so is word of damage: no file has any."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        who = self._world.acting.name if self._world.acting else "-"
        message = record.getMessage()
        self._world.log(who, f"says: {message}")
        if record.exc_info and record.levelno >= logging.ERROR:
            self._world.crashes.append(f"{who}: {message}: {record.exc_info[1]!r}")
        elif "damaged" in message:
            self._world.crashes.append(f"{who} says of a file that is well: {message}")


class UvicornHandler(Handler):
    """Takes what the app raised for a crash, unless it did so on purpose; the rest says what the trace has anyway."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Cut | asyncio.CancelledError):
            super().emit(record)


class Disk:
    """The disk that all processes share: it may be full, or fail now and then, for a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.randomness("disk")
        self.full_until = 0.0
        self.unreadable_until = 0.0
        self.failures = 0
        self.synced = True  # whether all who wrote answers waited for the disk at every commit

    def use(self, statement: str) -> None:
        """Fail, as a statement like this does while the disk is as it is now."""
        now = self._world.now
        if now < self.full_until and statement.startswith(WRITES) and self._random.random() < 0.5:
            self._fail("database or disk is full", sqlite3.SQLITE_FULL)
        if now < self.unreadable_until and statement.startswith(READS) and self._random.random() < 0.3:
            self._fail("disk I/O error", sqlite3.SQLITE_IOERR_READ)

    def _fail(self, words: str, code: int) -> None:
        self.failures += 1
        self._world.log(self._world.acting.name if self._world.acting else "-", f"is told: {words}")
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error


class Connection(sqlite3.Connection):
    """A connection whose statements are steps: between two of them others run."""

    process: Process
    disk: Disk
    patience: float
    writes = False

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or Cursor)

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        return self.cursor().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Any) -> Any:
        return self.cursor().executemany(statement, parameters)

    def close(self) -> None:
        super().close()
        if self in self.process.connections:
            self.process.connections.remove(self)

    @property
    def synced(self) -> bool:
        """Whether its commits wait for the disk, as SQLite says itself."""
        return sqlite3.Cursor(self).execute("PRAGMA synchronous").fetchone() == (2,)

    def step(self, statement: str, execute: Callable[[], Any]) -> Any:
        """Execute a statement, when its thread gets to it and nobody else writes."""
        thread, process = self.process.world.thread, self.process
        if thread is not None and process.random.random() < 0.3:
            thread.pause(process.random.choice((0.0, 0.0, 0.0005, 0.02)))
        self.disk.use(statement)
        waits_until = process.world.now + self.patience
        while True:
            try:
                found = execute()
            except sqlite3.OperationalError as error:
                # SQLite sends a reader away at once whose view is too old to write: then waiting does not help.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or thread is None or process.world.now >= waits_until:
                    raise
                thread.pause(0.005)
            else:
                if statement.startswith("BEGIN"):
                    self.writes = statement.startswith("BEGIN IMMEDIATE")
                elif statement.startswith(("COMMIT", "INSERT INTO journal")):
                    if statement.startswith("INSERT"):
                        self.disk.synced = self.disk.synced and self.synced
                    process.world.log(process.name, f"writes: {statement[:19].lower()}")
                return found


class Cursor(sqlite3.Cursor):
    """A cursor of such a connection."""

    connection: Connection

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        return self.connection.step(statement.lstrip(), lambda: sqlite3.Cursor.execute(self, statement, parameters))

    def executemany(self, statement: str, parameters: Any) -> Any:
        rows = list(parameters)
        return self.connection.step(statement.lstrip(), lambda: sqlite3.Cursor.executemany(self, statement, rows))


def cut_power(path: Path, random: Random, kill: Callable[[], None], *, synced: bool) -> str:
    """Leave of an SQLite file what a power cut leaves, once `kill` has ended all its processes; say what is cut.

    The file itself is on the disk, and so are the frames of the write-ahead log that a checkpoint has begun to copy
    into it: SQLite waits for the disk before that. With ``synced`` all that was committed is there. What follows is
    missing, zeros, or garbage behind the head of a frame.
    """
    wal, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    file, frames, shared = (part.read_bytes() if part.exists() else b"" for part in (path, wal, index))
    kill()  # the last connection that is closed does a checkpoint, which no power cut does
    for part in (path, wal, index):
        part.unlink(missing_ok=True)
    path.write_bytes(file)
    wal.write_bytes(frames)
    if len(frames) <= WAL_HEADER or not shared:
        return "nothing"  # nobody has opened it since the last time
    size, committed = struct.unpack_from("=H", shared, 14)[0], struct.unpack_from("=I", shared, 16)[0]
    copied = struct.unpack_from("=I", shared, 128)[0]
    least, most = (WAL_HEADER + number * (WAL_FRAME + size) for number in (copied, committed))
    cut = most if synced else random.randint(least, most)
    torn = random.randrange(3 * size)
    rest = random.choice((b"", bytes(torn), frames[WAL_HEADER:][:WAL_FRAME] + random.randbytes(torn)))
    wal.write_bytes(frames[:cut] + rest)
    return f"{most - cut} of {most - least} bytes, {len(rest)} follow"


def folder() -> str:
    """Return where the files of a run should lie: in memory, where there is room for that."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else ""
