"""The contract of an engine, that is of where streams live: what every engine promises, and how anybody reads.

A *stream* is an append-only sequence of entries 1..n, one answer. An entry is opaque bytes without a line
end; only the last one, the terminal entry, is marked as such by `StreamWriter.finish`. Every engine promises:

* **Log first.** An entry can be read only after it is committed; what was read once can be read again, the same.
* **One end.** After the terminal entry nothing is appended. It is committed with the entries given along with it.
* **A log, not a bus.** A wake-up carries no data and may be spurious; a reader is an index and asks again.
* **Dead producers are noticed.** A stream whose producing process has died is ended by `Engine.reap`, never left open.

A `Stream` is the read side, as this process sees it: all readers of a stream in a process share one. A `StreamWriter`
is the write side; only the process that has created the stream holds one.

Several processes may share what an engine keeps. Then these are its duties too, and none of them is the caller's:

* **Epochs.** A process that opens the engine gets an *epoch*, larger than all before: the fencing token. Every append,
  end and heartbeat is sent with the epoch of its writer, and is refused in the same step that would commit it once
  another process has taken this one for dead. It learns so by `Fenced`, at the latest with its next heartbeat, and
  goes on with a new epoch; its streams have ended as lost. A process sends its heartbeats by the way of its entries,
  so that they prove the whole way.
* **What is appended** is read in every process, soon and without a question per stream: one look is for all streams of
  others that are read here. Who comes with a cursor of another process finds it reached (`Engine.get`, `reach`).
* **A stop** reaches the producer (`StreamWriter.on_stop`), whichever process asks.
* **The place in the line** is known to readers everywhere (`Stream.queued`), and gone before they have text.
* **Who reads** anywhere counts for `StreamWriter.attended`, and no longer than a few heartbeats after it has left.
* **Keys and deletions** hold everywhere at once: one key, one stream; what is deleted is unknown, but to its readers.

A time in the contract is an age or a duration: clocks of two machines never meet. `tickertape.testing.engine_contract`
is the suite of tests for all of this, and ``docs/engines.md`` the instructions for an engine of your own.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import KeyReused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tickertape.errors import EngineError


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stream when it begins, and never changes: every reader renders the same bytes from it.

    ``id`` is unguessable, ASCII, at most 64 bytes. ``created`` is in seconds since 1970. Only ``owner`` may read.
    """

    id: str
    owner: str
    model: str
    created: int


class Key(msgspec.Struct, frozen=True):
    """An Idempotency-Key of one owner and a digest of the request body that came with it."""

    value: str
    digest: bytes

    def check(self, digest: bytes) -> None:
        """Raise KeyReused if it was used before with another body, whose digest this is."""
        if digest != self.digest:
            raise KeyReused(self.value)


