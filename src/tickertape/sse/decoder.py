"""Bytes, however they were cut, to events: WHATWG HTML 9.2.6, rule by rule.

The standard is quoted beside the code, its long names of characters shortened. How it stays fast and bounded:

* Line ends. A CR is rare on the wire, so it is looked for once a read. A read that holds one has every line end
  turned into LF, and from there on there is one path. A CR that ends a read ends its line at once; the LF
  that may open the next read is swallowed.
* Lines. Splitting with `io.BytesIO` costs 20 ns a line. Of a read, only the line that it leaves unfinished is kept.
* Buffers. That line and the data buffer are bytes until they must grow and a bytearray, growing in place, from
  then on: one line in ten thousand pieces is linear, and a million short lines take no more than their bytes.
* Text. UTF-8 is decoded value by value. No byte that the rules look for (LF, CR, colon, space, NUL) is ever part
  of a longer sequence, so what is cut or invalid becomes the same U+FFFD as in the whole. Trying a strict `decode()`
  first saves 20 ns: it takes no arguments.
* Size. The unfinished line and the data buffer together never exceed `max_event_size`. A read that fits into what
  is left of it cannot break the limit, so the check is one comparison a read.
* Shortcut. A read of an LLM's answer is mostly one whole block of a line `data: …`, alone or after one other
  line. `feed` takes that without splitting it, by the same steps; everything else goes through `_lines`.
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
IGNORED = ""
"""The type that `Decoder` gives to lines which are no part of an event; no event has it."""

_FIELDS = (b"data", b"event", b"id", b"retry")
_NUL, _LF, _CR = b"\0\n\r"  # numbers, because `13 in chunk` takes 10 ns where `b"\r" in chunk` takes 140


class Decoder:
    """Turns the bytes of one response body into events.

    Call `feed` with each piece as it arrives and take the events it returns; call `close` when the body has
    ended. Use a new decoder for each response and seed it with the ``last_event_id`` of the one before.

    ``max_event_size`` is the limit in bytes for one event: what a line and the data lines before it in the same
    block take together. Beyond it `feed` raises EventTooLarge, once the events before have been returned.
    ``on_comment`` is called with the text of each comment, all that follows its colon; it must not raise.
    With ``keep_ignored`` a line that the standard ignores, for it knows no such field, is returned as an event of the
    type `IGNORED`, before the event that its block may be.
    ``last_event_id`` is the last event ID string: what goes into ``Last-Event-ID`` on reconnecting. ``retry``
    is the newest reconnection time in milliseconds, at most 2**53 - 1, or None if none came.
    """

    __slots__ = (
        "_data",
        "_failed",
        "_id_buffer",
        "_ignored",
        "_keep_ignored",
        "_limit",
        "_line",
        "_on_comment",
        "_retry",
        "_room",
        "_start",
        "_swallow_lf",
        "_type",
        "_unusual",
        "last_event_id",
        "retry",
    )

    def __init__(
        self,
        max_event_size: int = MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        *,
        last_event_id: str = "",
        keep_ignored: bool = False,
    ) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size must be at least 1 byte; it was {max_event_size!r}.")
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._limit = self._room = max_event_size  # bytes in all, and what `_data` and `_line` leave of them
        self._on_comment = on_comment
        self._keep_ignored = keep_ignored
        self._ignored: list[Event] = []
        # "When a stream is parsed, a data buffer, an event type buffer, and a last event ID buffer must be
        # associated with it."
        self._data: bytes | bytearray = b""
        self._type = ""
        self._id_buffer = last_event_id
        self._retry: int | None = None  # the retry field of the block being read, for its event
        self._line: bytes | bytearray = b""  # the unfinished line
        self._start: bytes | None = b""  # the first bytes, until it is known whether they are a BOM
        self._swallow_lf = False  # whether the read before ended in CR
        self._failed = False  # whether an event was too large
        self._unusual = True  # whether one of the three above needs a look: a single test a read

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that these bytes complete, in order.

        Raises EventTooLarge, now and for ever, when one event grows beyond ``max_event_size``. The events
        before it are returned first, so the error may come with the following `feed` or `close`; events and
        error are the same wherever the bytes are cut.
        """
        if self._unusual or _CR in chunk:
            chunk = self._prepare(chunk)
        if len(chunk) > self._room:
            return self._within_limit(chunk)
        if self._room != self._limit:  # something is pending
            return self._lines(chunk)

        # The shortcut: is the read one block that ends in a line `data: …`, with at most one line before that?
        # A `removeprefix` or `removesuffix` that changes nothing did not find what it looks for.
        block = chunk.removesuffix(b"\n\n")
        value: bytes | bytearray = block.removeprefix(b"data: ")
        head = b""
        if value == block:
            head, found, value = block.partition(b"\ndata: ")
            if not (head and found) or _LF in head:
                return self._lines(chunk)
        if block == chunk or _LF in value:
            return self._lines(chunk)
        if head:
            if (id_value := head.removeprefix(b"id: ")) != head and _NUL not in id_value:
                self._id_buffer = id_value.decode("utf-8", "replace")
            else:
                value = self._field(head, b"") + value
        self.last_event_id = last_id = self._id_buffer
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("utf-8", "replace")
        event = Event(text, self._type or "message", last_id, self._retry)
        self._type = ""
        self._retry = None
        return self._after_ignored([event]) if self._ignored else [event]

    def close(self) -> list[Event]:
        """Say that the body has ended; return what is left: no event, but perhaps an ignored line.

        "Once the end of the file is reached, any pending data must be discarded": an unfinished block is
        dropped, its id too. Raises EventTooLarge if that is still owed.
        """
        if self._failed:
            raise EventTooLarge(self._limit)
        line = bytes(self._line)
        if self._keep_ignored and line and not any(name.startswith(line.partition(b":")[0]) for name in _FIELDS):
            self._ignored.append(Event(line.decode("utf-8", "replace"), IGNORED))
        self._line = self._data = b""
        self._room = self._limit
        self._type, self._id_buffer, self._retry = "", self.last_event_id, None
        return self._after_ignored([])

    def _after_ignored(self, events: list[Event]) -> list[Event]:
        """Return the ignored lines that are kept, and after them these events."""
        kept, self._ignored = self._ignored, []
        return kept + events

    def _prepare(self, chunk: bytes) -> bytes:
        """Return the read without BOM and with LF as its only line end."""
        if self._failed:
            raise EventTooLarge(self._limit)
        # "Streams must be decoded using the UTF-8 decode algorithm", which "strips one leading Byte Order Mark".
        if self._start is not None:
            chunk = self._after_bom(chunk)
        # "… reading everything line by line, with a CRLF character pair, a single LF character not preceded by a CR
        # character, and a single CR character not followed by a LF character being the ways in which a line can end."
        if self._swallow_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._swallow_lf = False
        if _CR in chunk:
            self._swallow_lf = chunk[-1] == _CR
            chunk = _with_lf_only(chunk)
        self._unusual = self._swallow_lf or self._start is not None
        return chunk

    def _after_bom(self, chunk: bytes) -> bytes:
        """Return what follows a leading BOM; nothing while all bytes so far are its own."""
        start = (self._start or b"") + chunk
        if _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _within_limit(self, chunk: bytes) -> list[Event]:
        """Read as `_lines` does, never holding more than the limit.

        A piece no longer than the room can be taken as it is. Where there is none, only a line end may follow.
        """
        events: list[Event] = []
        at = 0
        while at < len(chunk):
            if not self._room and chunk[at] != _LF:
                return self._fail(events)
            end = at + (self._room or 1)
            events += self._lines(chunk[at:end])
            at = end
        return events

    def _fail(self, events: list[Event]) -> list[Event]:
        """Free the memory; raise, or return the events before the giant one and raise with the next call."""
        self._failed = self._unusual = True
        self._line = self._data = b""
        if not events:
            raise EventTooLarge(self._limit)
        return events

    def _lines(self, chunk: bytes) -> list[Event]:
        """Process the lines that end in this read, whose line ends are all LF; keep the unfinished one."""
        if _LF not in chunk:
            self._line = _grown(self._line, chunk)
            self._room -= len(chunk)
            return []
        if isinstance(self._line, bytearray):
            return self._lines(self._after_long_line(self._line, chunk))
        rest = b""
        if not chunk.endswith(b"\n"):
            end = chunk.rfind(b"\n") + 1
            chunk, rest = chunk[:end], chunk[end:]
        lines = BytesIO(self._line + chunk if self._line else chunk)
        self._line = rest
        # As locals, since six looks at an attribute would be a tenth of an event's time.
        data, kind, last_id, retry = self._data, self._type, self._id_buffer, self._retry
        events: list[Event] = []
        # "Lines must be processed, in the order they are received, as follows:"
        for line in lines:
            if line == b"\n":
                # "If the line is empty (a blank line): Dispatch the event, as defined below."
                # 1. "Set the last event ID string of the event source to the value of the last event ID buffer."
                self.last_event_id = last_id
                # 2. "If the data buffer is an empty string, set the data buffer and the event type buffer to the
                #    empty string and return."
                if data:
                    # 3. "If the data buffer's last character is a LF character, remove the last character."
                    data = data.removesuffix(b"\n")
                    try:
                        text = data.decode()
                    except UnicodeDecodeError:
                        text = data.decode("utf-8", "replace")
                    # 4-6. "… Initialize event's type attribute to "message", its data attribute to data, … and its
                    #      lastEventId attribute to the last event ID string of the event source. If the event type
                    #      buffer has a value other than the empty string, change the type of the newly created event."
                    events.append(Event(text, kind or "message", last_id, retry))
                    # 7. "Set the data buffer and the event type buffer to the empty string."
                    data = b""
                kind = ""
                retry = None
            # The commonest spellings of the three commonest fields; `_field`, which takes the rest, would do the same.
            elif (value := line.removeprefix(b"data: ")) != line:
                data = _grown(data, value) if data else value
            elif (value := line.removeprefix(b"id: ")) != line and _NUL not in value:
                last_id = value.removesuffix(b"\n").decode("utf-8", "replace")
            elif (value := line.removeprefix(b"event: ")) != line:
                kind = value.removesuffix(b"\n").decode("utf-8", "replace")
            else:
                self._type, self._id_buffer, self._retry = kind, last_id, retry
                data = self._field(line.removesuffix(b"\n"), data)
                kind, last_id, retry = self._type, self._id_buffer, self._retry
                if self._ignored:
                    events += self._after_ignored([])
        self._data, self._type, self._id_buffer, self._retry = data, kind, last_id, retry
        self._room = self._limit - len(rest) - len(data) if rest or data else self._limit
        return events

    def _after_long_line(self, line: bytearray, chunk: bytes) -> bytes:
        """Return what follows a line that came in many pieces; megabytes of data in it are not copied."""
        end, _, chunk = chunk.partition(b"\n")
        line += end
        if line.startswith(b"data: ") and not self._data:
            del line[:6]
            line += b"\n"
            self._data = line
        else:
            self._data = self._field(bytes(line), self._data)
        self._line = b""
        self._room = self._limit - len(self._data)
        return chunk

    def _field(self, line: bytes, data: bytes | bytearray) -> bytes | bytearray:
        """Take a line that is not blank, without its end; return the data buffer."""
        field, _, value = line.partition(b":")
        # "If the line starts with a COLON character (:): Ignore the line."
        if not field:
            if self._on_comment is not None:
                self._on_comment(value.decode("utf-8", "replace"))
            return data
        # "If the line contains a COLON character (:): Collect the characters on the line before the first COLON
        # character (:), and let field be that string. Collect the characters on the line after the first COLON
        # character (:), and let value be that string. If value starts with a SPACE character, remove it from value."
        # "Otherwise … using the whole line as the field name, and the empty string as the field value."
        value = value.removeprefix(b" ")
        # "Field names must be compared literally, with no case folding performed."
        match field:
            case b"event":
                # "Set the event type buffer to the field value."
                self._type = value.decode("utf-8", "replace")
            case b"data":
                # "Append the field value to the data buffer, then append a single LF character to the data buffer."
                data = _grown(data, value + b"\n")
            case b"id" if _NUL not in value:
                # "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field
                # value. Otherwise, ignore the field."
                self._id_buffer = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit():
                # "If the field value consists of only ASCII digits, then interpret the field value as an integer in
                # base ten, and set the event stream's reconnection time to that integer." Of bytes, isdigit means
                # ASCII. Beyond 2**53 - 1 ms, 285 000 years, the exact number does not matter; 17 digits are beyond.
                self._retry = self.retry = min(int(value.lstrip(b"0")[:17] or b"0"), MAX_RETRY)
            # "Otherwise: The field is ignored."
            case _ if self._keep_ignored and field not in _FIELDS:
                self._ignored.append(Event(line.decode("utf-8", "replace"), IGNORED))
        return data


def _with_lf_only(chunk: bytes) -> bytes:
    """Return bytes that hold a CR with every CRLF and CR as LF."""
    block = chunk.removesuffix(b"\r\n\r\n")
    if block != chunk and _CR not in block:
        return block + b"\n\n"  # one event of one line, the commonest CRLF read
    if _LF not in chunk:
        return chunk.replace(b"\r", b"\n")
    # Unlike str's, bytes.splitlines knows exactly the three line ends. replace(b"\r\n", b"\n") takes twice as long.
    lines = chunk.splitlines()
    if chunk[-1] in b"\r\n":
        lines.append(b"")
    return b"\n".join(lines)


def _grown(buffer: bytes | bytearray, piece: bytes) -> bytes | bytearray:
    """Return the buffer with the piece at its end, made a bytearray once it has to grow."""
    if not buffer:
        return bytes(piece)  # the caller's own buffer, if it was one, may change
    if isinstance(buffer, bytes):
        buffer = bytearray(buffer)
    buffer += piece
    return buffer
