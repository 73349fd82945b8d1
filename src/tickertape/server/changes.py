"""The feed of changes: an event stream that tells an owner's pages what to read anew.

Every change is a row with a number in the conversations' file, so that all processes see all of them; this process asks
for new rows at once after a change of its own, and every `POLL` seconds while anybody listens. What is new goes onto a
tape in memory, one an owner, and from there to the readers as every stream does.

The first event tells a new reader, or one who was away for too long, to read everything anew: ``"what": "reset"``.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from tickertape.asgi.subscriber import serve
from tickertape.dialects.base import RETRY, View, position
from tickertape.errors import ConversationError, LogError
from tickertape.server.responses import STREAM_HEADERS, start
from tickertape.streams.contract import Header, Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tickertape.asgi.types import Receive, Send
    from tickertape.conversations.async_store import AsyncStore
    from tickertape.conversations.models import Change
    from tickertape.delivery.fanout import Fanout

logger = logging.getLogger("tickertape")

POLL = 0.3
"""Seconds between two looks at what other processes changed, while somebody here listens."""

SWEEP = 5.0
"""Seconds between two looks for answers that ended with a process that died: somebody waits to be told."""

LONGEST = 5_000
"""Changes on one tape. Then its readers are ended; they come back and go on from where they are."""

NAME = "changes"

_json = msgspec.json.Encoder().encode


class ChangeView(View):
    """Renders changes. An entry has its number, a space and the event's data."""

    __slots__ = ("_name",)

    stateless = True

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._name = header.id.encode()

    def feed(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events; their numbers are those of the changes."""
        return b"".join(b"id: %b.%b\ndata: %b\n\n" % (self._name, *entry.split(b" ", 1)) for entry in entries)


class Changes:
    """Who listens in this process, and what they are told."""

    def __init__(self, store: AsyncStore, fanout: Fanout, finalize_ended: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._fanout = fanout
        self._finalize_ended = finalize_ended
        self._tapes: dict[str, Stream] = {}
        self._listening: Counter[str] = Counter()
        self._last = 0
        self._changed = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        store.changed = self._changed.set

    async def serve(self, owner: str, cursor: str | None, send: Send, receive: Receive) -> None:
        """Tell a reader of the changes after its cursor, then of every one as it happens, until it leaves."""
        before, newest = await self._store.read(lambda store: store.changelog_range())
        tape = self._listen(owner, newest)
        try:
            after = position(cursor, NAME) if cursor else None
            headers = list(STREAM_HEADERS)
            if after is not None and before <= after <= newest:
                missed = await self._store.read(lambda store: store.changes_after(after, owner))
                told = missed[-1].no if missed else after
                entries = [_entry(change) for change in missed]
            else:
                if cursor:
                    headers.append((b"tickertape-cursor", b"reset"))
                told = newest
                entries = [b'%d {"what":"reset"}' % newest]
            await self._look()  # the tape has all that was told before: what it gets from now on is new
            await start(send, 200, headers)
            body = b"retry: %d\n" % RETRY + ChangeView(tape.header).feed(entries, 1) if entries else b""
            await send({"type": "http.response.body", "body": body, "more_body": True})
            index = bisect_right(tape.entries, told, key=_number)
            await serve(self._fanout, tape, index, ChangeView, send, receive)
        finally:
            self._leave(owner)

    def close(self) -> None:
        """Look no more."""
        if self._poller is not None:
            self._poller.cancel()

    def _listen(self, owner: str, newest: int) -> Stream:
        if not self._listening:
            self._last = max(self._last, newest)
        self._listening[owner] += 1
        if owner not in self._tapes:
            self._tapes[owner] = Stream(Header(id=NAME, owner=owner, model="", created=0))
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        return self._tapes[owner]

    def _leave(self, owner: str) -> None:
        self._listening[owner] -= 1
        if not self._listening[owner]:
            del self._listening[owner]
            self._tapes.pop(owner, None)

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while self._listening:
            self._changed.clear()
            try:
                await self._look()
                if loop.time() - swept > SWEEP:
                    swept = loop.time()
                    await self._finalize_ended()
            except (ConversationError, LogError) as error:  # a busy or full disk: the next look tells
                logger.debug("What has changed or ended cannot be read: %s", error)
            try:
                async with asyncio.timeout(POLL):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        after = self._last
        self._tell(await self._store.read(lambda store: store.changes_after(after)))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            if change.no <= self._last:
                continue  # two looked at the same time
            self._last = change.no
            tape = self._tapes.get(change.owner)
            if tape is not None:
                full = len(tape.entries) >= LONGEST
                if full:
                    del self._tapes[change.owner]
                tape.extend([_entry(change)], ended=full)


def _entry(change: Change) -> bytes:
    data = {"conversation_id": change.conversation, "what": change.kind}
    if change.message is not None:
        data["message_id"] = change.message
    return b"%d %b" % (change.no, _json(data))


def _number(entry: bytes) -> int:
    return int(entry.partition(b" ")[0])
