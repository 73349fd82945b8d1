"""Thinking that a model writes into its answer, between ``<think>`` and ``</think>``: told apart however it was cut.

Only an answer that begins with the tag thinks: one that explains it, or shows it in code, is left as it is. White
space around the two tags belongs to neither side. Some models have other tags (`_TAGS`); gpt-oss names channels
("harmony": ``<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…``).

Where the prompt's template has opened the thinking, only ``</think>`` is written: that is seen in an answer that comes
in one piece. In a stream the thinking was passed on as text before, and the tag stays where it is, unless the settings
of the upstream say that its thinking is ``opened``: then an answer begins inside it.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from tickertape.deltas import Reasoning, ScoredText, Text

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.base import ChatRequest

_RAW = ("raw", "none")
"""Values of ``reasoning_format`` that leave thinking where it is: Groq's and llama.cpp's."""

_TAGS = {
    "<think>": "</think>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",  # Magistral
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",  # Kimi
    "<|channel|>analysis<|message|>": "<|end|>",
    "<|start|>assistant<|channel|>analysis<|message|>": "<|end|>",
}
"""What opens thinking, and what closes it."""

_FINAL = ("<|start|>assistant<|channel|>final<|message|>", "<|channel|>final<|message|>")
"""What gpt-oss writes before the answer itself."""

_UNOPENED = re.compile(r"(?:^|\n)[ \t]*</think>[ \t]*(?:\n|$)")
"""The end of thinking that was opened by the template, on a line of its own."""


class _Place(Enum):
    BEFORE = 1
    INSIDE = 2
    BEHIND = 3
    OVER = 4


class Thinking:
    """Sorts the text of one answer, in order, into thinking and text. Once it is ``over`` it changes nothing more.

    ``opened`` says that an answer begins inside the thinking. What never says ``</think>`` is thinking to its end.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._opened = opened
        self._place = _Place.BEFORE
        self._held = ""
        self._thought = False
        self._close_tag = ""

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
            elif isinstance(delta, ScoredText):  # whatever its text becomes, the scores come right behind it
                self._take(delta.text, out)
                out.append(ScoredText("", delta.logprobs))
            else:
                self._release(out)
                if self._opened and self._place is _Place.BEFORE and type(delta) is Reasoning:
                    self._place = _Place.OVER  # the upstream tells thinking and text apart itself
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
            text = self._answer(text)
        if text:
            out.append(Text(text))

    def _open(self, text: str) -> str:
        """Return the text that follows the opening tag, or all of it when there is none; hold what may become one."""
        begun = text.lstrip()
        for tag, close in _TAGS.items():
            if begun.startswith(tag):
                self._place, self._close_tag = _Place.INSIDE, close
                return begun[len(tag) :]
        if begun.startswith(_FINAL):
            self._place = _Place.BEHIND
            return text
        if any(tag.startswith(begun) for tag in (*_TAGS, *_FINAL)):  # also when there is nothing but white space
            self._held = text
            return ""
        if self._opened or _UNOPENED.search(text):
            self._place, self._close_tag = _Place.INSIDE, "</think>"
        else:
            self._place = _Place.OVER
        return text

    def _close(self, text: str, out: list[Delta]) -> str:
        """Return the text that follows the closing tag; what comes before it is thinking."""
        close = self._close_tag
        thought, tag, text = text.partition(close)
        if not self._thought:
            thought = thought.lstrip()
        if tag:
            thought = thought.rstrip()
            self._place = _Place.BEHIND
        else:
            keep = next((n for n in range(len(close) - 1, 0, -1) if thought.endswith(close[:n])), 0)
            kept = thought[: len(thought) - keep].rstrip()
            thought, self._held = kept, thought[len(kept) :]
        if thought:
            self._thought = True
            out.append(Reasoning(thought))
        return text

    def _answer(self, text: str) -> str:
        """Return the beginning of the answer after the thinking; hold what may become gpt-oss's name for it."""
        text = text.lstrip()
        if text and any(tag.startswith(text) for tag in _FINAL):
            self._held = text
            return ""
        for tag in _FINAL:
            text = text.removeprefix(tag)
        if text:
            self._place = _Place.OVER
        return text

    def _release(self, out: list[Delta]) -> None:
        held, self._held = self._held, ""
        if held:
            inside = self._place is _Place.INSIDE or (self._opened and self._place is _Place.BEFORE)
            out.append(Reasoning(held) if inside else Text(held))


def wants_raw(request: ChatRequest) -> bool:
    """Return whether the caller wants thinking as the upstream says it, inside the text and in all its fields."""
    return request.parameters.get("reasoning_format") in _RAW


def thinking_of(request: ChatRequest, *, opened: bool = False) -> Thinking | None:
    """Return what sorts an answer to this request; None when the caller wants it raw."""
    return None if wants_raw(request) else Thinking(opened=opened)
