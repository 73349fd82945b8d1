"""Thinking that a model writes into its answer, between ``<think>`` and ``</think>``: told apart however it was cut.

Only an answer that begins with the tag thinks: one that explains it, or shows it in code, is left as it is. White
space around the two tags belongs to neither side.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from tickertape.deltas import Reasoning, Text

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.base import Request

_RAW = ("raw", "none")
"""Values of ``reasoning_format`` that leave thinking where it is: Groq's and llama.cpp's."""

_OPEN, _CLOSE = "<think>", "</think>"


class _Place(Enum):
    BEFORE = 1
    INSIDE = 2
    BEHIND = 3
    OVER = 4


class Thinking:
    """Sorts the text of one answer, in order, into thinking and text. Once it is ``over`` it changes nothing more."""

    def __init__(self) -> None:
        self._place = _Place.BEFORE
        self._held = ""
        self._thought = False

    @property
    def over(self) -> bool:
        """Whether everything that may still come is text."""
        return self._place is _Place.OVER

    def sort(self, deltas: list[Delta], *, last: bool) -> list[Delta]:
        """Return these deltas sorted. What may be part of a tag is held back, but not beyond the ``last`` ones."""
        out: list[Delta] = []
        for delta in deltas:
            if type(delta) is Text:
                self._take(delta.text, out)
            else:
                self._release(out)
                out.append(delta)
        if last:
            self._release(out)
        return out

    def _take(self, text: str, out: list[Delta]) -> None:
        text, self._held = self._held + text, ""
        if self._place is _Place.BEFORE:
            text = self._open(text)
        if self._place is _Place.INSIDE:
            text = self._close(text, out)
        if self._place is _Place.BEHIND:
            text = text.lstrip()
            if text:
                self._place = _Place.OVER
        if text:
            out.append(Text(text))

    def _open(self, text: str) -> str:
        """Return the text that follows the opening tag, or all of it when there is none; hold what may become one."""
        begun = text.lstrip()
        if begun.startswith(_OPEN):
            self._place = _Place.INSIDE
            return begun[len(_OPEN) :]
        if _OPEN.startswith(begun):  # also when there is nothing but white space
            self._held = text
            return ""
        self._place = _Place.OVER
        return text

    def _close(self, text: str, out: list[Delta]) -> str:
        """Return the text that follows the closing tag; what comes before it is thinking."""
        thought, tag, text = text.partition(_CLOSE)
        if not self._thought:
            thought = thought.lstrip()
        if tag:
            thought = thought.rstrip()
            self._place = _Place.BEHIND
        else:
            keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
            kept = thought[: len(thought) - keep].rstrip()
            thought, self._held = kept, thought[len(kept) :]
        if thought:
            self._thought = True
            out.append(Reasoning(thought))
        return text

    def _release(self, out: list[Delta]) -> None:
        held, self._held = self._held, ""
        if held:
            out.append(Reasoning(held) if self._place is _Place.INSIDE else Text(held))


def wants_raw(request: Request) -> bool:
    """Return whether the caller wants thinking as the upstream says it, inside the text and in all its fields."""
    return request.parameters.get("reasoning_format") in _RAW


def thinking_of(request: Request) -> Thinking | None:
    """Return what sorts an answer to this request; None when the caller wants it raw."""
    return None if wants_raw(request) else Thinking()
