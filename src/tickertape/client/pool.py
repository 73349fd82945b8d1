"""A urllib3 pool that does not take half a head for a whole one.

When a connection ends in the middle of the head, `http.client` treats what came as complete: a ``Location`` cut in
two sends the reader to a wrong place, a ``Content-Type`` cut off turns a passing fault into a final refusal.
Here it is the broken connection that it is. (The parser of aiohttp is strict by itself.)

It also tells which socket a head is awaited on: urllib3 hands a response out with its head, and until then a thread
that waits could be woken by nobody.
"""

from __future__ import annotations

import http.client
from contextvars import ContextVar
from typing import IO, TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from tickertape.errors import SettingsError
from tickertape.sse.actions import Loss
from tickertape.util.proxy import Proxy, proxy_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

AWAITED: ContextVar[Callable[[socket.socket], object] | None] = ContextVar("AWAITED", default=None)
"""Called with the socket of a request that was sent, in the thread that is about to wait for the head."""


class _Head:
    """The lines of a head; an end before its empty line is an error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lines = 0

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        self._lines += 1
        # No line at all is the remote's disconnecting, for which http.client has a name; a long one too.
        if (line or self._lines > 1) and not line.endswith(b"\n") and len(line) < limit:
            raise http.client.IncompleteRead(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Response(http.client.HTTPResponse):
    fp: Any

    def begin(self) -> None:
        file = self.fp
        self.fp = _Head(file)
        super().begin()
        self.fp = file


def _tell(connection: HTTPConnection) -> None:
    tell = AWAITED.get()
    if tell is not None and connection.sock is not None:
        tell(connection.sock)


class _Connection(HTTPConnection):
    response_class = _Response

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        _tell(self)
        return super().getresponse()


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        _tell(self)
        return super().getresponse()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _StrictPool(urllib3.PoolManager):
    def __init__(self) -> None:
        super().__init__()
        self.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        self._proxied: dict[Proxy, urllib3.ProxyManager] = {}

    def urlopen(self, method: str, url: str, redirect: bool = True, **more: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]  # as urllib3 has it
        try:
            proxy = proxy_for(url)
        except SettingsError as error:
            raise urllib3.exceptions.LocationValueError(str(error)) from error
        if proxy is None:
            return super().urlopen(method, url, redirect, **more)
        try:
            return self._through(proxy).urlopen(method, url, redirect, **more)
        except urllib3.exceptions.ProxyError as error:
            raise ProxyFailed(proxy, error.original_error) from error

    def clear(self) -> None:
        super().clear()
        for pool in self._proxied.values():
            pool.clear()

    def _through(self, proxy: Proxy) -> urllib3.ProxyManager:
        if proxy not in self._proxied:
            credentials = {"proxy-authorization": proxy.authorization} if proxy.authorization else None
            pool = self._proxied[proxy] = urllib3.ProxyManager(proxy.url, proxy_headers=credentials)
            pool.pool_classes_by_scheme = self.pool_classes_by_scheme
        return self._proxied[proxy]


class ProxyFailed(urllib3.exceptions.ProxyError):
    """There is no connection through this proxy."""

    def __init__(self, proxy: Proxy, reason: Exception) -> None:
        super().__init__(f"The request did not get through {proxy}", reason)
        self.proxy = proxy


def strict_pool() -> urllib3.PoolManager:
    """Return a pool manager whose connections tell a truncated head from a whole one.

    It goes through the proxy that the environment names for a URL; one of no use raises LocationValueError.
    """
    return _StrictPool()


def latin_1(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers as http.client takes them: it writes text in Latin-1, and an event ID is sent as UTF-8."""
    cursor = headers.get("last-event-id")
    return dict(headers) if cursor is None else {**headers, "last-event-id": cursor.encode().decode("latin-1")}


def what_was_lost(error: Exception) -> tuple[Loss, str]:
    """Return how the connection was lost, as told by urllib3, and in its words."""
    match error:
        case urllib3.exceptions.SSLError():
            return Loss.FUTILE, str(error)
        case urllib3.exceptions.NewConnectionError() | urllib3.exceptions.ConnectTimeoutError():
            # Its sentence starts with the connection's repr; the URL is told anyway.
            return Loss.UNREACHABLE, str(error.args[-1]).rpartition("): ")[2]
        case ProxyFailed(proxy=proxy, original_error=reason):
            loss = Loss.FUTILE if " 407 " in str(reason) else Loss.UNREACHABLE
            return loss, f"{str(reason).rpartition('): ')[2]} (through {proxy})"
        case urllib3.exceptions.ReadTimeoutError():
            return Loss.SILENT, ""
        case urllib3.exceptions.LocationParseError() | ValueError():
            return Loss.FUTILE, str(error)
        case _:
            return Loss.BROKEN, str(error)
