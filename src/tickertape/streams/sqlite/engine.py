"""The engine: opens and closes the file, begins and finds streams, and looks after what other processes must know.

The package's docstring (`tickertape.streams.sqlite`) tells the whole story.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import sqlite3
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from tickertape.errors import StreamDamaged, UnknownStream
from tickertape.sqlite.file import VERIFY, FileIdentity, verify
from tickertape.sqlite.upkeep import Upkeep, make_shrinkable
from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter
from tickertape.streams.sqlite import file_format, leases
from tickertape.streams.sqlite.commands import Create, Delete, Expire, Heartbeat, Probe, SetFlag, Shrink
from tickertape.streams.sqlite.file_format import Connect, header_checksum, stream_is_intact
from tickertape.streams.sqlite.follower import Follower, SingleFlight
from tickertape.streams.sqlite.producer import Producer, SqliteStream
from tickertape.streams.sqlite.writer import WriteQueue, WriterThread
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tickertape.streams.sqlite.commands import Command


T = TypeVar("T")

logger = logging.getLogger("tickertape")

WATCH = 0.02
"""Seconds between two looks at what other processes wrote, while somebody here reads a stream of theirs."""

STOPS = 0.1
"""The same while nobody does, but streams are produced here, which readers elsewhere may want to be stopped."""

ALONE = 0.5
"""The same while no other process is known of; one that has just come may ask for a stop."""

REAP = 2.0
"""Seconds between two heartbeats, and between two looks for producers that miss theirs."""

LEASE = 8.0
"""Seconds without a heartbeat after which a producer counts as dead."""


class SqliteEngine(Engine):
    """Streams in one file. ``lost`` is the terminal entry for streams whose producer died.

    ``damaged`` is that for streams of which a part cannot be read any more, ``lost`` by default. ``settings`` are told
    to whoever wants to use the file too (`leases.living`).
    ``synchronous`` is SQLite's: ``NORMAL`` survives a killed process, ``FULL`` a power cut as well. ``lease`` and
    ``reap`` are in seconds, `LEASE` and `REAP` by default.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        lost: bytes,
        damaged: bytes | None = None,
        synchronous: str = "NORMAL",
        settings: str = "",
        lease: float = LEASE,
        reap: float = REAP,
        connect: Connect = file_format.connect,
    ) -> None:
        self._path = Path(path)
        self._lost = lost
        self._damaged = damaged or lost
        self._synchronous = synchronous
        self._settings = settings
        self._lease = lease
        self._connect = connect
        self._interval = reap
        self._name = secrets.token_hex(8)
        self._alive = FileLock(leases.lock_path(self._path, self._name), thread_local=False)
        self._streams: weakref.WeakValueDictionary[str, SqliteStream] = weakref.WeakValueDictionary()
        self._loads = SingleFlight(lambda name: self._in_reader(functools.partial(self._load, name)))
        self._others = 0
        self._unreadable: set[str] = set()  # streams whose damage the operator was told of
        self._gone_told = False  # that the file was deleted or replaced
        self._active = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    # --- opening and closing

    async def __aenter__(self) -> SqliteEngine:
        # What ends with a failed start is made here: it can be tried again.
        self._loop = asyncio.get_running_loop()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tickertape-read")
        ends = (self._lost, self._damaged)
        self._follower = Follower(self._path, self._connect, ends, lambda: self._writer.epoch, self._stop)
        self._write_queue = WriteQueue(self._loop, self._submit)
        self._producer = Producer(
            self._write_queue,
            self._follower,
            epoch=lambda: self._writer.epoch,
            check=self._check_place,
            seen=self._seen_elsewhere,
            begun=self._active.set,
        )
        self._upkeep = Upkeep(self._path, self._shrink)
        try:
            await self._in_reader(self._open)
        except BaseException:
            self._reader.shutdown()
            self._follower.abandon()
            raise
        self._writer.start()
        self._background = {asyncio.create_task(self._watch()), asyncio.create_task(self._patrol())}
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._upkeep.close()
        await self._follower.close()
        self._producer.retry_deferred()
        self._write_queue.submit()
        self._writer.stop()
        await self._loop.run_in_executor(None, self._writer.join)
        await self._in_reader(self._close)
        self._reader.shutdown()

    def _open(self) -> None:
        file_format.check(self._path)
        with contextlib.ExitStack() as undo:
            leases.acquire(self._alive)
            undo.callback(self._release)
            self._connection = self._connect(self._path, "reader", synchronous=self._synchronous)
            undo.callback(self._connection.close)
            self._writes = self._connect(self._path, "writer", synchronous=self._synchronous)
            undo.callback(self._writes.close)
            with self._explained():
                self._look_for_damage()
                deliver, fenced = self._write_queue.deliver, self._producer.fence
                self._writer = WriterThread(self._writes, self._path, self._name, deliver, fenced, self._settings)
                self._reap()
                self._identity = FileIdentity(self._path)
                if not self._others:
                    make_shrinkable(self._connection, self._path)
            self._follower.open()
            undo.pop_all()

    def _submit(self, commands: list[Command]) -> None:
        self._writer.submit(commands)
        if not all(isinstance(command, Heartbeat) for command in commands):
            self._upkeep.written()

    def _look_for_damage(self) -> None:
        """Look through the file for a while; raise for a part that cannot be used, tell of answers that cannot."""
        deadline = time.monotonic() + VERIFY
        if not verify(self._connection):
            logger.info("The stream log %s is too large to be checked at the start", self._path)
        for damage in file_format.damages(self._connection, deadline):
            if damage is not None:
                logger.error("%s", damage)

    def _close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # ends what is left; nothing runs any more
            leases.reap(self._connection, self._writer.epoch, self._lost, self._damaged)
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._connection.close()
        self._writes.close()
        self._release()

    def _release(self) -> None:
        self._alive.release()
        Path(self._alive.lock_file).unlink(missing_ok=True)

    @property
    def idle(self) -> bool:
        """Whether nothing runs that anybody here waits for: then no timer runs and the file is left alone."""
        return not self._active.is_set()

    # --- producing

    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter | Stream:
        self._check_place()
        done: asyncio.Future[str | None] = self._loop.create_future()
        command = Create(header, list(entries), key, done)
        self._write_queue.add(command)
        existing = await done
        if existing is not None:
            try:
                return await self.get(existing, header.owner)
            except UnknownStream:  # deleted in between, and its key with it
                return await self.create(header, entries, key)
        stream = self._streams.setdefault(header.id, SqliteStream(header, command.entries, command.handle.no))
        stream.produced_here = True  # somebody may have asked for it already: from now on it is produced here
        self._follower.following.discard(stream)
        if len(stream.entries) < len(command.entries):
            stream.extend(command.entries[len(stream.entries) :])
        return self._producer.begin(stream, command)

    async def probe(self) -> None:
        self._check_place()
        done: asyncio.Future[None] = self._loop.create_future()
        self._write_queue.add(Probe(done))
        await done
        self._producer.retry_deferred()  # it can be written now

    def _check_place(self) -> None:
        """Raise EngineUnavailable if the file was deleted or replaced; once for every answer, not for every token."""
        if self._identity.lost:
            error = file_format.file_gone(self._path)
            if not self._gone_told:
                self._gone_told = True
                logger.error("%s", error)
            raise error

    async def cancel(self, stream: Stream) -> None:
        if not self._stop(stream.header.id) and not stream.ended:
            self._write_queue.add(SetFlag(SetFlag.STOP, stream.header.id))

    # --- reading

    async def get(self, stream_id: str, owner: str) -> Stream:
        stream = self._streams.get(stream_id)
        if (
            stream is not None
            and stream.ended
            and not stream.readers
            and not await self._in_reader(lambda: self._has(stream_id))
        ):
            self._streams.pop(stream_id, None)  # another process has deleted it; here it is only not collected yet
            raise UnknownStream(stream_id)
        if stream is None:
            try:
                loaded = await self._loads.read(stream_id)
            except StreamDamaged as error:
                if error.owner != owner:
                    raise UnknownStream(stream_id) from error
                raise
            stream = self._streams.setdefault(stream_id, loaded)
        if stream.header.owner != owner:
            raise UnknownStream(stream_id)
        if not stream.ended and not stream.produced_here:
            if not self._active.is_set():
                self._active.set()
                await leases.attempt(self.reap())  # nobody may have looked for long whether its producer lives
            # It is brought up to date: the reader may come from there, with a cursor newer than what was seen here.
            if not await self._follower.catch_up(stream):
                raise UnknownStream(stream_id)
            self._active.set()  # it may have come to rest while the file was read
        return stream

    def _has(self, stream_id: str) -> bool:
        """Say whether the file has a stream; one that cannot be read may have it."""
        try:
            return self._connection.execute("SELECT 1 FROM stream WHERE id = ?", (stream_id,)).fetchone() is not None
        except sqlite3.Error:
            return True

    async def reach(self, stream: Stream, number: int) -> bool:
        assert isinstance(stream, SqliteStream)  # noqa: S101 - streams come from this engine
        if not stream.produced_here:
            if len(stream.entries) < number and not stream.ended:
                await self._follower.catch_up(stream)
            return len(stream.entries) >= number
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lease):
                await self._reached(stream, number)
        return len(stream.entries) >= number

    async def _reached(self, stream: SqliteStream, number: int) -> None:
        """Wait until a stream that is produced here has so many entries, if the file has them or is about to."""
        writer = self._producer.writers.get(stream.header.id)
        while writer is not None and len(stream.entries) < number <= writer.appended and not stream.ended:
            if writer.error is not None:
                break
            await stream.wait(len(stream.entries))  # the thread may have committed them: its word is on its way
        if len(stream.entries) < number and not stream.ended:
            # Beyond what this process has appended there is only an end that another one has given it as its dead.
            stored = await self._loads.read(stream.header.id)
            while stored.ended and len(stored.entries) >= number and not stream.ended:
                await stream.wait(len(stream.entries))

    async def keyed(self, owner: str, key: Key) -> Stream | None:
        stream_id = await self._in_reader(functools.partial(self._keyed, owner, key))
        try:
            return None if stream_id is None else await self.get(stream_id, owner)
        except UnknownStream:  # deleted in between
            return None

    def _keyed(self, owner: str, key: Key) -> str | None:
        with self._explained():
            return file_format.keyed(self._connection, owner, key)

    def _load(self, stream_id: str) -> SqliteStream:
        """Return a stream: whole if it has ended, else empty, for the follower reads what runs."""
        with self._explained():
            query = "SELECT no, owner, model, created, ended, body, crc FROM stream WHERE id = ?"
            row = self._connection.execute(query, (stream_id,)).fetchone()
        if row is None:
            raise UnknownStream(stream_id)
        no, owner, model, created, ended, body, crc = row
        if not stream_is_intact(header_checksum(stream_id, owner, model, created), ended, body, crc):
            damage = StreamDamaged(stream_id, owner)
            if stream_id not in self._unreadable:
                self._unreadable.add(stream_id)
                logger.error("%s", damage)
            raise damage
        header = Header(id=stream_id, owner=owner, model=model, created=created)
        return SqliteStream(header, [] if body is None else body.split(b"\n"), no, ended=body is not None)

    # --- other processes

    async def _seen_elsewhere(self, stream_id: str, within: float) -> bool:
        if not self._others:
            return False
        since = time.monotonic() - within - 2 * self._interval  # the others tell of their readers once an interval
        return await self._in_reader(lambda: self._seen(stream_id, since))

    def _seen(self, stream_id: str, since: float) -> bool:
        with self._explained():
            query = "SELECT 1 FROM stream WHERE id = ? AND seen > ?"
            return self._connection.execute(query, (stream_id, since)).fetchone() is not None

    async def expire(self, older_than: float) -> int:
        before = now() - older_than
        total = 0
        while count := await self._delete(Expire(before, self._loop.create_future())):
            total += count
        return total

    async def delete(self, streams: Sequence[str]) -> list[str]:
        left: list[str] = []
        while streams:
            command = Delete(streams, self._loop.create_future())
            await self._delete(command)
            left += command.left
            streams = command.rest
        return left

    async def _delete(self, command: Delete) -> int:
        """Have streams deleted; return how many. Whoever reads one of them goes on, nobody else finds it."""
        self._write_queue.add(command)
        gone = await command.done
        for stream_id in gone:
            self._streams.pop(stream_id, None)
        if gone:
            self._upkeep.deleted()
            await self._upkeep.relieve(command.size)
        return len(gone)

    async def _shrink(self) -> bool:
        command = Shrink(self._loop.create_future())
        self._write_queue.add(command)
        return await command.done

    async def reap(self) -> int:
        return await self._in_reader(self._reap)

    def _reap(self) -> int:
        lost, self._others = leases.reap_dead(
            self._connection, self._path, self._name, (self._lost, self._damaged), self._lease
        )
        return lost

    async def _patrol(self) -> None:
        """While active, tell others what they need to know, that this process lives too, and find the dead."""
        while True:
            await self._active.wait()
            await leases.attempt(self.reap())
            self._tell_others()
            await asyncio.sleep(self._interval)
            if self._producer.active:
                self._write_queue.add(Heartbeat())
                self._producer.retry_deferred()
            elif not self._follower.following:
                self._active.clear()

    def _tell_others(self) -> None:
        """Tell who reads here and what waits here. Not in `_patrol`, whose variables would keep a stream in memory."""
        for stream in self._follower.following:
            if stream.readers:
                self._write_queue.add(SetFlag(SetFlag.SEEN, stream.header.id, time.monotonic()))
        if self._others:
            self._producer.announce_places()

    async def _watch(self) -> None:
        """While active, look at what other processes have written."""
        while True:
            await self._active.wait()
            await asyncio.sleep(WATCH if self._follower.following else STOPS if self._others else ALONE)
            if self._active.is_set():
                await leases.attempt(self._follower.look())

    def _stop(self, stream_id: str) -> bool:
        """Ask the producer of a stream to stop, if it is here; say whether it is."""
        writer = self._producer.writers.get(stream_id)
        if writer is None:
            return False
        writer.request_stop()
        return True

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise EngineUnavailable with the reason for what SQLite raises."""
        try:
            yield
        except sqlite3.Error as error:
            raise file_format.explain(error, self._path) from error

    async def _in_reader(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._reader, call)
