"""From tapes to sockets: push.

What an event costs on its way to a reader is a small TCP send, 5 to 6 CPU-µs in the kernel, and everything
around it. So there is no queue, lock or timer per reader or event:

* A commit marks its stream dirty. One *flush* walks the dirty streams, renders what is new once for all readers that
  stand at the same place, and hands every reader the same bytes.
* A reader takes one piece at a time. While it is sending one it is not open: it is passed over, and when it can take
  more, it marks the stream and catches up from its index. A slow reader is an index, not a queue.
* Where the connection is ours (`Wire`), the flush writes to it. Elsewhere (`AsgiReader`) the flush wakes the task of
  the request, and that task calls ``send``: nothing that a middleware or a server sees runs outside of its request.
* A flush comes at once when the last one is long enough ago. When flushes take long, they come less often, so that
  what has gathered shares a write, up to 20 ms.
* One sweep a second looks after silence (heartbeats) and after readers that have stopped reading; while there are any.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from tickertape.server.access_log import below
from tickertape.server.readers import AsgiReader, Reader
from tickertape.server.wire import Wire, take_over
from tickertape.sse import encode_comment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from tickertape.server.asgi import Receive, Send
    from tickertape.streams.contract import Header, Tape

    Shared = dict[tuple[int, "Renderer", type[Reader]], bytes]

logger = logging.getLogger("tickertape")

HEARTBEAT = b": ping\n"
"""One line without a blank line after it: with one, it would dispatch an empty block, and openai-python crashes."""

SLICE = 512
"""Entries. A reader that is far behind gets this many a write, about 100 kB, so that others get their turn."""

REST = 2.0
"""The pause between flushes, in durations of the last flush: under load a third of the time goes to flushing."""

LONGEST_REST = 0.020
"""Seconds. What a token may wait under load; 20 ms is below what a person notices."""

ENDING = "the server is about to exit"


class Renderer(Protocol):
    """Turns one stream's entries into the bytes of one dialect."""

    def __init__(self, header: Header) -> None:
        """Encode once what all events of the stream share."""

    def render(self, entries: Sequence[bytes], first: int) -> bytes:
        """Return the events for entries that begin with event number ``first``."""


class Channel:
    """The readers of one tape."""

    __slots__ = ("_fanout", "_renderers", "dirty", "readers", "tape")

    def __init__(self, fanout: Fanout, tape: Tape) -> None:
        self._fanout = fanout
        self._renderers: dict[type[Renderer], Renderer] = {}
        self.tape = tape
        self.readers: set[Reader] = set()
        self.dirty = False

    def renderer(self, dialect: type[Renderer]) -> Renderer:
        """Return the renderer that all readers of this dialect share."""
        found = self._renderers.get(dialect)
        if found is None:
            found = self._renderers[dialect] = dialect(self.tape.header)
        return found

    def mark(self) -> None:
        """Have the next flush look at this tape."""
        if not self.dirty:
            self.dirty = True
            self._fanout.schedule(self)

    def leave(self, reader: Reader) -> None:
        """Forget a reader, if it is there; the last one takes the channel along."""
        if reader in self.readers:
            self.readers.remove(reader)
            if not self.readers:
                self._fanout.close_channel(self)
            self.tape.leave()


