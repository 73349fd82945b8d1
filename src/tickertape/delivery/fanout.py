"""From streams to subscribers: push.

What an event costs on its way to a reader is a small TCP send, 5 to 6 CPU-µs in the kernel, and everything
around it. So there is no queue, lock or timer per reader or event:

* A commit marks its stream dirty. One *flush* walks the dirty streams, renders what is new once for all subscribers
  that stand at the same place, and hands each of them the same bytes.
* A subscriber takes one piece at a time. While it is sending one it is not open: it is passed over, and when it can
  take more, it marks the stream and catches up from its index. A slow reader is an index, not a queue.
* A dialect's view of a stream is shared by all who stand where it stands, the hot index. Who is behind it has a view of
  their own until they have caught up; a view without state serves everybody.
* A flush comes at once when the last one is long enough ago. When flushes take long, they come less often, so that
  what has gathered shares a write, up to 20 ms.
* One sweep a second looks after silence (heartbeats) and subscribers that have stopped reading; while there are any.

All of it runs on one event loop, and every method is to be called there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tickertape.sse import encode_comment

if TYPE_CHECKING:
    from tickertape.delivery.subscriber import Subscriber
    from tickertape.dialects.base import View
    from tickertape.streams.contract import Stream

    Shared = dict[tuple[int, type[View], type[Subscriber]], bytes]

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


class Channel:
    """The subscribers of one stream, and what is rendered for them."""

    __slots__ = ("_fanout", "_hot", "dirty", "stream", "subscribers")

    def __init__(self, fanout: Fanout, stream: Stream) -> None:
        self._fanout = fanout
        self._hot: dict[type[View], View] = {}
        self.stream = stream
        self.subscribers: set[Subscriber] = set()
        self.dirty = False

    def enter(self, subscriber: Subscriber) -> None:
        """Take a subscriber in."""
        subscriber.channel = self
        hot = self._hot.get(subscriber.view_type)
        if hot is None:
            hot = self._hot[subscriber.view_type] = subscriber.view_type(self.stream.header)
        subscriber.view = hot
        self.subscribers.add(subscriber)
        self.stream.enter()

    def render(self, subscriber: Subscriber, end: int) -> bytes:
        """Return what is new for a subscriber, up to event number ``end``."""
        index, view = subscriber.index, subscriber.view
        if not view.stateless:
            view = subscriber.view = self._view_at(index, subscriber)
            view.position = end
        return view.feed(self.stream.entries[index:end], index + 1)

    def _view_at(self, index: int, subscriber: Subscriber) -> View:
        """Return a view that was fed so many entries: the hot one, unless that is further; else one of its own."""
        hot, own = self._hot[subscriber.view_type], subscriber.view
        if hot.position == index:
            return hot
        if own.position == index:
            return own
        view = hot if hot.position < index else subscriber.view_type(self.stream.header)
        if view.position < index:
            view.skip(self.stream.entries[view.position : index], view.position + 1)
            view.position = index
        return view

    def spoil(self, subscriber: Subscriber) -> None:
        """Trust a view no longer: it raised, and what it keeps may be half of something."""
        if self._hot[subscriber.view_type] is subscriber.view:
            self._hot[subscriber.view_type] = subscriber.view_type(self.stream.header)

    def mark(self) -> None:
        """Have the next flush look at this stream."""
        if not self.dirty:
            self.dirty = True
            self._fanout.schedule(self)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber, if it is there; the last one takes the channel along."""
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            if not self.subscribers:
                self._fanout.close_channel(self)
            self.stream.leave()