class Stream:
    """One stream in this process: its committed entries, and who wants to know of more.

    ``entries[i]`` is event i + 1. ``ended`` is true once the last of them is the terminal entry. ``readers`` counts who
    reads it live in this process; ``on_leave`` is called when one of them has left. ``queued`` is its place in the line
    while its answer waits to be produced, 1 the next, else 0.
    """

    __slots__ = ("__weakref__", "_listeners", "ended", "entries", "header", "on_leave", "queued", "readers")

    def __init__(self, header: Header, entries: list[bytes] | None = None, *, ended: bool = False) -> None:
        self.header = header
        self.entries = entries if entries is not None else []
        self.ended = ended
        self.readers = 0
        self.queued = 0
        self.on_leave: Callable[[], object] | None = None
        self._listeners: list[Callable[[], object]] = []  # replaced, never changed: `wake` may walk through it

    def read(self, after: int) -> list[bytes]:
        """Return the committed entries after event number ``after``; none if there are none yet."""
        return self.entries[after:]

    async def wait(self, after: int) -> None:
        """Return when there may be entries after ``after``, or the stream has ended."""
        if self.ended or len(self.entries) > after:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        self.listen(wake)
        try:
            await woken
        finally:
            self.unlisten(wake)

    def enter(self) -> None:
        """Say that a reader has come; `leave` takes it back."""
        self.readers += 1

    def leave(self) -> None:
        """Say that a reader has left."""
        self.readers -= 1
        if self.on_leave is not None:
            self.on_leave()

    def listen(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` on the event loop after every commit and end; it must be quick and not raise."""
        self._listeners = [*self._listeners, wake]

    def unlisten(self, wake: Callable[[], object]) -> None:
        """Take one ``listen`` back."""
        left = self._listeners.copy()
        left.remove(wake)
        self._listeners = left

    def extend(self, entries: Sequence[bytes], *, ended: bool = False) -> None:
        """For engines: add committed entries and wake everybody."""
        self.entries.extend(entries)
        self.ended = self.ended or ended
        self.wake()

    def wake(self) -> None:
        """For engines: tell the listeners to look again. A listener may unlisten while it is called."""
        for listener in self._listeners:
            listener()


async def follow(stream: Stream, after: int = 0) -> AsyncIterator[list[bytes]]:
    """Yield the entries after ``after`` as they are committed, until the terminal entry was among them."""
    while True:
        entries = stream.read(after)
        if entries:
            after += len(entries)
            yield entries
        elif stream.ended:
            return
        else:
            await stream.wait(after)


class StreamWriter(ABC):
    """The write side of one stream, in the process that produces it; for one producer, on the event loop.

    ``stream`` is what others read, ``epoch`` the fencing token with which all of it is sent. ``stop_requested`` is true
    once somebody asked to stop the answer. ``error`` is set once an append could not be committed: nothing more is
    taken then, and `fail` ends the stream. ``on_stop`` is called when one of the two has come to be, ``on_leave`` when
    a reader in this process has left.
    """

    __slots__ = ("epoch", "error", "on_stop", "stop_requested", "stream")

    def __init__(self, stream: Stream, epoch: int) -> None:
        self.stream = stream
        self.epoch = epoch
        self.stop_requested = False
        self.error: EngineError | None = None
        self.on_stop: Callable[[], object] | None = None

    @property
    def on_leave(self) -> Callable[[], object] | None:
        """What is called when a reader in this process has left."""
        return self.stream.on_leave

    @on_leave.setter
    def on_leave(self, call: Callable[[], object] | None) -> None:
        self.stream.on_leave = call

    @abstractmethod
    def append(self, entries: Sequence[bytes]) -> None:
        """Hand entries over for the next commit. Returns at once; ask `behind` before more is read from upstream.

        Raises StreamEnded after the end, and EngineUnavailable if an earlier append could not be committed; Fenced, a
        kind of it, if that is because this process was taken for dead.
        """

    @property
    def behind(self) -> bool:
        """Whether the log is far behind the producer, who should wait until it has `drained`."""
        return False

    async def drained(self) -> None:  # noqa: B027 - an engine that is never behind has nothing to wait for
        """Return once the log is not far `behind` any more; at once if it is not."""

    @abstractmethod
    async def finish(self, entries: Sequence[bytes]) -> None:
        """Commit the last entries, of which the last is the terminal entry, and return when that is done.

        Does nothing on an ended stream. Raises EngineUnavailable if they, or what was appended before, could not be
        committed: then say so with `fail`.
        """

    @abstractmethod
    async def fail(self, end: bytes) -> None:
        """End a stream that could not be committed, with this terminal entry after what was committed.

        If the log can still not be written, live readers are shown the entry all the same, for none may hang. It is
        committed as soon as that is possible; if this process does not live to see that, the stream ends as lost.
        """

    @abstractmethod
    async def attended(self, within: float) -> bool:
        """Say whether anybody reads this stream, here or in another process within the last so many seconds."""

    def set_place(self, place: int) -> None:
        """Let all readers know the answer's place in the line, 1 the next; 0 when its turn has come."""
        if self.stream.queued != place:
            self.stream.queued = place
            self.stream.wake()

    def request_stop(self) -> None:
        """Ask this producer to stop, as `Engine.cancel` does from any process. Idempotent."""
        if not self.stop_requested:
            self.stop_requested = True
            self._interrupt()

    def break_off(self, error: EngineError) -> None:
        """For engines: say that an append could not be committed. The first error has the reason."""
        if self.error is None:
            self.error = error
        self._interrupt()
        self.stream.wake()  # whoever waits for an entry that will not come

    def _interrupt(self) -> None:
        if self.on_stop is not None:
            self.on_stop()


class Engine(ABC):
    """Where streams live. Open it with ``async with``; use it from that event loop only."""

    async def __aenter__(self) -> Engine:
        """Open the engine and end what died before. Raises EngineUnavailable with the reason."""
        return self

    async def __aexit__(self, *_exc: object) -> None:  # noqa: B027 - memory has nothing to close
        """Commit what was appended, then close."""

    @abstractmethod
    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter | Stream:
        """Begin a stream with its first entries, committed, and return its writer.

        With a key that this owner has used before, nothing is created: the stream made then is returned, to be read.
        Stream and key are stored in one transaction. Raises KeyReused if the digest differs, EngineUnavailable if the
        engine cannot be written. Do not cancel it: the stream may exist already, and somebody must end it.
        """

    @abstractmethod
    async def get(self, stream_id: str, owner: str) -> Stream:
        """Return the stream, from memory or disk. Raises UnknownStream, also for another owner's."""

    @abstractmethod
    async def reach(self, stream: Stream, number: int) -> bool:
        """Say whether the stream has so many entries; if so, they can be read when this returns.

        A reader may have been shown them by another process before this one was told that they are committed.
        """

    @abstractmethod
    async def keyed(self, owner: str, key: Key) -> Stream | None:
        """Return the stream that this owner's key has begun, None if there is none. Raises KeyReused, as `create`."""

    @abstractmethod
    async def cancel(self, stream: Stream) -> None:
        """Ask the producer, in whatever process it lives, to stop. Idempotent."""

    @abstractmethod
    async def expire(self, older_than: float) -> int:
        """Delete streams that ended more than so many seconds ago, with their keys; return how many.

        The age is by the engine's clock: a process whose own clock was set deletes nothing too early.
        """

    @abstractmethod
    async def delete(self, streams: Sequence[str]) -> list[str]:
        """Delete these streams with their keys: what they belong to was deleted. Return those that have not ended.

        These are still there, to be deleted another time.
        """

    async def probe(self) -> None:  # noqa: B027 - memory can always be written
        """Commit something that says nothing. Raises EngineUnavailable with the reason if that is not possible."""

    @abstractmethod
    async def reap(self) -> int:
        """End the streams of dead producers with the terminal entry for lost; return how many."""
