"""The requests that both clients send, and the words for a refusal. Pure: no I/O here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import ConnectionFailed
from tickertape.sse.actions import Policy
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class HttpRequest(msgspec.Struct, frozen=True):
    """One request as it is sent. Header names are in lower case; ``last-event-id`` is to be sent as UTF-8."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class RequestTemplate:
    """What the caller wants to send, for every connection anew.

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
        self._body = msgspec.json.encode(json) if json is not None else body.encode() if isinstance(body, str) else body
        self.method = (method or ("GET" if self._body is None else "POST")).upper()
        self._headers = _DEFAULTS | ({"content-type": "application/json"} if json is not None else {})
        self._headers |= {name.lower(): value for name, value in (headers or {}).items()}

    def render(self, connect: Connect, authorization: str | None) -> HttpRequest:
        """Return the request for this connection. ``authorization`` is the value of that header, if it is to be sent.

        Credentials never go to another origin, and a request without its body has no content type.
        """
        headers = dict(self._headers)
        if not connect.same_origin:
            headers = {name: value for name, value in headers.items() if name not in _CREDENTIALS}
        elif authorization is not None:
            headers["authorization"] = authorization
        if not connect.with_body:
            headers.pop("content-type", None)
        if connect.last_event_id:
            headers["last-event-id"] = connect.last_event_id.decode()
        return HttpRequest(connect.method, connect.url, headers, self._body if connect.with_body else None)


def policy_with(policy: Policy | None, **fields: float | bool | None) -> Policy:
    """Return the policy, or the default one, with those of these fields that are not None."""
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.structs.replace(policy or Policy(), **given)


def connection_failed(stop: Stop, body: bytes = b"") -> ConnectionFailed:
    """Return the error for a `Stop`; the message in the refusal's body, if it has one, is part of its sentence."""
    message = excerpt(body)
    return ConnectionFailed(f"{stop.error}: {message}" if message else f"{stop.error}.", status=stop.status)


def excerpt(body: bytes) -> str:
    """Return the message in the body of a refusal, in one line; "" if there is none that a person would read."""
    try:
        value: Any = msgspec.json.decode(body)
    except UNREADABLE:
        text = body.decode("utf-8", "replace")
        return "" if "<" in text[:200] else _line(text)
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return _line(value) if isinstance(value, str) else ""


def log_reconnect(wait: Wait) -> None:
    """Write a reconnect to the log, for callers without ``on_reconnect``: no failure repeats in silence."""
    level = logging.WARNING if wait.attempt > 1 else logging.INFO
    log.log(level, "%s. Connecting again in %.1f s.", wait.reason, wait.seconds)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
