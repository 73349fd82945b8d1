"""The stream log: what every engine promises, and how anybody reads.

A *stream* is an append-only sequence of entries 1..n, one answer. An entry is opaque bytes without a line
end; only the last one, the terminal entry, is marked as such by `finish`. Every engine promises:

* **Log first.** An entry can be read only after it is committed; what was read once can be read again, the same.
* **One end.** After the terminal entry nothing is appended. It is committed with the entries given along with it.
* **A log, not a bus.** A wake-up carries no data and may be spurious; a reader is an index and asks again.
* **Dead producers are noticed.** A stream whose producing process has died is ended by `reap`, never left open.

A `Tape` is one stream as this process sees it. All readers of a stream in a process share one tape.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import KeyReused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tickertape.errors import LogError

_EPOCH = time.time() - time.monotonic()


def now() -> float:
    """Return the seconds since 1970, by the clock as it was when this process began and as time has passed since.

    Engines date ends with it: if the machine's clock is set forward by a day, what has just ended is not a day old.
    """
    return _EPOCH + time.monotonic()


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


class Tape:
    """One stream in this process: its committed entries, and who wants to know of more.

    ``entries[i]`` is event i + 1. ``ended`` is true once the last of them is the terminal entry. ``stop`` is true
    once someone asked to stop the answer. ``error`` is set when the log could not commit an append. ``on_stop`` is
    called when one of the two was set. ``readers`` counts who reads it live in this process; ``on_leave`` is called
    when one of them has left. ``queued`` is its place in the line while its answer waits to be produced, else 0.
    """

    __slots__ = (
        "__weakref__",
        "_listeners",
        "ended",
        "entries",
        "error",
        "header",
        "on_leave",
        "on_stop",
        "queued",
        "readers",
        "stop",
    )

    def __init__(self, header: Header, entries: list[bytes] | None = None, *, ended: bool = False) -> None:
        self.header = header
        self.entries = entries if entries is not None else []
        self.ended = ended
        self.stop = False
        self.error: LogError | None = None
        self.readers = 0
        self.queued = 0
        self.on_leave: Callable[[], object] | None = None
        self.on_stop: Callable[[], object] | None = None
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
        """Call ``wake`` on the event loop after every commit, stop or end; it must be quick and not raise."""
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
        if (self.stop or self.error is not None) and self.on_stop is not None:
            self.on_stop()
        for listener in self._listeners:
            listener()


async def follow(tape: Tape, after: int = 0) -> AsyncIterator[list[bytes]]:
    """Yield the entries after ``after`` as they are committed, until the terminal entry was among them."""
    while True:
        entries = tape.read(after)
        if entries:
            after += len(entries)
            yield entries
        elif tape.ended:
            return
        else:
            await tape.wait(after)


class Log(ABC):
    """An engine. Open it with ``async with``; use it from that event loop only."""

    async def __aenter__(self) -> Log:
        """Open the log and end what died before. Raises LogUnavailable with the reason."""
        return self

    async def __aexit__(self, *_exc: object) -> None:  # noqa: B027 - memory has nothing to close
        """Commit what was appended, then close."""

    @abstractmethod
    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> tuple[Tape, bool]:
        """Begin a stream with its first entries, committed, and say whether it is new.

        With a key that this owner has used before, nothing is created: the stream made then is returned. Stream and
        key are stored in one transaction. Raises KeyReused if the digest differs, LogUnavailable if the log
        cannot be written. Do not cancel it: the stream may exist already, and somebody must end it.
        """

    @abstractmethod
    async def append(self, tape: Tape, entries: Sequence[bytes]) -> None:
        """Hand entries over for the next commit. Waits only while the log is far behind.

        Only the process that created the stream may append. Raises StreamEnded after the end, and
        LogUnavailable if an earlier append of this stream could not be committed.
        """

    @abstractmethod
    async def finish(self, tape: Tape, entries: Sequence[bytes]) -> None:
        """Commit the last entries, of which the last is the terminal entry, and return when that is done.

        Does nothing on an ended stream. Raises LogUnavailable if they, or what was appended before, could not be
        committed: then say so with `fail`.
        """

    @abstractmethod
    async def fail(self, tape: Tape, end: bytes) -> None:
        """End a stream that could not be committed, with this terminal entry after what was committed.

        If the log can still not be written, live readers are shown the entry all the same, for none may hang. It is
        committed as soon as that is possible; if this process does not live to see that, the stream ends as lost.
        """

    @abstractmethod
    async def get(self, stream_id: str, owner: str) -> Tape:
        """Return the stream's tape, from memory or disk. Raises UnknownStream, also for another owner's."""

    @abstractmethod
    async def reach(self, tape: Tape, number: int) -> bool:
        """Say whether the stream has so many entries; if so, the tape has them when this returns.

        A reader may have been shown them by another process before this one was told that they are committed.
        """

    @abstractmethod
    async def keyed(self, owner: str, key: Key) -> Tape | None:
        """Return the stream that this owner's key has begun, None if there is none. Raises KeyReused, as `create`."""

    @abstractmethod
    async def cancel(self, tape: Tape) -> None:
        """Ask the producer, in whatever process it lives, to stop. Idempotent."""

    @abstractmethod
    async def attended(self, tape: Tape, within: float) -> bool:
        """Say whether anybody reads this stream, here or in another process within the last so many seconds."""

    @abstractmethod
    async def expire(self, before: float) -> int:
        """Forget streams that ended before this time, as `now` counts it, with their keys; return how many."""

    @abstractmethod
    async def forget(self, streams: Sequence[str]) -> list[str]:
        """Forget these streams with their keys: what they belong to was deleted. Return those that have not ended.

        These are still there, to be forgotten another time.
        """

    async def probe(self) -> None:  # noqa: B027 - memory can always be written
        """Commit something that says nothing. Raises LogUnavailable with the reason if that is not possible."""

    @abstractmethod
    async def reap(self) -> int:
        """End the streams of dead producers with the terminal entry for lost; return how many."""
