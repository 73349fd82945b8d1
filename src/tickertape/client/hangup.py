"""Closing a connection at once, over TLS too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


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
