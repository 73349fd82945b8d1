"""How much a server takes on: each number with its reason."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on answers. Beyond one there is a clear error, never silence."""

    running: int = 10_000
    """Answers that are produced at the same time, whatever the provider: some 50 kB of memory each."""
    per_owner: int = 10_000
    """Of these for one owner. A server with several keys wants less, so that one cannot take it all."""
    waiting: int = 1_000
    """Answers that may wait in line for a provider that is busy; the next one is told to come again (429)."""
    seconds: float = 3600.0
    """How long one answer may take, its turn in the line not counted."""
    events: int = 500_000
    """Events in one stream: ten times the longest answer of today's models."""
    size: int = 64 * 1024 * 1024
    """Bytes in one stream."""