class Fanout:
    """Pushes committed entries to all readers of this process; ``sent`` counts the events.

    ``heartbeat`` is the longest silence in seconds; ``send_timeout`` ends a reader that takes nothing for so long.
    """

    def __init__(self, *, heartbeat: float = 15.0, send_timeout: float = 60.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout
        self._channels: dict[Tape, Channel] = {}
        self._dirty: list[Channel] = []
        self._scheduled = False
        self._earliest = 0.0  # loop time before which no flush begins
        self._closed = False
        self.sent = 0
        self._sweeping: asyncio.TimerHandle | None = None  # while there are readers

    @property
    def readers(self) -> int:
        """How many streams are open."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def stream(self, tape: Tape, after: int, dialect: type[Renderer], send: Send, receive: Receive) -> Awaitable[None]:
        """As `serve`; but where the server lets its connection be taken over, the request is over at once."""
        send = below(send)
        response = None if self._closed else take_over(send)
        if response is None:
            return self.serve(tape, after, dialect, send, receive)
        channel = self._channel(tape)
        self._enter(Wire(channel, after, channel.renderer(dialect), self._loop.time(), response))
        return _nothing()

    def serve(self, tape: Tape, after: int, dialect: type[Renderer], send: Send, receive: Receive) -> Awaitable[None]:
        """Send everything after event number ``after`` until the end, or until the client leaves.

        The response must have been started. The client counts as a reader from the call on; what is returned is to be
        awaited at once. It raises Cut, with the response unfinished, when this process ends, the client takes nothing,
        or something fails.
        """
        channel = self._channel(tape)
        reader = AsgiReader(channel, after, channel.renderer(dialect), self._loop.time(), below(send))
        self._enter(reader)
        if self._closed:
            reader.cut(ENDING)
        return reader.run(receive)

    def _channel(self, tape: Tape) -> Channel:
        """Return the tape's channel; who asks for it enters it at once."""
        channel = self._channels.get(tape)
        if channel is None:
            channel = self._channels[tape] = Channel(self, tape)
            tape.listen(channel.mark)
            if self._sweeping is None and not self._closed:
                self._sweep()
        return channel

    def _enter(self, reader: Reader) -> None:
        channel = reader.channel
        channel.readers.add(reader)
        channel.tape.enter()
        self._push(channel, reader, None, reader.since)
        if channel.tape.queued:
            channel.mark()

    def close_channel(self, channel: Channel) -> None:
        """For channels: nobody is left in this one."""
        del self._channels[channel.tape]
        channel.tape.unlisten(channel.mark)

    def close(self) -> None:
        """Cut every reader: they reconnect to the next process and go on from where they are."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for channel in tuple(self._channels.values()):
            for reader in tuple(channel.readers):
                reader.cut(ENDING)

    def schedule(self, channel: Channel) -> None:
        """For channels: flush this one soon."""
        self._dirty.append(channel)
        if not self._scheduled:
            self._scheduled = True
            if self._loop.time() >= self._earliest:
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_at(self._earliest, self._flush)

    def _flush(self) -> None:
        start = self._loop.time()
        dirty, self._dirty, self._scheduled = self._dirty, [], False
        for channel in dirty:
            channel.dirty = False
            if channel.tape.queued:
                self._send_place(channel)
            shared: Shared | None = {} if len(channel.readers) > 1 else None
            for reader in tuple(channel.readers):
                self._push(channel, reader, shared, start)
        # Who was marked meanwhile is far behind and goes on at once; the others wait for the rest.
        end = self._loop.time()
        self._earliest = end + min(REST * (end - start), LONGEST_REST)

    def _send_place(self, channel: Channel) -> None:
        """Send, in a comment, how many answers come before this one."""
        place = channel.tape.queued
        body = encode_comment(f"queued, {place - 1} before you")
        for reader in tuple(channel.readers):
            if reader.open and reader.place != place:
                reader.place = place
                self._write(reader, reader.frame(body, last=False))

    def _push(self, channel: Channel, reader: Reader, shared: Shared | None, now: float) -> None:
        """Write what is new to a reader that can take it; ``shared`` is what was rendered for others."""
        tape, index = channel.tape, reader.index
        entries = tape.entries
        count = len(entries)
        if index >= count or not reader.open:
            return
        end = count if count - index <= SLICE else index + SLICE
        last = tape.ended and end == count
        try:
            if shared is None:
                framed = reader.render(entries[index:end], last)
            else:
                key = (index, reader.renderer, type(reader))
                if key not in shared:
                    shared[key] = reader.render(entries[index:end], last)
                framed = shared[key]
        except Exception:  # an entry that cannot be read must not stop the flush for the others
            logger.exception("Stream %s cannot be rendered", tape.header.id)
            reader.cut("the stream cannot be rendered")
            return
        reader.index = end
        reader.since = now
        self.sent += end - index
        self._write(reader, framed, last)
        if reader.open:
            if last:
                channel.leave(reader)
            elif end < count:
                channel.mark()

    def _write(self, reader: Reader, framed: bytes, last: bool = False) -> None:
        """Write, and cut a reader whose connection fails: nothing that is wrong with it may stop the others' flush."""
        try:
            reader.write(framed, last)
        except Exception:
            logger.warning("A reader of stream %s is cut: writing failed", reader.channel.tape.header.id, exc_info=True)
            reader.cut("writing failed")

    def _sweep(self) -> None:
        """Bridge silence and end readers that have stopped reading; once in a while, until there are no readers."""
        now = self._loop.time()
        for channel in tuple(self._channels.values()):
            for reader in tuple(channel.readers):
                silence = now - reader.since
                if not reader.open and silence >= self._send_timeout:
                    reader.cut(f"the client took nothing for {self._send_timeout:g} s")
                elif reader.open and silence >= self._heartbeat:
                    reader.since = now
                    self._write(reader, reader.frame(HEARTBEAT, last=False))
        wait = min(1.0, self._heartbeat / 4)
        self._sweeping = self._loop.call_later(wait, self._sweep) if self._channels else None


async def _nothing() -> None:
    """Stand for a request that has nothing more to do."""
