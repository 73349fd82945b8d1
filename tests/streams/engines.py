"""The engines that the contract suite runs on, and words for building streams."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from tickertape.deltas import encode_delta
from tickertape.generation import LOST as LOST_END
from tickertape.streams.contract import Header, Key, follow
from tickertape.streams.memory import MemoryLog
from tickertape.streams.sqlite.engine import SqliteLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tickertape.streams.contract import Log, Tape

LOST = encode_delta(LOST_END)
DONE = b'.{"state":"completed","finish_reason":"stop"}'

Factory = "Callable[[Path, bytes], Log]"

ENGINES: dict[str, Callable[[Path, bytes], Log]] = {
    "memory": lambda _folder, _lost: MemoryLog(),
    "sqlite": lambda folder, lost: SqliteLog(folder / "tape.db", lost=lost),
}

_numbers = count(1)


def load(name: str) -> Callable[[Path, bytes], Log]:
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


async def begin(log: Log, *entries: bytes, owner: str = "ann") -> Tape:
    """Begin a stream without a key."""
    tape, fresh = await log.create(new_header(owner), list(entries) or [text(1)])
    assert fresh
    return tape


async def whole(tape: Tape, after: int = 0) -> list[bytes]:
    """Read a stream to its end."""
    return [entry async for entries in follow(tape, after) for entry in entries]


async def caught_up(tape: Tape, size: int) -> None:
    """Wait until so many entries are committed."""
    while len(tape.entries) < size:
        await tape.wait(len(tape.entries))


@contextmanager
def counted(tape: Tape) -> Iterator[list[int]]:
    """Count a tape's wake-ups: the number of entries at each."""
    calls: list[int] = []

    def wake() -> None:
        calls.append(len(tape.entries))

    tape.listen(wake)
    try:
        yield calls
    finally:
        tape.unlisten(wake)