class Fanout:
    """Pushes committed entries to all subscribers of this process; ``sent`` counts the events.

    ``heartbeat`` is the longest silence in seconds; ``send_timeout`` cuts a subscriber that takes nothing for so long.
    """

    def __init__(self, *, heartbeat: float = 15.0, send_timeout: float = 60.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._heartbeat = heartbeat
        self._send_timeout = send_timeout
        self._channels: dict[Stream, Channel] = {}
        self._dirty: list[Channel] = []
        self._scheduled = False
        self._earliest = 0.0  # loop time before which no flush begins
        self.closed = False
        self.sent = 0
        self._sweeping: asyncio.TimerHandle | None = None  # while there are subscribers

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return sum(len(channel.subscribers) for channel in self._channels.values())

    def attach(self, subscriber: Subscriber) -> None:
        """Send a subscriber everything after its index, until the end, or until it leaves its channel.

        It counts as a reader of its stream from now on. Once this is closed it is cut at once.
        """
        stream = subscriber.stream
        channel = self._channels.get(stream)
        if channel is None:
            channel = self._channels[stream] = Channel(self, stream)
            stream.listen(channel.mark)
            if self._sweeping is None and not self.closed:
                self._sweep()
        subscriber.since = self._loop.time()
        channel.enter(subscriber)
        self._push(channel, subscriber, None, subscriber.since)
        if self.closed and subscriber in channel.subscribers:
            subscriber.cut(ENDING)
        elif stream.queued:
            channel.mark()

    def close_channel(self, channel: Channel) -> None:
        """For channels: nobody is left in this one."""
        del self._channels[channel.stream]
        channel.stream.unlisten(channel.mark)

    def close(self) -> None:
        """Cut every subscriber: they reconnect to the next process and go on from where they are."""
        self.closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for channel in tuple(self._channels.values()):
            for subscriber in tuple(channel.subscribers):
                subscriber.cut(ENDING)

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
            if channel.stream.queued:
                self._send_place(channel)
            shared: Shared | None = {} if len(channel.subscribers) > 1 else None
            for subscriber in tuple(channel.subscribers):
                self._push(channel, subscriber, shared, start)
        # Who was marked meanwhile is far behind and goes on at once; the others wait for the rest.
        end = self._loop.time()
        self._earliest = end + min(REST * (end - start), LONGEST_REST)

    def _send_place(self, channel: Channel) -> None:
        """Send, in a comment, how many answers come before this one."""
        place = channel.stream.queued
        body = encode_comment(f"queued, {place - 1} before you")
        for subscriber in tuple(channel.subscribers):
            if subscriber.open and subscriber.place != place:
                subscriber.place = place
                self._write(subscriber, subscriber.frame(body, last=False))

    def _push(self, channel: Channel, subscriber: Subscriber, shared: Shared | None, now: float) -> None:
        """Write what is new to a subscriber that can take it; ``shared`` is what was rendered for others."""
        stream, index = channel.stream, subscriber.index
        entries = stream.entries
        count = len(entries)
        if index >= count or not subscriber.open:
            return
        end = count if count - index <= SLICE else index + SLICE
        last = stream.ended and end == count
        try:
            if shared is None:
                framed = subscriber.frame(channel.render(subscriber, end), last)
            else:
                key = (index, subscriber.view_type, type(subscriber))
                if key not in shared:
                    shared[key] = subscriber.frame(channel.render(subscriber, end), last)
                framed = shared[key]
        except Exception:  # an entry that cannot be read must not stop the flush for the others
            logger.exception("Stream %s cannot be rendered", stream.header.id)
            channel.spoil(subscriber)
            subscriber.cut("the stream cannot be rendered")
            return
        subscriber.index = end
        self.sent += end - index
        if framed or last:  # in some dialects an entry says nothing
            subscriber.since = now
            self._write(subscriber, framed, last)
        if subscriber.open:
            if last:
                channel.leave(subscriber)
            elif end < count:
                channel.mark()

    def _write(self, subscriber: Subscriber, framed: bytes, last: bool = False) -> None:
        """Write; cut a subscriber whose connection fails: nothing that is wrong with it may stop the others' flush."""
        try:
            subscriber.write(framed, last)
        except Exception:
            stream_id = subscriber.stream.header.id
            logger.warning("A reader of stream %s is cut: writing failed", stream_id, exc_info=True)
            subscriber.cut("writing failed")

    def _sweep(self) -> None:
        """Bridge silence and cut who has stopped reading; once in a while, until there are no subscribers."""
        now = self._loop.time()
        for channel in tuple(self._channels.values()):
            for subscriber in tuple(channel.subscribers):
                silence = now - subscriber.since
                if not subscriber.open and silence >= self._send_timeout:
                    subscriber.cut(f"the client took nothing for {self._send_timeout:g} s")
                elif subscriber.open and silence >= self._heartbeat:
                    subscriber.since = now
                    self._write(subscriber, subscriber.frame(HEARTBEAT, last=False))
        wait = min(1.0, self._heartbeat / 4)
        self._sweeping = self._loop.call_later(wait, self._sweep) if self._channels else None
