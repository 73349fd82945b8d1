"""Who may come in: the host asked for, the page that asks, the key.

A server on loopback is reachable from every web page that its user opens. Three walls stand against that: a foreign
`Host` is refused (DNS rebinding), a foreign `Origin` is refused, and bodies must be declared as JSON, which a
foreign page cannot send without asking first.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import BadRequest, ProviderError
from tickertape.foreign_json import UNREADABLE
from tickertape.server.requests import header, read_body
from tickertape.server.responses import reply, reply_error

if TYPE_CHECKING:
    from tickertape.server.asgi import App, Message, Receive, Send
    from tickertape.server.settings import Settings

COOKIE = "tickertape_session"
LOCAL = "local"
"""The owner of everything on a server without keys."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OPEN = ("/", "/healthz", "/readyz", "/favicon.ico", "/api/session")


class Guard:
    """ASGI middleware: refuses who may not come in, and names the owner in ``scope["owner"]``.

    Pure ASGI: Starlette's BaseHTTPMiddleware hides disconnects and turns a crash into a clean end.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._names = {*_LOOPBACK, settings.host.lower()} if is_loopback(settings.host) else None
        self._owners = {_token(key): f"key-{_token(key)[:16]}" for key in settings.api_keys}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_host(scope)
            if scope["path"] == "/api/session" and scope["method"] == "POST":
                await self._begin_session(scope, receive, send)
                return
            scope["owner"] = self._owner(scope)
        except ProviderError as error:
            await reply_error(send, error)
        else:
            await self._app(scope, receive, send)

    def _check_host(self, scope: Message) -> None:
        host = (header(scope, b"host") or "").lower()
        if self._names is not None and _name(host) not in self._names:
            raise BadRequest(
                f"This server answers on this machine only, not as {host!r}. Use 127.0.0.1 or localhost.",
                status=421,
                code="wrong_host",
            )
        origin = header(scope, b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise BadRequest(
                f"A page of {origin!r} asked {host!r}; only this server's own page may. "
                "A proxy in between must hand on the Host header.",
                status=403,
                code="wrong_origin",
            )

    def _owner(self, scope: Message) -> str | None:
        """Return who asks: a key's digest, so that no key is ever stored."""
        if not self._owners:
            return LOCAL
        scheme, _space, key = (header(scope, b"authorization") or "").partition(" ")
        token = _token(key.strip()) if scheme.lower() == "bearer" else _cookie(scope)
        for known, owner in self._owners.items():
            if hmac.compare_digest(token.encode(), known.encode()):
                return owner
        if scope["path"] in _OPEN or scope["path"].startswith(("/assets/", "/c/")):
            return None
        raise ProviderError(
            "The key that was sent is not one of the server's."
            if scheme.lower() == "bearer"
            else "This server wants a key: send it as Authorization: Bearer KEY.",
            status=401,
            type="authentication_error",
            code="invalid_api_key",
        )

    async def _begin_session(self, scope: Message, receive: Receive, send: Send) -> None:
        """Exchange a key for a cookie: EventSource cannot send headers."""
        try:
            key = str(msgspec.json.decode(await read_body(scope, receive, 4096))["key"])
        except (*UNREADABLE, KeyError, TypeError) as error:
            raise BadRequest('The body must be {"key": "…"}.', param="key") from error
        token = _token(key)
        if self._owners and not any(hmac.compare_digest(token, known) for known in self._owners):
            raise ProviderError(
                "This key is not one of the server's.", status=401, type="authentication_error", code="invalid_api_key"
            )
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000{secure}"
        await reply(send, 204, b"", [(b"set-cookie", cookie.encode())])


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that is bound to this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _name(host: str) -> str:
    """Return the host without its port and brackets."""
    return host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def _token(key: str) -> str:
    return hashlib.sha256(b"tickertape key " + key.encode()).hexdigest()


def _cookie(scope: Message) -> str:
    try:
        morsel = SimpleCookie(header(scope, b"cookie") or "").get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
