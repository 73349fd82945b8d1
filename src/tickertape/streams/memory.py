"""The promises in the plainest code: nothing outlives the process. The model in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.errors import StreamEnded, UnknownStream
from tickertape.streams.contract import Header, Key, Log, Tape, now

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryLog(Log):
    """Keeps streams in a dict: for tests, and for ``tickertape ask`` without a server."""

    def __init__(self) -> None:
        self._tapes: dict[str, Tape] = {}
        self._ended: dict[str, float] = {}
        self._keys: dict[tuple[str, str], tuple[bytes, str]] = {}

    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> tuple[Tape, bool]:
        if key is not None:
            digest, stream_id = self._keys.setdefault((header.owner, key.value), (key.digest, header.id))
            key.check(digest)
            if stream_id in self._tapes:
                return self._tapes[stream_id], False
        tape = self._tapes[header.id] = Tape(header, list(entries))
        return tape, True

    async def append(self, tape: Tape, entries: Sequence[bytes]) -> None:
        if tape.ended:
            raise StreamEnded(tape.header.id)
        tape.extend(entries)

    async def finish(self, tape: Tape, entries: Sequence[bytes]) -> None:
        if not tape.ended:
            self._ended[tape.header.id] = now()
            tape.extend(entries, ended=True)

    async def fail(self, tape: Tape, end: bytes) -> None:
        await self.finish(tape, [end])

    async def get(self, stream_id: str, owner: str) -> Tape:
        tape = self._tapes.get(stream_id)
        if tape is None or tape.header.owner != owner:
            raise UnknownStream(stream_id)
        return tape

    async def reach(self, tape: Tape, number: int) -> bool:
        return len(tape.entries) >= number

    async def keyed(self, owner: str, key: Key) -> Tape | None:
        made = self._keys.get((owner, key.value))
        if made is None:
            return None
        key.check(made[0])
        return self._tapes[made[1]]

    async def cancel(self, tape: Tape) -> None:
        if not tape.ended:
            tape.stop = True
            tape.wake()

    async def attended(self, tape: Tape, within: float) -> bool:
        return tape.readers > 0

    async def expire(self, before: float) -> int:
        old = [stream_id for stream_id, ended in self._ended.items() if ended < before]
        await self.forget(old)
        return len(old)

    async def forget(self, streams: Sequence[str]) -> list[str]:
        old = self._ended.keys() & set(streams)
        for stream_id in old:
            del self._tapes[stream_id], self._ended[stream_id]
        self._keys = {key: made for key, made in self._keys.items() if made[1] not in old}
        return [stream_id for stream_id in streams if stream_id in self._tapes]

    async def reap(self) -> int:
        return 0  # the producer is this process: who reads this is alive
