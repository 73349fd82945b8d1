"""The contract in the plainest code: nothing outlives the process. The model in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.errors import Fenced, StreamEnded, UnknownStream
from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryStore:
    """What `MemoryEngine` keeps. Several may share one, as processes share a file; they share its `Stream` objects too.

    ``epochs`` are those that may write. To take one out is to take its process for dead.
    """

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.writers: dict[str, StreamWriter] = {}  # of the streams that run
        self.ended: dict[str, float] = {}
        self.keys: dict[tuple[str, str], tuple[Key, Stream]] = {}
        self.epochs: set[int] = set()
        self._last = 0

    def join(self) -> int:
        """Return a new epoch, larger than all before."""
        self._last += 1
        self.epochs.add(self._last)
        return self._last

    def end(self, stream: Stream, entries: Sequence[bytes]) -> None:
        """End a running stream."""
        self.ended[stream.header.id] = now()
        del self.writers[stream.header.id]
        stream.extend(entries, ended=True)


class MemoryEngine(Engine):
    """Keeps streams in a dict: for tests, and for ``tickertape ask`` without a server.

    ``lost`` is the terminal entry for streams whose engine was closed, or taken for dead, before they had ended.
    """

    def __init__(self, store: MemoryStore | None = None, *, lost: bytes = b"") -> None:
        self.store = store or MemoryStore()
        self.epoch = self.store.join()
        self._lost = lost

    async def __aexit__(self, *_exc: object) -> None:
        self.store.epochs.discard(self.epoch)
        await self.reap()

    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter | Stream:
        existing = None if key is None else await self.keyed(header.owner, key)
        if existing is not None:
            return existing
        if self.epoch not in self.store.epochs:
            self.epoch = self.store.join()
        stream = self.store.streams[header.id] = Stream(header, list(entries))
        if key is not None:
            self.store.keys[header.owner, key.value] = key, stream
        writer = self.store.writers[header.id] = self.writer(stream)
        return writer

    def writer(self, stream: Stream) -> StreamWriter:
        """Return the writer of a new stream."""
        return MemoryWriter(self, stream)

    async def get(self, stream_id: str, owner: str) -> Stream:
        stream = self.store.streams.get(stream_id)
        if stream is None or stream.header.owner != owner:
            raise UnknownStream(stream_id)
        return stream

    async def reach(self, stream: Stream, number: int) -> bool:
        return len(stream.entries) >= number

    async def keyed(self, owner: str, key: Key) -> Stream | None:
        made = self.store.keys.get((owner, key.value))
        if made is None:
            return None
        made[0].check(key.digest)
        return made[1]

    async def cancel(self, stream: Stream) -> None:
        writer = self.store.writers.get(stream.header.id)
        if writer is not None:
            writer.request_stop()

    async def expire(self, older_than: float) -> int:
        before = now() - older_than
        old = [stream_id for stream_id, ended in self.store.ended.items() if ended < before]
        await self.delete(old)
        return len(old)

    async def delete(self, streams: Sequence[str]) -> list[str]:
        store = self.store
        old = store.ended.keys() & set(streams)
        for stream_id in old:
            del store.streams[stream_id], store.ended[stream_id]
        store.keys = {name: made for name, made in store.keys.items() if made[1].header.id not in old}
        return [stream_id for stream_id in streams if stream_id in store.streams]

    async def reap(self) -> int:
        dead = [writer for writer in self.store.writers.values() if writer.epoch not in self.store.epochs]
        for writer in dead:
            self.store.end(writer.stream, [self._lost])
            writer.break_off(Fenced())
        return len(dead)


class MemoryWriter(StreamWriter):
    """Commits at once."""

    __slots__ = ("_engine",)

    def __init__(self, engine: MemoryEngine, stream: Stream) -> None:
        super().__init__(stream, engine.epoch)
        self._engine = engine

    def append(self, entries: Sequence[bytes]) -> None:
        self._check()
        self.stream.extend(entries)

    async def finish(self, entries: Sequence[bytes]) -> None:
        if not self.stream.ended:
            self._check()
            self._engine.store.end(self.stream, entries)

    async def fail(self, end: bytes) -> None:
        self.error = None
        await self.finish([end])

    async def attended(self, within: float) -> bool:
        return self.stream.readers > 0

    def _check(self) -> None:
        """Refuse what comes after the end; `MemoryEngine.reap` sets the error of a writer with an old epoch."""
        if self.error is not None:
            raise self.error
        if self.stream.ended:
            raise StreamEnded(self.stream.header.id)
