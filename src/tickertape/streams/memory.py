"""The promises in the plainest code: nothing outlives the process. The model in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.errors import StreamEnded, UnknownStream
from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter, now

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryEngine(Engine):
    """Keeps streams in a dict: for tests, and for ``tickertape ask`` without a server."""

    def __init__(self) -> None:
        self.writers: dict[str, StreamWriter] = {}  # of the streams that run
        self.ended: dict[str, float] = {}
        self._streams: dict[str, Stream] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, str]] = {}

    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter | Stream:
        if key is not None:
            digest, stream_id = self._keys.setdefault((header.owner, key.value), (key.digest, header.id))
            key.check(digest)
            if stream_id in self._streams:
                return self._streams[stream_id]
        stream = self._streams[header.id] = Stream(header, list(entries))
        writer = self.writers[header.id] = self.writer(stream)
        return writer

    def writer(self, stream: Stream) -> StreamWriter:
        """Return the writer of a new stream."""
        return MemoryWriter(self, stream)

    async def get(self, stream_id: str, owner: str) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.header.owner != owner:
            raise UnknownStream(stream_id)
        return stream

    async def reach(self, stream: Stream, number: int) -> bool:
        return len(stream.entries) >= number

    async def keyed(self, owner: str, key: Key) -> Stream | None:
        made = self._keys.get((owner, key.value))
        if made is None:
            return None
        key.check(made[0])
        return self._streams[made[1]]

    async def cancel(self, stream: Stream) -> None:
        writer = self.writers.get(stream.header.id)
        if writer is not None:
            writer.request_stop()

    async def expire(self, older_than: float) -> int:
        before = now() - older_than
        old = [stream_id for stream_id, ended in self.ended.items() if ended < before]
        await self.delete(old)
        return len(old)

    async def delete(self, streams: Sequence[str]) -> list[str]:
        old = self.ended.keys() & set(streams)
        for stream_id in old:
            del self._streams[stream_id], self.ended[stream_id]
        self._keys = {key: made for key, made in self._keys.items() if made[1] not in old}
        return [stream_id for stream_id in streams if stream_id in self._streams]

    async def reap(self) -> int:
        return 0  # the producer is this process: who reads this is alive


class MemoryWriter(StreamWriter):
    """Commits at once."""

    __slots__ = ("_engine",)

    def __init__(self, engine: MemoryEngine, stream: Stream) -> None:
        super().__init__(stream)
        self._engine = engine

    def append(self, entries: Sequence[bytes]) -> None:
        if self.stream.ended:
            raise StreamEnded(self.stream.header.id)
        self.stream.extend(entries)

    async def finish(self, entries: Sequence[bytes]) -> None:
        stream = self.stream
        if not stream.ended:
            self._engine.ended[stream.header.id] = now()
            self._engine.writers.pop(stream.header.id, None)
            stream.extend(entries, ended=True)

    async def fail(self, end: bytes) -> None:
        await self.finish([end])

    async def attended(self, within: float) -> bool:
        return self.stream.readers > 0
