"""Titles and places found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.conversations.text_search import AROUND, TITLE, fold, snippet, title_of


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  # What is\tthis?  \nmore", "What is this?"),
        ("- **bold**", "bold"),
        ("```\ncode", "code"),
        ("word " * 40, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("", "Untitled"),
        ("***", "Untitled"),
    ],
)
def test_a_title_is_the_beginning_of_the_first_line(text: str, title: str) -> None:
    assert title_of(text) == title


@given(st.text())
def test_a_title_is_one_short_line(text: str) -> None:
    title = title_of(text)
    assert 0 < len(title) <= TITLE
    assert len(title.splitlines()) == 1


@given(st.text(), st.text(min_size=1), st.text())
def test_what_stands_in_a_text_is_found_in_it_and_shown_in_brief(before: str, word: str, after: str) -> None:
    words = fold(word).split()
    place = snippet(before + word + after, words)
    if all(each in fold(before + word + after) for each in words) and words:
        assert place is not None
        assert len(place) <= 2 * AROUND + 4


def test_what_stands_nowhere_has_no_place() -> None:
    assert snippet("Nothing", ["whale"]) is None
