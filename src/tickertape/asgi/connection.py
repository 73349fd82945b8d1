"""What stands between a response and its connection: which layers are out of the way, and how a response is cut off."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Send

RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER``: on, 0 seconds. A socket that is closed with it resets the connection."""


class HeadSender:
    """A ``send`` that concerns itself with the head of a response, and hands on all that follows as it is."""

    __slots__ = ("below",)

    def __init__(self, below: Send) -> None:
        self.below = below

    async def __call__(self, message: Message) -> None:
        """Send a message; subclasses look at ``http.response.start``."""
        await self.below(message)


def below(send: Send) -> Send:
    """Return the ``send`` under all layers that have nothing more to do once the head of a response is sent."""
    while True:
        under = send.below if isinstance(send, HeadSender) else _under_exception_layer(send)
        if under is None:
            return send
        send = under


def _under_exception_layer(send: Send) -> Send | None:
    """Return what Starlette's exception layer wraps, None for any other function.

    Its wrappers note that the response has begun, so as not to answer an exception with a second one. That is all that
    they do, and it is read from the code: no name and no constant but those, so that nothing else is ever passed by.
    """
    code = getattr(send, "__code__", None)
    if (
        code is None
        or not str(getattr(send, "__module__", "")).startswith("starlette.")
        or code.co_freevars != ("response_started", "send")
        or code.co_names
        or not set(code.co_consts) <= {None, True, "type", "http.response.start"}
    ):
        return None
    begun, under = (cell.cell_contents for cell in getattr(send, "__closure__", ()))
    return under if begun is True else None


def abort(send: Send, *, blocked: bool) -> None:
    """Close the connection of a response that is cut, where merely leaving it unfinished does not do.

    That is where it is ``blocked``, for what was written would wait for the client for ever; and in HTTP/1.0, where
    the close of a connection is the proper end of a body: there it is reset. A server whose ``send`` does not belong to
    an object with a transport closes by itself.
    """
    response = getattr(below(send), "__self__", None)
    transport = getattr(response, "transport", None)
    if not isinstance(transport, asyncio.WriteTransport):
        return
    if getattr(response, "scope", {}).get("http_version") == "1.0":
        reset(transport)
    elif blocked:
        transport.abort()


def reset(transport: asyncio.WriteTransport) -> None:
    """Close the connection at once, with a RST."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
