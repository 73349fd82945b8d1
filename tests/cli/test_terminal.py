"""Text from a stream on a terminal."""

from __future__ import annotations

import pytest

from tickertape.cli.terminal import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e", "plain text, Gr\u00fc\u00dfe, \u65e5\u672c\u8a9e"),
        ("a\n\tb", "a\n\tb"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("over\rwritten\x08", "over\\x0dwritten\\x08"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\u05e9\u200f \U0001f469\u200d\U0001f680", "\u05e9\u200f \U0001f469\u200d\U0001f680"),
    ],
)
def test_what_could_command_a_terminal_is_written_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_nothing_that_is_escaped_can_be_printed_wrongly() -> None:
    everything = "".join(map(chr, range(0x3000))) + "\ud800"
    escape(everything).encode()
    assert not any(ord(char) < 32 and char not in "\n\t" for char in escape(everything))
