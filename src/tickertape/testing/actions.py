"""What a scripted upstream can do on a connection."""

from __future__ import annotations

import asyncio  # noqa: TC003 - msgspec reads the annotations
from enum import Enum

import msgspec


class Final(Enum):
    """How a script ends: no bytes are sent after it."""

    END = "end the body as HTTP says, and keep the connection"
    CLOSE = "close the connection"
    RESET = "send a TCP reset"
    HANG = "say nothing more, until the other side closes"


class Raw(msgspec.Struct, frozen=True):
    """Bytes for the connection as they are: heads, and what is no HTTP."""

    data: bytes


class Body(msgspec.Struct, frozen=True):
    """Bytes of the body, framed as the head has promised, in one piece."""

    data: bytes


class Token(msgspec.Struct, frozen=True):
    """A piece of the answer: a body's bytes that are due at the upstream's pace."""

    data: bytes


class Wait(msgspec.Struct, frozen=True):
    """Silence, in seconds."""

    seconds: float


class Gate(msgspec.Struct, frozen=True):
    """Silence until the test says so."""

    event: asyncio.Event


class Head(msgspec.Struct, frozen=True):
    """The status line and headers. A body that is not ``chunked`` ends with its length, or with the connection."""

    status: int = 200
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    chunked: bool = True


Action = Final | Raw | Body | Token | Wait | Gate | Head


def answering(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> list[Action]:
    """Return the actions of a whole response. Headers are given with underscores."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    fields.append(("Content-Length", str(len(body))))
    return [Head(status, content_type, tuple(fields), chunked=False), Body(body), Final.END]
