"""Bytes, however they were cut, to events: WHATWG HTML 9.2.5 and 9.2.6, rule by rule.

The standard is quoted beside the code, in its own order. How it stays fast and bounded:

* Line ends. A CR is rare on the wire, so it is looked for once a read; a read that holds one has its CRLF and CR
  turned into LF, and from there on there is one path. A CR that ends a read ends its line at once; the LF
  that may open the next read is swallowed.
* Lines. Splitting with `io.BytesIO` costs 25 ns a line. Only the line that a read leaves unfinished is kept, in
  a bytearray that grows in place: one line in ten thousand pieces stays linear.
* Text. UTF-8 is decoded line by line. LF is never part of a longer sequence, so a cut inside a character waits
  with its line, and what is invalid becomes U+FFFD exactly as it would in the whole.
* Size. The bytes of the unfinished line and of the data lines gathered so far never exceed `max_event_size`. As a
  read that fits the limit with everything pending cannot break it, the check is usually one comparison a
  read. The outcome does not depend on the cuts.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from tickertape.errors import EventTooLarge
from tickertape.sse.encoder import MAX_RETRY
from tickertape.sse.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_EVENT_SIZE = 16 * 1024 * 1024
"""Bytes. Whole images arrive as base64 in one event; 16 MiB holds a 12 MB one."""

_BOM = b"\xef\xbb\xbf"


class Decoder:
    """Turns the bytes of one response body into events.

    Call `feed` with each piece as it arrives and take the events it returns; call `close` when the body has
    ended. Use a new decoder for each response and seed it with the ``last_event_id`` of the one before.

    ``max_event_size`` is the limit in bytes for one event; beyond it `feed` raises EventTooLarge, once the
    events before have been returned. ``on_comment`` is called with the text of each comment, all that follows
    its colon. ``last_event_id`` is the last event ID string: what goes into ``Last-Event-ID`` on
    reconnecting. ``retry`` is the newest reconnection time in milliseconds, or None if none came.
    """

    __slots__ = (
        "_data",
        "_failed",
        "_id_buffer",
        "_limit",
        "_line",
        "_on_comment",
        "_retry",
        "_size",
        "_start",
        "_swallow_lf",
        "_type",
        "last_event_id",
        "retry",
    )

    def __init__(
        self,
        max_event_size: int = MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        *,
        last_event_id: str = "",
    ) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size must be at least 1 byte; it was {max_event_size!r}.")
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._limit = max_event_size
        self._on_comment = on_comment
        # "When a stream is parsed, a data buffer, an event type buffer, and a last event ID buffer must be
        # associated with it." The ID buffer outlives a dispatch, the two others do not.
        self._data: list[str] = []
        self._type = ""
        self._id_buffer = last_event_id
        self._retry: int | None = None  # the retry field of the block being read
        self._size = 0  # bytes of the data lines gathered
        self._line = bytearray()  # the unfinished line
        self._start: bytes | None = b""  # the first bytes, until it is known whether they are a BOM
        self._swallow_lf = False
        self._failed = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that these bytes complete, in order.

        Raises EventTooLarge, now and for ever, when one event grows beyond ``max_event_size``; the events
        before it are returned first, so the error may come with the following `feed` or `close`.
        """
        if self._failed:
            raise EventTooLarge(self._limit)
        # "Streams must be decoded using the UTF-8 decode algorithm", which strips one leading BOM.
        if self._start is not None:
            chunk = self._after_bom(chunk)
        # "Lines must be separated by either a CRLF character pair, a single LF character, or a single CR."
        if self._swallow_lf and chunk:
            self._swallow_lf = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._swallow_lf = chunk[-1:] == b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        pending = len(self._line)
        checked = self._size + pending + len(chunk) > self._limit
        if b"\n" not in chunk:
            self._line += chunk
            if checked:
                return self._fail([])
            return []
        if pending:
            chunk = bytes(self._line + chunk)
            self._line.clear()
        events: list[Event] = []
        data = self._data
        for line in BytesIO(chunk):
            # The lines LLM servers send come first: "data: …", then an empty one, then "id: …".
            if line[:6] == b"data: " and line[-1] == 10:
                if checked and self._size + len(line) - 1 > self._limit:
                    return self._fail(events)
                self._size += len(line) - 6
                try:
                    data.append(line[6:-1].decode())
                except UnicodeDecodeError:
                    data.append(line[6:-1].decode("utf-8", "replace"))
            elif line == b"\n":
                # "If the line is empty (a blank line): Dispatch the event, as defined below."
                # 1. "Set the last event ID string of the event source to the value of the last event ID buffer."
                self.last_event_id = self._id_buffer
                # 2. "If the data buffer is an empty string, set the data buffer and the event type buffer to the
                #    empty string and return." An empty `data` line counts: the buffer then holds its LF.
                if data:
                    # 3. "If the data buffer's last character is a LF, remove the last character." Joining adds none.
                    # 4-6. "… type … to message …; if the event type buffer is not empty, …"
                    events.append(
                        Event(
                            data[0] if len(data) == 1 else "\n".join(data),
                            self._type or "message",
                            self._id_buffer,
                            self._retry,
                        )
                    )
                    # 7. "Set the data buffer and the event type buffer to the empty string."
                    data.clear()
                    self._size = 0
                self._type = ""
                self._retry = None
            elif line[-1] != 10:
                self._line += line
                if checked and self._size + len(line) > self._limit:
                    return self._fail(events)
            else:
                if checked and self._size + len(line) - 1 > self._limit:
                    return self._fail(events)
                self._field(line[:-1].decode("utf-8", "replace"), len(line))
        return events

    def close(self) -> None:
        """Say that the body has ended.

        "Once the end of the file is reached, any pending data must be discarded": an unfinished block is
        dropped, its id too. Raises EventTooLarge if that is still owed.
        """
        if self._failed:
            raise EventTooLarge(self._limit)
        self._line.clear()
        self._data.clear()
        self._type, self._id_buffer, self._retry, self._size = "", self.last_event_id, None, 0

    def _field(self, line: str, size: int) -> None:
        """Take one line that is neither empty nor in the commonest form."""
        name, _colon, value = line.partition(":")
        # "If the line starts with a U+003A COLON character (:): Ignore the line."
        if not name and _colon:
            if self._on_comment is not None:
                self._on_comment(value)
            return
        # "If value starts with a U+0020 SPACE character, remove it from value."
        value = value.removeprefix(" ")
        # "Field names must be compared literally, with no case folding performed."
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
                self._size += size - len(name) - len(_colon)
            case "id" if "\0" not in value:
                # "If the field value does not contain U+0000 NULL, then set the last event ID buffer."
                self._id_buffer = value
            case "retry" if value.isascii() and value.isdigit():
                # "If the field value consists of only ASCII digits, then interpret the field value as an integer in
                # base ten". Beyond 2**53 - 1 ms, 285 000 years, the exact number does not matter.
                self._retry = self.retry = int(value) if len(value) < 16 else _clamped(value)
            # "Otherwise: The field is ignored."

    def _after_bom(self, chunk: bytes) -> bytes:
        """Return what follows a leading BOM; nothing while the bytes so far may still become one."""
        assert self._start is not None  # noqa: S101 - the caller looked
        head = self._start + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._start = head
            return b""
        self._start = None
        return head.removeprefix(_BOM)

    def _fail(self, events: list[Event]) -> list[Event]:
        """Free the memory; raise, or return the events before the giant one and raise with the next call."""
        self._failed = True
        self._line.clear()
        self._data.clear()
        if not events:
            raise EventTooLarge(self._limit)
        return events


def _clamped(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    return min(int(significant), MAX_RETRY) if len(significant) < 17 else MAX_RETRY
