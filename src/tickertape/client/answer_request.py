"""The requests for an answer, and where they go. Pure: no I/O here.

The URL may be a base or an endpoint; one rule tells them apart (`endpoint`)::

    http://host:8000                  no path: a server            + /v1/chat/completions
    https://host/openai/v1            ends in a version or a "/":  + /chat/completions
    https://host/v1beta/openai/       a base
    http://host/api/openai/stream     anything else: an endpoint   as it is
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec

from tickertape.client.request import HttpRequest, RequestTemplate
from tickertape.sse.actions import Connect, Policy
from tickertape.sse.reconnect import origin, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tickertape.errors import ConnectionFailed

TICKERTAPE_ROUTE = "/api/openai/stream"
"""A route that only tickertape has: there, sending a POST again under its key is known to be safe."""

KEY = "Idempotency-Key"
"""One POST, one answer: the server attaches a second POST under the same key to the first one's answer."""

NO_STREAM = "0" * 32
"""The id of no stream: ids are drawn at random, and this one will not be."""

_VERSION = re.compile(r"v[0-9]+[a-z0-9]*")


class AnswerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for an answer: where, what, and how hard to try."""

    url: str
    json: dict[str, Any] | None
    headers: dict[str, str]
    auth: str | None
    policy: Policy


def endpoint(url: str) -> str:
    """Return the URL that takes the POST; the rule above. A query stays where it is. Raises ValueError."""
    if resolve(url, "") is None:
        raise ValueError(f"A server's URL starts with http:// or https:// and a host; this was {url!r}.")
    parts = urlsplit(url)
    path = parts.path
    if path in ("", "/"):
        path = "/v1/chat/completions"
    elif path.endswith("/"):
        path += "chat/completions"
    elif _VERSION.fullmatch(path.rpartition("/")[2]):
        path += "/chat/completions"
    return urlunsplit(parts._replace(path=path))


def stream_url(url: str, attach: str) -> str:
    """Return the URL of an existing stream: ``attach`` is its id on the tickertape server at ``url``, or its URL."""
    if "/" in attach:
        return urljoin(url, attach)
    parts = urlsplit(endpoint(url))
    for route in (TICKERTAPE_ROUTE, "/v1/chat/completions"):
        if parts.path.endswith(route):
            return urlunsplit(parts._replace(path=f"{parts.path.removesuffix(route)}/v1/streams/{attach}", query=""))
    raise ValueError(
        f"Stream {attach!r} cannot be found from {url!r}: give the server's base URL, or the stream's own."
    )


def cancellation(asked: AnswerRequest, location: str) -> HttpRequest:
    """Return the POST that stops the stream at this location."""
    parts = urlsplit(location)
    return _call(asked, "POST", urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/cancel", query="")))


def probe(asked: AnswerRequest, error: ConnectionFailed) -> HttpRequest | None:
    """Return a GET that tells whether a POST may be sent again after this error; None if it may not be.

    A POST whose connection was cut before the answer began may be on its way to being answered. Only tickertape, which
    knows it by its key, may get it again, and only tickertape answers this GET, for a stream that cannot exist, as
    `is_tickertape` wants it.
    """
    if error.status is not None or asked.policy.repost or asked.policy.max_retries == 0:
        return None
    try:
        return _call(asked, "GET", stream_url(asked.url, NO_STREAM))
    except ValueError:
        return None


def is_tickertape(status: int, body: bytes) -> bool:
    """Tell whether this is how tickertape speaks of a stream that it does not have."""
    return status == 404 and b'"unknown_stream"' in body


def repeatable(asked: AnswerRequest) -> AnswerRequest:
    """Return the request for a server that is known to answer it once, however often it is sent."""
    return msgspec.structs.replace(asked, policy=msgspec.structs.replace(asked.policy, repost=True))


def _call(asked: AnswerRequest, method: str, url: str) -> HttpRequest:
    """Return a request without a body, with the headers and credentials of the POST but without its key."""
    headers = {"Accept": "application/json"} | {name: value for name, value in asked.headers.items() if name != KEY}
    connect = Connect(method, url, b"", with_body=False, same_origin=origin(url) == origin(asked.url))
    return RequestTemplate(headers=headers).render(connect, asked.auth)


def stream_id(location: str | None) -> str | None:
    """Return the id of the stream at this location."""
    return urlsplit(location).path.rstrip("/").rpartition("/")[2] if location else None


def prepare(
    url: str,
    messages: str | Sequence[Mapping[str, Any]] | None,
    *,
    model: str | None,
    api_key: str | None,
    attach: str | None,
    headers: Mapping[str, str] | None,
    idempotency_key: str | None,
    read_timeout: float | None,
    reconnection_time: float,
    max_retries: int,
    parameters: Mapping[str, Any],
) -> AnswerRequest:
    """Return the request for an answer; `tickertape.ask` documents the arguments. Raises ValueError."""
    if (messages is None) == (attach is None):
        raise ValueError("Give either messages, to ask something, or attach, to follow an answer that exists.")
    sent = dict(headers or {})
    body: dict[str, Any] | None = None
    if attach is not None:
        target = stream_url(url, attach)
    else:
        target = endpoint(url)
        given = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages or ())
        body = {"messages": given, "stream": True, **({"model": model} if model else {}), **parameters}
        sent[KEY] = idempotency_key or secrets.token_hex(16)
    ours = attach is not None or urlsplit(target).path.endswith(TICKERTAPE_ROUTE)
    policy = Policy(
        # OpenAI's reasoning models may think in silence for minutes, and its own client waits 600 s. tickertape sends
        # a heartbeat every 15 s.
        read_timeout=read_timeout or (60.0 if ours else 600.0),
        reconnection_time=reconnection_time,
        max_retries=max_retries,
        max_delay=10.0,
        recover=True,
        repost=ours or idempotency_key is not None,
        await_server=False,
    )
    return AnswerRequest(
        url=target, json=body, headers=sent, auth=f"Bearer {api_key}" if api_key else None, policy=policy
    )
