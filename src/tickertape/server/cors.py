"""Pages of other origins that may use this server: what CORS lets in and out, on streams and errors alike.

They identify themselves with a key. The cookie of somebody who is signed in here is not taken from them, and no
response of theirs says that it may be: a hole in another page of the same site would else be a hole in this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.asgi.connection import HeadSender
from tickertape.asgi.requests import header
from tickertape.asgi.responses import reply

if TYPE_CHECKING:
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import Message, Receive, Send

TAKEN = b"Authorization, Content-Type, Last-Event-ID, Idempotency-Key, Tickertape-Disconnect, Cache-Control"
"""Headers that a page may send, unless it names others that it wants to send: its origin is trusted, or it is none."""

SHOWN = b"Location, Tickertape-Stream, Tickertape-Cursor, Retry-After"
"""Headers of a response that a page may read, beside those that every page may."""

_METHODS = b"GET, HEAD, POST, PATCH, DELETE"
_AGE = b"7200"
"""Seconds that a browser may cache a preflight response; Chromium allows no more."""


class Shared(HeadSender):
    """A ``send`` whose response a page of another origin may read."""

    __slots__ = ("_headers",)

    def __init__(self, send: Send, origin: str) -> None:
        super().__init__(send)
        self._headers: Headers = [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", SHOWN),
            (b"vary", b"origin"),
        ]

    async def __call__(self, message: Message) -> None:
        """Send the message; the headers go with the first one."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *self._headers]}
        await self.below(message)


def is_preflight(scope: Message) -> bool:
    """Say whether a browser asks what a page may do."""
    return scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None


async def reply_preflight(scope: Message, _receive: Receive, send: Send) -> None:
    """Answer a browser that asks for a page of an allowed origin."""
    wanted = header(scope, b"access-control-request-headers")
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted.encode("latin-1", "replace") if wanted else TAKEN),
        (b"access-control-max-age", _AGE),
    ]
    if header(scope, b"access-control-request-private-network") == "true":  # a page on the internet, a server at home
        headers.append((b"access-control-allow-private-network", b"true"))
    await reply(send, 204, b"", headers)
