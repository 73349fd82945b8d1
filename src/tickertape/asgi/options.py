"""What the API can be told, by whoever serves it."""

from __future__ import annotations

import msgspec


class AppOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of an app."""

    disconnect: str = "abandon_after=15"
    """What becomes of an answer that nobody reads: continue, cancel or abandon_after=SECONDS; a request may differ.

    ``/v1/chat/completions`` without an Idempotency-Key cancels at once: nobody can come back for such an answer."""
    conversation_disconnect: str = "continue"
    """The same for the answers of conversations: who comes back to a page expects to find them."""
    patience: float = 1.0
    """Seconds that the status line waits for a fast error of the upstream."""
    max_body: int = 32 * 1024 * 1024
    """Bytes of a request: images come as base64."""
    max_messages: int = 2000
    """Messages in a request."""
