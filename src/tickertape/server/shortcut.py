"""Past ``send`` to the socket, where the server is uvicorn.

ASGI's ``send`` costs a message, a coroutine and a dozen checks an event. While a chunked response streams, all that it
does in the end is to frame a chunk and write it to the transport; so much is done here, and the frame is made once
for all readers. For other servers, behind middleware that wraps ``send``, and for the first and last bytes of a
response there is ``send``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from tickertape.server.asgi import Send


def chunk(body: bytes) -> bytes:
    """Return the body as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class Shortcut:
    """Writes chunks of one response that has been started."""

    __slots__ = ("_cycle", "_flow", "write")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self.write = cycle.transport.write

    @property
    def open(self) -> bool:
        """Whether a chunk can be written now. If not, ``send`` knows how to wait, or that nobody is there."""
        return not (self._flow.write_paused or self._cycle.disconnected)


def shortcut(send: Send) -> Shortcut | None:
    """Return the way past ``send``, if there is one."""
    cycle = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not cycle.chunked_encoding or cycle.scope["method"] == "HEAD":
        return None
    return Shortcut(cycle)
