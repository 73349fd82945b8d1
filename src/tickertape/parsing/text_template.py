"""Most messages of a stream differ from the one before in their text alone: what stands around it is read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_decode = msgspec.json.Decoder(str).decode

_TRIES = 8
"""Messages that are looked at for what stands around their text; where that differs each time, it is not worth it."""

_PROBE = "\x01probe\x01"


class TextTemplate:
    """What stands before and after the text in the messages of one stream.

    `text` returns the text of a message that differs from the one learned from in nothing else. `learn` takes a
    message that said a text and nothing else; ``says_only`` tells that of a message with another text in its place.
    """

    __slots__ = ("_after", "_before", "_tries")

    def __init__(self) -> None:
        self._before = self._after = ""
        self._tries = _TRIES

    def text(self, data: str) -> str | None:
        """Return the message's text, or None if it may say anything else."""
        before, after = self._before, self._after
        if before and data.startswith(before) and data.endswith(after):
            try:
                return _decode(data[len(before) : -len(after)])
            except (msgspec.DecodeError, UnicodeEncodeError):
                return None
        return None

    def learn(self, data: str, text: str, says_only: Callable[[str, str], bool]) -> None:
        """Find out what stands around the text of this message."""
        if not self._tries:
            return
        self._tries -= 1
        before, quoted, after = data.rpartition(f'"{text}"')
        if quoted and says_only(f"{before}{msgspec.json.encode(_PROBE).decode()}{after}", _PROBE):
            self._before, self._after = before, after
