"""A line for each request that failed, or for every one: when its head is sent, never per token.

``GET /v1/streams/3f… 404 1.2 ms owner=key-… stream=3f… client=127.0.0.1:50312``. The path is without its query, and
everything that a client chose is percent-encoded: there are no keys, cookies or control characters in a line.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tickertape.asgi.connection import HeadSender
from tickertape.server.log_throttle import Throttle

if TYPE_CHECKING:
    from tickertape.asgi.types import App, Message, Receive, Send
    from tickertape.server.settings import Settings

logger = logging.getLogger("tickertape.access")

MOST = 20
"""Failures with one status that are logged for one address within a minute; the others are counted."""

_LOGIN = "/api/session"


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._all = settings.access_log == "all" or settings.log_level == "debug"
        self._throttle = Throttle(MOST, _say)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hand the request on, and log it once its status is known."""
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, Entry(self, scope, send))

    def refused(self, client: tuple[str, int] | None, status: int) -> None:
        """Log what was refused before there was a request."""
        if logger.isEnabledFor(logging.INFO):
            self.log({"method": "-", "path": "-", "client": client}, status, time.perf_counter(), "")

    def log(self, scope: Message, status: int, begun: float, location: str) -> None:
        """Log a request if it is one of those that are logged."""
        path = str(scope["path"])
        host, port = scope.get("client") or ("-", 0)
        failed = status >= 400
        if not (self._all or failed or path.endswith(_LOGIN)):
            return
        if failed and not self._all and not self._throttle.let(f"{status} for {_safe(str(host))}"):
            return
        stream = (location or path).partition("/v1/streams/")[2].partition("/")[0] or "-"
        milliseconds = (time.perf_counter() - begun) * 1000
        logger.info(
            "%s %s %d %.1f ms owner=%s stream=%s client=%s:%s",
            _safe(str(scope["method"])),
            _safe(path),
            status,
            milliseconds,
            scope.get("owner") or "-",
            _safe(stream),
            _safe(str(host)),
            port,
        )


class Entry(HeadSender):
    """One request."""

    __slots__ = ("_begun", "_log", "_scope")

    def __init__(self, log: AccessLog, scope: Message, send: Send) -> None:
        super().__init__(send)
        self._log, self._scope = log, scope
        self._begun = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        """Look at the head."""
        if message["type"] == "http.response.start":
            location = next((value for name, value in message.get("headers", ()) if name == b"location"), b"")
            self._log.log(self._scope, message["status"], self._begun, location.decode("latin-1"))
        await self.below(message)


def _safe(text: str) -> str:
    return quote(text, safe="/:@-._~!$&'()*+,;=[]")


def _say(what: str, count: int) -> None:
    logger.info("%d more requests with status %s within a minute", count, what)
