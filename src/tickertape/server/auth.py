"""Access control: the `Host` and `Origin` of a request, and who it is from (API key or session cookie).

A server on loopback is reachable from every web page that its user opens. Three checks prevent that: a foreign
`Host` is refused (DNS rebinding), a foreign `Origin` is refused, and bodies must be declared as JSON, which a
foreign page cannot send without a CORS preflight. `hosts` and `cors` hold the exceptions that the operator allows.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

import msgspec

from tickertape.asgi.requests import header, read_body, route_path, url_of
from tickertape.asgi.responses import reply, reply_error
from tickertape.errors import ApiError, InvalidRequest
from tickertape.server.cors import Shared, is_preflight, reply_preflight
from tickertape.server.hosts import LOOPBACK, TrustedProxies, is_address, is_loopback, name_of
from tickertape.server.login_throttle import LoginThrottle
from tickertape.server.sessions import Sessions
from tickertape.util.json_util import UNREADABLE

if TYPE_CHECKING:
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import App, Message, Receive, Send
    from tickertape.server.settings import Settings

COOKIE = "tickertape_session"
LOCAL = "local"
"""The owner of everything on a server without keys."""

WRONG_KEY = "invalid_api_key"
"""The code of our own refusals of a key, and of nobody else's."""

_OPEN = ("/", "/healthz", "/readyz", "/favicon.ico")
_SESSION = "/api/session"
_CHALLENGE: Headers = [(b"www-authenticate", b"Bearer")]


