"""The two halves of a surrogate pair, sent in two messages: joined, in text, thinking, refusals and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.deltas import Reasoning, Refusal, Text, ToolCall

if TYPE_CHECKING:
    from tickertape.deltas import Delta

_INNER = {"function": "arguments", "custom": "input"}


class SurrogateJoiner:
    """Holds the first half of a pair back until the second one comes; one that stays alone becomes U+FFFD."""

    def __init__(self) -> None:
        self._halves: dict[Any, tuple[str, Delta]] = {}

    def join(self, deltas: list[Delta]) -> list[Delta]:
        """Return these deltas with whole characters."""
        return [self._joined(delta) for delta in deltas]

    def rest(self) -> list[Delta]:
        """Return what is still held back, as it will be shown: nothing more comes."""
        held, self._halves = self._halves, {}
        return [_with_text(delta, "\ufffd") for _half, delta in held.values()]

    def _joined(self, delta: Delta) -> Delta:
        place, text = _text_of(delta)
        if not text:
            return delta
        before, _delta = self._halves.pop(place, ("", delta))
        text = before + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._halves[place] = (text[-1], _plain(delta))
            text = text[:-1]
        return _with_text(delta, text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _text_of(delta: Delta) -> tuple[Any, str]:
    """Return what the delta's text is a piece of, and the text; "" for one that has none."""
    if isinstance(delta, Text):
        return Text, delta.text
    if isinstance(delta, Reasoning | Refusal):
        return type(delta), delta.text
    if isinstance(delta, ToolCall):
        for name, field in _INNER.items():
            inner = delta.call.get(name)
            if isinstance(inner, dict) and isinstance(inner.get(field), str):
                return (name, delta.call.get("index")), inner[field]
    return None, ""


def _plain(delta: Delta) -> Delta:
    """Return what stands for the delta's place alone, without what must not be said twice."""
    if isinstance(delta, Text):
        return Text("")
    if isinstance(delta, ToolCall):
        name = next(name for name in _INNER if name in delta.call)
        return ToolCall({"index": delta.call.get("index"), name: {_INNER[name]: ""}})
    return delta


def _with_text(delta: Delta, text: str) -> Delta:
    """Return a delta of the same kind and place with this text."""
    if isinstance(delta, ToolCall):
        name = next(name for name in _INNER if name in delta.call)
        return ToolCall({**delta.call, name: {**delta.call[name], _INNER[name]: text}})
    return msgspec.structs.replace(delta, text=text)
