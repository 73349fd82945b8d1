"""The words of `tickertape.sse.reconnect`: what can be chosen, what can happen, what is to be done."""

from __future__ import annotations

from enum import Enum, StrEnum

import msgspec


class ReadyState(StrEnum):
    """Where a source stands; the standard's readyState, with its waiting told apart from its connecting."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


class Loss(Enum):
    """How a connection was lost; the value is the sentence's verb."""

    ENDED = "ended"
    BROKEN = "broke"
    SILENT = "fell silent"
    UNREACHABLE = "could not be made"
    FUTILE = "cannot be made"


class Verdict(Enum):
    """What the head of an answer means."""

    READ = "read"
    END = "end"
    FOLLOW = "follow"
    RETRY = "retry"
    REFUSE = "refuse"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be chosen about reconnecting. Times are in seconds."""

    reconnection_time: float = 3.0
    """Until the stream says otherwise; what browsers take."""
    max_delay: float = 60.0
    """The back-off's ceiling; a longer reconnection time still stands."""
    max_wait: float = 3600.0
    """A stream or server that asks for more than this is told no, with an error."""
    max_retries: int | None = None
    """Connections in a row that bring no event before giving up; None: never; 0: one connection only."""
    max_redirects: int = 20
    """In a row; the limit of the Fetch standard."""
    read_timeout: float | None = None
    """Silence after which a connection counts as lost. Comments feed it: a heartbeat keeps it quiet."""
    connect_timeout: float = 10.0
    """How long making a connection may take."""
    recover: bool = False
    """Treat `RETRYABLE` statuses on a reconnect as a cut. The standard ends there, and so do browsers."""
    repost: bool = False
    """Send a method that is not idempotent again: the caller knows that the server can tell."""
    await_server: bool = True
    """Wait for a server that cannot be reached at the very first attempt, as the standard does."""


class Connect(msgspec.Struct, frozen=True):
    """Send this request; then call `answered`, or `lost` if that fails."""

    method: str
    url: str
    last_event_id: bytes
    """The value of ``Last-Event-ID``, raw UTF-8; empty: do not send the header."""
    with_body: bool
    same_origin: bool
    """False: a redirect led elsewhere; credentials for the first origin must not be sent."""


class Read(msgspec.Struct, frozen=True):
    """Read the body, pass each piece to `feed`; then call `lost`, also when a read takes longer than ``timeout``."""

    timeout: float | None


class Wait(msgspec.Struct, frozen=True):
    """Wait so many seconds, then call `connect`."""

    seconds: float
    reason: str
    """A sentence: what happened."""
    attempt: int
    """Which connection in a row without an event the next one is; 1 after a healthy one."""


class Stop(msgspec.Struct, frozen=True):
    """It is over. ``error`` is None if the stream ended as it may, or the sentence that says why it did not."""

    error: str | None = None
    status: int | None = None
