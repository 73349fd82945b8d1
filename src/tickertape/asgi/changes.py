"""The changelog as an event stream: it says which of an owner's conversations to read again.

The first event for a new reader, or one who was away for too long, is ``"what": "reset"``: read everything again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.asgi.responses import STREAM_HEADERS, start
from tickertape.asgi.subscriber import serve
from tickertape.conversations.change_feed import NAME
from tickertape.dialects.base import RETRY, View, cursor_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickertape.asgi.types import Receive, Send
    from tickertape.conversations.change_feed import ChangeFeed
    from tickertape.delivery.fanout import Fanout
    from tickertape.streams.contract import Header


class ChangeView(View):
    """Renders changes. An entry is its number, a space and the event's data."""

    __slots__ = ("_name",)

    stateless = True

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._name = header.id.encode()

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events; their numbers are those of the changes."""
        return b"".join(b"id: %b.%b\ndata: %b\n\n" % (self._name, *entry.split(b" ", 1)) for entry in entries)


async def serve_changes(
    feed: ChangeFeed, fanout: Fanout, owner: str, cursor: str | None, send: Send, receive: Receive
) -> None:
    """Send a reader the changes after its cursor, then every one as it happens, until it leaves."""
    async with feed.watch(owner, cursor_position(cursor, NAME) if cursor else None) as watch:
        headers = list(STREAM_HEADERS)
        if cursor and watch.reset:
            headers.append((b"tickertape-cursor", b"reset"))
        await start(send, 200, headers)
        events = ChangeView(watch.stream.header).feed(watch.entries, 1)
        body = b"retry: %d\n%b" % (RETRY, events) if events else b""
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await serve(fanout, watch.stream, watch.position, ChangeView, send, receive)
