"""What a stream says, made safe to show in a terminal.

A terminal obeys what is printed to it: an escape sequence in a model's answer can clear the screen, rename the
window, write to the clipboard or answer as if it had been typed. Text from a stream is therefore shown with
its control characters escaped; LF and TAB alone keep their meaning.
"""

from __future__ import annotations

import re

# C0 and DEL but LF and TAB; C1, where 8-bit terminals find ESC [ in one character; the line and paragraph
# separators; the bidirectional overrides, with which text can pretend to be other text (the plain marks of
# right-to-left writing stay); lone surrogates, which have no UTF-8 to print.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    r"""Return the text with every control character but LF and TAB written out, as ``\x1b`` or ``\u202e``."""
    return _CONTROLS.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
