"""Checksums of what the SQLite log holds: a flipped bit is an error in words, never a part of an answer.

SQLite notices a damaged page only where its structure breaks; a byte of text that changed is read as it stands. So
every tick and every stream carries a CRC-32, which is compared whenever it is read:

* a tick's is over its producer and its body;
* a running stream's is over its header; once it has ended, over the header, the time of its end and the body.

`UNKNOWN` stands where a version without checksums wrote: such rows cannot be compared. A stream whose body that version
wrote, but not its row, has the checksum of the header alone.
"""

from __future__ import annotations

from zlib import crc32

UNKNOWN = -1
"""No CRC-32: of a row that was written without one."""


def tick(producer: int, body: bytes) -> int:
    """Return the checksum of a tick."""
    return crc32(body, producer & 0xFFFFFFFF)


def header(stream_id: str, owner: str, model: str, created: int) -> int:
    """Return the checksum of a stream that runs."""
    return crc32(f"{stream_id}\0{owner}\0{model}\0{created}".encode(errors="surrogateescape"))


def whole(header: int, ended: float, body: bytes) -> int:
    """Return the checksum of a stream that has ended, given that of its header."""
    return crc32(body, crc32(repr(ended).encode(), header))


def tick_is_intact(producer: object, body: object, crc: object) -> bool:
    """Say whether a tick is as it was written. What is read from a damaged row may be of any type."""
    if not isinstance(producer, int) or not isinstance(body, bytes):
        return False
    return crc in (tick(producer, body), UNKNOWN)


def stream_is_intact(header: int, ended: object, body: object, crc: object) -> bool:
    """Say whether a stream is as it was written, given the checksum of its header as it is now."""
    if body is None:
        return crc in (header, UNKNOWN)
    if not isinstance(body, bytes) or not isinstance(ended, float):
        return False
    return crc in (whole(header, ended, body), header, UNKNOWN)
