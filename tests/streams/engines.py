"""The engines that the contract suite runs on, and words for building streams."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from tickertape.deltas import encode_delta
from tickertape.generation import LOST as LOST_END
from tickertape.streams.contract import Header, Key, Stream, StreamWriter, follow
from tickertape.streams.memory import MemoryEngine
from tickertape.streams.sqlite.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tickertape.streams.contract import Engine

LOST = encode_delta(LOST_END)
DONE = b'.{"state":"completed","finish_reason":"stop"}'

Factory = "Callable[[Path, bytes], Engine]"

ENGINES: dict[str, Callable[[Path, bytes], Engine]] = {
    "memory": lambda _folder, _lost: MemoryEngine(),
    "sqlite": lambda folder, lost: SqliteEngine(folder / "tape.db", lost=lost),
}

_numbers = count(1)


def load(name: str) -> Callable[[Path, bytes], Engine]:
    """Return the engine of this name, or the factory at MODULE:FACTORY."""
    if name in ENGINES:
        return ENGINES[name]
    module, _colon, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def new_header(owner: str = "ann") -> Header:
    """Return the header of a stream that was not there before."""
    return Header(id=f"{next(_numbers):032x}", owner=owner, model="echo", created=1_700_000_000)


def key(value: str = "k", digest: bytes = b"d") -> Key:
    return Key(value, digest)


def text(number: int, of: str = "") -> bytes:
    """Return entry ``number`` of a stream: a function of both, so that any entry can be checked."""
    return b't"%s %d"' % (of.encode(), number)


async def create(engine: Engine, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter:
    """Begin a stream that is new."""
    writer = await engine.create(header, entries, key)
    assert isinstance(writer, StreamWriter)
    return writer


async def begin(engine: Engine, *entries: bytes, owner: str = "ann") -> StreamWriter:
    """Begin a stream without a key."""
    return await create(engine, new_header(owner), list(entries) or [text(1)])


async def attach(engine: Engine, key: Key) -> Stream:
    """Repeat a request whose key has begun a stream before."""
    stream = await engine.create(new_header(), [text(99)], key)
    assert isinstance(stream, Stream)
    return stream


async def stopped(writer: StreamWriter) -> None:
    """Wait until somebody has asked to stop the answer."""
    asked = asyncio.Event()
    writer.on_stop = asked.set
    if not writer.stop_requested:
        await asked.wait()


async def whole(stream: Stream, after: int = 0) -> list[bytes]:
    """Read a stream to its end."""
    return [entry async for entries in follow(stream, after) for entry in entries]


async def caught_up(stream: Stream, size: int) -> None:
    """Wait until so many entries are committed."""
    while len(stream.entries) < size:
        await stream.wait(len(stream.entries))


@contextmanager
def counted(stream: Stream) -> Iterator[list[int]]:
    """Count a stream's wake-ups: the number of entries at each."""
    calls: list[int] = []

    def wake() -> None:
        calls.append(len(stream.entries))

    stream.listen(wake)
    try:
        yield calls
    finally:
        stream.unlisten(wake)
