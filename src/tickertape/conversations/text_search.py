"""Text search: the form in which text is searched, the snippet around a match, and titles."""

from __future__ import annotations

import re
import unicodedata

TITLE = 60
"""Characters of a title that is made from the first question: what a list shows in one line."""

AROUND = 60
"""Characters of a snippet on each side of the match."""


def title_of(text: str) -> str:
    """Return the title for a first question: the beginning of its first line, cut between words."""
    line = next((line.strip(" \t#>*`-") for line in text.splitlines() if line.strip(" \t#>*`-")), "")
    line = " ".join(line.split())
    if len(line) <= TITLE:
        return line or "Untitled"
    cut = line[: TITLE - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > TITLE // 2 else cut).rstrip(" ,.;:") + "…"


def fold(text: str) -> str:
    """Return the text as it is searched: without case, and composed and compatibility forms the same."""
    return unicodedata.normalize("NFKC", text).casefold()


def snippet(text: str, words: list[str]) -> str | None:
    """Return the text around the first of the folded words that it holds; None if it holds none."""
    where = min((match.start() for word in words if (match := re.search(re.escape(word), text, re.I))), default=None)
    if where is None:
        folded = fold(text)
        found = [at for word in words if (at := folded.find(word)) >= 0]
        if not found:
            return None
        where = min(min(found), len(text))  # folding may have moved it by a few characters
    start, end = max(0, where - AROUND), where + AROUND
    middle = " ".join(text[start:end].split())
    return ("… " if start else "") + middle + (" …" if end < len(text) else "")
