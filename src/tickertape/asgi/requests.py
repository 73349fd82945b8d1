"""What callers ask for: the body of a request, read within limits and checked, with a sentence for what is wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import msgspec

from tickertape.dialects import DEFAULT, DIALECTS
from tickertape.errors import InvalidRequest
from tickertape.providers.base import ChatRequest
from tickertape.streams.contract import Key
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Receive
    from tickertape.dialects import Dialect

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_OURS = frozenset({"messages", "model", "stream", "stream_options"})
_MAX_KEY = 255

DIALECT = "tickertape.dialect"
"""The key in the scope under which the request's dialect is, once it is known."""


class Ask(msgspec.Struct, frozen=True):
    """One question: what goes to the provider, and what concerns only us."""

    model: str | None
    messages: list[dict[str, Any]]
    parameters: dict[str, Any]
    stream: bool
    show_usage: bool
    key: Key | None
    abandon_after: float | None

    def request(self, model: str) -> ChatRequest:
        """Return the question for a provider's model."""
        return ChatRequest(model=model, messages=self.messages, parameters=self.parameters)


def header(scope: Message, name: bytes) -> str | None:
    """Return a request header's value, None if it is absent. Bytes that are not UTF-8 are replaced."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "utf-8", "replace")
    return None


def query(scope: Message) -> dict[str, str]:
    """Return the parameters of the query; of those that come several times, the last."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def dialect_of(scope: Message, default: Dialect = DEFAULT) -> Dialect:
    """Return the dialect that the query asks for, ``default`` if none. Raises InvalidRequest for one that there is not.

    From then on the errors of this request are in it.
    """
    name = query(scope).get("dialect", default.name)
    if name not in DIALECTS:
        raise InvalidRequest(f"dialect is one of {', '.join(DIALECTS)}; it was {name[:80]!r}.", param="dialect")
    dialect = scope[DIALECT] = DIALECTS[name]
    return dialect


def complete_path(scope: Message) -> None:
    """Let ``path`` begin with ``root_path``, as ASGI wants it.

    It does not where a proxy takes a prefix off, the host names that prefix as its ``root_path`` alone, and this app is
    mounted in it: of ``/api`` and a mount at ``/ai``, ``root_path`` is ``/api/ai``, and ``path`` begins with ``/ai``.
    """
    root, path = str(scope.get("root_path", "")).rstrip("/"), scope["path"]
    if not root or _below(root, path):
        return
    mount = root
    while mount and not _below(mount, path):
        rest = mount[1:].partition("/")[2]
        mount = f"/{rest}" if rest else ""
    scope["path"] = root + path.removeprefix(mount)


def _below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def route_path(scope: Message) -> str:
    """Return the path below the one where this app is."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


def url_of(scope: Message, path: str) -> str:
    """Return the URL, without scheme and host, of a path of this app, for the one who sent the request."""
    return quote(str(scope.get("root_path", ""))) + path  # ASGI's is decoded


async def read_body(scope: Message, receive: Receive, limit: int) -> bytes:
    """Return the request's body. Raises InvalidRequest for one that is too large, cut, or not declared as JSON."""
    declared = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    if declared != "application/json" and not declared.endswith("+json"):
        # Also a wall: a foreign web page can post plain text or forms here without asking, JSON it cannot.
        found = repr(declared) if declared else "not declared"
        raise InvalidRequest(
            f"The body must be JSON with Content-Type: application/json; it was {found}.",
            status=415,
            code="unsupported_media_type",
        )
    length = header(scope, b"content-length") or ""
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)  # before it is sent: a client may wait for a word (Expect: 100-continue)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest(
                "The connection was closed before the whole request had arrived.", code="incomplete_body"
            )
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(limit: int) -> InvalidRequest:
    return InvalidRequest(
        f"The body is larger than {limit:,} bytes, the limit of this server. Send fewer or smaller messages.",
        status=413,
        code="body_too_large",
    )


def parse_disconnect(policy: str) -> float | None:
    """Return after how many seconds without a reader an answer is cancelled; None for never.

    ``continue``, ``cancel`` or ``abandon_after=SECONDS``; raises ValueError for anything else.
    """
    match policy.partition("="):
        case ("continue", "", ""):
            return None
        case ("cancel", "", ""):
            return 0.0
        case ("abandon_after", "=", seconds) if 0 <= float(seconds) < 1e6:
            return float(seconds)
    raise ValueError(policy)


def parse_ask(scope: Message, body: bytes, *, max_messages: int, disconnect: str) -> Ask:
    """Return the checked question; ``disconnect`` is the policy unless the request says another.

    Raises InvalidRequest that names the field, what was read and what is allowed.
    """
    fields = parse_object(body)
    model, stream = fields.get("model"), fields.get("stream", False)
    if model is not None and not isinstance(model, str):
        raise InvalidRequest(f"model must be a string; it was {model!r}.", param="model")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest(f"stream must be true or false; it was {stream!r}.", param="stream")
    options = fields.get("stream_options") or {}
    if not isinstance(options, dict):
        raise InvalidRequest(f"stream_options must be an object; it was {options!r}.", param="stream_options")
    return Ask(
        model=model,
        messages=_messages(fields.get("messages"), max_messages),
        parameters={name: value for name, value in fields.items() if name not in _OURS},
        stream=bool(stream),
        show_usage=bool(options.get("include_usage")),
        key=parse_key(scope, body),
        abandon_after=parse_policy(scope, disconnect),
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds. Raises InvalidRequest for anything else."""
    try:
        fields = msgspec.json.decode(body)
    except UNREADABLE as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise InvalidRequest('The body must be a JSON object like {"messages": [{"role": "user", "content": "hi"}]}.')
    return fields


def parse_policy(scope: Message, default: str) -> float | None:
    """Return the seconds after which an answer without a reader is cancelled, as the request or the default says."""
    policy = header(scope, b"tickertape-disconnect") or default
    try:
        return parse_disconnect(policy)
    except ValueError:
        raise InvalidRequest(
            f"Tickertape-Disconnect is continue, cancel or abandon_after=SECONDS; it was {policy!r}."
        ) from None


def parse_messages(messages: Any, most: int) -> list[Any]:
    """Return the list of messages, each of which is still to be checked."""
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(
            'messages must be a list with at least one message like {"role": "user", "content": "hi"}.',
            param="messages",
        )
    if len(messages) > most:
        raise InvalidRequest(
            f"messages holds {len(messages):,} messages; at most {most:,} are allowed.", param="messages"
        )
    return messages


def _messages(messages: Any, most: int) -> list[dict[str, Any]]:
    checked = parse_messages(messages, most)
    for index, message in enumerate(checked):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest(f"{where} must be an object with role and content.", param=where)
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise InvalidRequest(
                f"{where}.role must be one of {', '.join(_ROLES)}; it was {role!r}.", param=f"{where}.role"
            )
        if not (isinstance(content, (str, list)) or (content is None and role == "assistant")):
            raise InvalidRequest(f"{where}.content must be a string or a list of parts.", param=f"{where}.content")
    return checked


def parse_key(scope: Message, body: bytes) -> Key | None:
    """Return the Idempotency-Key with a digest of the request: its body, and the stream that it continues."""
    value = header(scope, b"idempotency-key")
    if value is None:
        return None
    if not 0 < len(value) <= _MAX_KEY:
        raise InvalidRequest(f"An Idempotency-Key has 1 to {_MAX_KEY} characters; this one has {len(value)}.")
    continued = str(scope.get("path_params", {}).get("id", ""))  # perhaps that of a mount, which is any type
    return Key(value, hashlib.sha256(body + continued.encode("utf-8", "replace")).digest())