class AccessControl:
    """ASGI middleware: refuses who may not come in, and names the owner in ``scope["owner"]``.

    Pure ASGI: Starlette's BaseHTTPMiddleware hides disconnects and turns a crash into a clean end.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._proxies = TrustedProxies(settings)
        self._own = {*LOOPBACK, *settings.allow_hosts}
        if is_loopback(settings.host):
            self._own.add(settings.host.lower())
        self._walled = is_loopback(settings.host) or bool(settings.allow_hosts)
        self._owners = {_digest(key): f"key-{_digest(key)[:16]}" for key in settings.api_keys}
        self._sessions = Sessions(settings.data, settings.session_lifetime)
        self._logins = LoginThrottle(settings.login_attempts, time.monotonic)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = self._proxies.apply(scope)
        try:
            for host in hosts:
                self._check_host(host)
            other = self._other_origin(scope, hosts)
        except ApiError as error:
            await reply_error(send, error)
            return
        if other is not None:
            send = Shared(send, other)
        try:
            answer = self._answer(scope, own_page=other is None)
            if answer is not None:
                await answer(scope, receive, send)
                return
        except ApiError as error:
            await reply_error(send, error, _CHALLENGE if error.status == 401 else ())
            return
        await self._app(scope, receive, send)

    def _answer(self, scope: Message, *, own_page: bool) -> App | None:
        """Name the owner; or return what answers in place of the app. Raises ApiError for who may not come in."""
        path, method = route_path(scope), scope["method"]
        if not own_page and is_preflight(scope):
            return reply_preflight
        if scope["path"] == scope.get("root_path"):  # the page's own addresses are below the path
            return _redirect
        if path == _SESSION and method in ("POST", "DELETE"):
            if not own_page:
                raise InvalidRequest(
                    "Only this server's own page can sign in and out. Send the key with each request instead.",
                    status=403,
                    code="wrong_origin",
                )
            return self._begin_session if method == "POST" else self._end_session
        scope["owner"] = self._owner(scope, path, own_page=own_page)
        return None

    def _check_host(self, host: str) -> None:
        name = name_of(host)
        # With names that are allowed, an address is too: a foreign page's name is never one.
        if not self._walled or name in self._own or (not is_loopback(self._settings.host) and is_address(name)):
            return
        raise InvalidRequest(
            f"This server does not answer as {host!r}. Use 127.0.0.1 or localhost; or whoever runs it allows that "
            f"name, with --allow-host {name or 'NAME'}.",
            status=421,
            code="wrong_host",
        )

    def _other_origin(self, scope: Message, hosts: list[str]) -> str | None:
        """Return the other origin whose page asks; None for our own page and programs. Raises InvalidRequest."""
        origin = header(scope, b"origin")
        if origin is None or origin.partition("://")[2] in hosts:
            return None
        if origin in self._settings.allow_origins:
            return origin
        asked = hosts[-1] if hosts else "this server"
        raise InvalidRequest(
            f"A page of {origin!r} asked {asked!r}; only this server's own page may. Whoever runs it can allow that, "
            f"with --allow-origin {origin if '://' in origin else 'URL'}. A proxy in between must hand on the "
            "Host header.",
            status=403,
            code="wrong_origin",
        )

    def _owner(self, scope: Message, path: str, *, own_page: bool) -> str | None:
        """Return who asks: a key's digest, so that no key is ever stored. The cookie is for our own page alone."""
        if not self._owners:
            return LOCAL
        scheme, _space, key = (header(scope, b"authorization") or "").partition(" ")
        bearer = scheme.lower() == "bearer"
        owner = self._owner_of_key(key.strip()) if bearer else self._owner_of_cookie(scope) if own_page else None
        if owner is not None or path in _OPEN or path.startswith(("/assets/", "/c/")):
            return owner
        raise ApiError(
            "The key that was sent is not one of the server's."
            if bearer
            else "This server wants a key: send it as Authorization: Bearer KEY.",
            status=401,
            type="authentication_error",
            code=WRONG_KEY,
        )

    def _owner_of_key(self, key: str) -> str | None:
        digest, found = _digest(key).encode(), None
        for known, owner in self._owners.items():  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, known.encode()):
                found = owner
        return found

    def _owner_of_cookie(self, scope: Message) -> str | None:
        token = _cookie(scope)
        owner = self._sessions.owner(token) if token else None
        return owner if owner in self._owners.values() else None

    async def _begin_session(self, scope: Message, receive: Receive, send: Send) -> None:
        """Exchange a key for a cookie: EventSource cannot send headers."""
        if not self._owners:
            raise InvalidRequest(
                "This server has no keys: whoever can reach it may use it, and there is nothing to sign in to.",
                code="no_keys",
            )
        client = (scope.get("client") or ("unknown",))[0]
        self._logins.check(client)
        try:
            key = str(msgspec.json.decode(await read_body(scope, receive, 4096))["key"])
        except (*UNREADABLE, KeyError, TypeError) as error:
            raise InvalidRequest('The body must be {"key": "…"}.', param="key") from error
        owner = self._owner_of_key(key)
        if owner is None:
            self._logins.failed(client)
            raise ApiError(
                "This key is not one of the server's.", status=401, type="authentication_error", code=WRONG_KEY
            )
        token = await asyncio.to_thread(self._sessions.begin, owner)
        self._logins.succeeded(client, owner)
        await reply(send, 204, b"", [_set_cookie(scope, token, int(self._settings.session_lifetime))])

    async def _end_session(self, scope: Message, _receive: Receive, send: Send) -> None:
        """Sign out. Again, or without a session, that does nothing."""
        token = _cookie(scope)
        if token:
            await asyncio.to_thread(self._sessions.end, token)
        await reply(send, 204, b"", [_set_cookie(scope, "", 0)])


async def _redirect(scope: Message, _receive: Receive, send: Send) -> None:
    await reply(send, 308, b"", [(b"location", url_of(scope, "/").encode())])


def _digest(key: str) -> str:
    return hashlib.sha256(b"tickertape key " + key.encode("utf-8", "surrogatepass")).hexdigest()


def _set_cookie(scope: Message, token: str, seconds: int) -> tuple[bytes, bytes]:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    path = url_of(scope, "/")
    value = f"{COOKIE}={token}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}"
    return b"set-cookie", value.encode()


def _cookie(scope: Message) -> str:
    try:
        morsel = SimpleCookie(header(scope, b"cookie") or "").get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
