"""What the clients and the providers share of aiohttp: limits, proxies, closing, and words for its failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickertape.util.proxy import Proxy

HEAD_LIMITS: dict[str, Any] = {"max_line_size": 65_536, "max_field_size": 65_536, "max_headers": 1000}
"""Bytes of one line of a response's head, and how many lines it may have: gateways add policies and traces without end,
and aiohttp's own 8 190 and 128 are less than curl and http.client take."""


def through(proxy: Proxy | None, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a request for a URL with these headers that make it go through a proxy."""
    if proxy is None:
        return {"headers": headers}
    theirs = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    if url.lower().startswith("https:"):  # it is asked for a tunnel, and sees nothing of the request
        return {"headers": headers, "proxy": proxy.url, "proxy_headers": theirs}
    return {"headers": {**headers, **theirs}, "proxy": proxy.url}


def proxy_failure(error: aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError) -> str:
    """Return in words what a proxy did in place of making a connection."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return words_of(error.os_error)
    if error.status == 407:
        return "the proxy wants a user name and password, or others (HTTP 407)"
    return f"the proxy refused to make a connection (HTTP {error.status} {error.message})"


def words_of(error: OSError) -> str:
    """Return in words why a connection could not be made."""
    if isinstance(error, ConnectionRefusedError):  # asyncio words it "Connect call failed ('127.0.0.1', 1)"
        return "connection refused"
    if isinstance(error, ConnectionResetError):  # in a TLS handshake; asyncio says nothing at all
        return "it closed the connection"
    return error.strerror or str(error) or type(error).__name__


def hang_up(response: aiohttp.ClientResponse) -> None:
    """Close the socket under a response that has not ended; one that has was given back, and stays.

    Over TLS `aiohttp.ClientResponse.close` says goodbye and waits for the other side's (RFC 8446, section 6.1), for
    up to 30 seconds: a server that stalls would hold the socket, and a loop that ends meanwhile would leave it open.
    """
    connection = response.connection
    transport = connection.transport if connection is not None else None
    response.close()
    if transport is not None:
        transport.abort()
