"""What is answered without a stream: JSON, and errors in the dialect of the request."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.dialects import DEFAULT
from tickertape.errors import error_object, to_api_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickertape.asgi.types import Send
    from tickertape.dialects import Dialect
    from tickertape.errors import TickertapeError

Headers = list[tuple[bytes, bytes]]

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform keeps proxies and service workers from compressing or rewriting what must be flushed per event
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx buffers without it: 0 bytes in 3 s
    (b"x-content-type-options", b"nosniff"),
]

_json = msgspec.json.Encoder().encode


async def start(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Send the status line and the headers."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def reply(send: Send, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a whole response. 204 and 304 have no body, and no length (RFC 9110, section 8.6)."""
    length = [(b"content-length", b"%d" % len(body))] if status not in (204, 304) else []
    await start(send, status, [*length, *headers])
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, body: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send a JSON response that nobody keeps."""
    fixed = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await reply(send, status, _json(body), [*fixed, *headers])


async def reply_error(
    send: Send, error: TickertapeError, headers: Iterable[tuple[bytes, bytes]] = (), dialect: Dialect = DEFAULT
) -> None:
    """Send an error: its status, and the body that the clients of the dialect expect."""
    error = to_api_error(error)
    await reply_failure(send, error_object(error), error.status, error.retry_after, headers, dialect)


async def reply_failure(
    send: Send,
    error: dict[str, Any],
    status: int,
    retry_after: float | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
    dialect: Dialect = DEFAULT,
) -> None:
    """Send an error object that exists already, as a stream's terminal entry holds it."""
    headers = list(headers)
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(retry_after)))
    await reply_json(send, dialect.error(error), status, headers)
