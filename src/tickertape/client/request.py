"""What both clients send, and what they say when it is refused. Pure: no I/O here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import ConnectionFailed
from tickertape.foreign_json import UNREADABLE
from tickertape.sse.actions import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickertape.sse.actions import Connect, Stop, Wait

log = logging.getLogger("tickertape.client")

EXCERPT = 4096
"""Bytes of a refusal's body that are read for its message."""
EXCERPT_TIMEOUT = 5.0
"""Seconds that reading them may take."""

_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "api-key"})
"""What never follows a redirect to another origin (RFC 9110 15.4; Fetch 4.4 drops the first)."""

_DEFAULTS = {
    "accept": "text/event-stream",
    "cache-control": "no-cache",
    # Compression saves little here, and what compresses often gathers: events would come late and in lumps.
    "accept-encoding": "identity",
    "user-agent": "tickertape",
}


class Request:
    """What the caller wants to send, ready to be addressed again and again.

    ``json`` is any value msgspec can encode; ``body`` is bytes or text. The method is POST if there is either,
    else GET. The caller's headers win over the defaults. Raises ValueError if both bodies are given.
    """

    def __init__(
        self,
        method: str | None = None,
        json: Any = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if json is not None and body is not None:
            raise ValueError("A request has one body: give either json or body, not both.")
        self.body = msgspec.json.encode(json) if json is not None else body.encode() if isinstance(body, str) else body
        self.method = (method or ("GET" if self.body is None else "POST")).upper()
        self._headers = _DEFAULTS | ({"content-type": "application/json"} if json is not None else {})
        self._headers |= {name.lower(): value for name, value in (headers or {}).items()}

    def headers_for(self, connect: Connect, authorization: str | None) -> dict[str, str]:
        """Return the headers of this connection. ``authorization`` is what the caller's ``auth`` gave for it."""
        headers = dict(self._headers)
        if not connect.same_origin:
            headers = {name: value for name, value in headers.items() if name not in _CREDENTIALS}
        elif authorization is not None:
            headers["authorization"] = authorization
        if not connect.with_body:
            headers.pop("content-type", None)
        return headers

    def body_for(self, connect: Connect) -> bytes | None:
        """Return the body of this connection."""
        return self.body if connect.with_body else None


def chosen(
    policy: Policy | None,
    *,
    reconnection_time: float | None,
    read_timeout: float | None,
    max_retries: int | None,
    recover: bool | None,
    repost: bool | None,
) -> Policy:
    """Return the policy with the given of its commonest fields put in."""
    given = {
        "reconnection_time": reconnection_time,
        "read_timeout": read_timeout,
        "max_retries": max_retries,
        "recover": recover,
        "repost": repost,
    }
    return msgspec.structs.replace(policy or Policy(), **{k: v for k, v in given.items() if v is not None})


def failed(stop: Stop, body: bytes = b"") -> ConnectionFailed:
    """Return the error for a `Stop`; the message in the refusal's body, if it has one, is part of its sentence."""
    said = excerpt(body)
    return ConnectionFailed(f"{stop.error}: {said}" if said else f"{stop.error}.", status=stop.status)


def excerpt(body: bytes) -> str:
    """Return what the body of a refusal says, in one line; "" if it says nothing a person would read."""
    try:
        value: Any = msgspec.json.decode(body)
    except UNREADABLE:
        text = body.decode("utf-8", "replace")
        return "" if "<" in text[:200] else _line(text)
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return _line(value) if isinstance(value, str) else ""


def tell(wait: Wait, on_reconnect: Callable[[Wait], object] | None) -> None:
    """Tell of a reconnect: the callback if there is one, else the log, so that no failure repeats in silence."""
    if on_reconnect is not None:
        on_reconnect(wait)
    else:
        level = logging.WARNING if wait.attempt > 1 else logging.INFO
        log.log(level, "%s. Connecting again in %.1f s.", wait.reason, wait.seconds)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
