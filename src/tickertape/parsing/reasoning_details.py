"""The parts of an answer's reasoning, numbered as OpenRouter's ``reasoning_details`` are."""

from __future__ import annotations

from typing import Any


class ReasoningDetails:
    """Numbers the parts of an answer's thinking, and says what is the same for all pieces of one only once.

    Pieces belong together by type, index and id. A part ends with its signature, or with data: a text after that
    begins another one, whatever its index.
    """

    def __init__(self) -> None:
        self._open: dict[Any, int] = {}
        self._ended: set[int] = set()
        self._last: Any = None
        self._count = 0

    def piece(self, given: dict[str, Any], *, apart: bool = False) -> dict[str, Any]:
        """Return a piece with the ``index`` of its part, and OpenRouter's ``type``; ``apart`` says that it is whole."""
        kind = _DETAIL_TYPES.get(str(given.get("type")), given.get("type") or "reasoning.text")
        piece = {name: value for name, value in given.items() if value is not None} | {"type": kind}
        if "thinking" in piece and "text" not in piece:
            piece["text"] = reasoning_text(piece.pop("thinking"))
        key = (kind, given.get("index"), given.get("id"))
        if key not in self._open and self._last is not None and key[:2] == self._last[:2] and None in key:
            key = self._last  # a signature may come without the id that its text had
        begins = any(piece.get(name) for name in ("text", "summary", "data"))
        index = self._open.get(key)
        if index is None or apart or (begins and index in self._ended):
            index = self._open[key] = self._count
            self._count += 1
        else:
            piece.pop("id", None)
            piece.pop("format", None)
        if piece.get("signature") or piece.get("data"):
            self._ended.add(index)
        self._last = key
        return {**piece, "index": index}

    def whole(self, detail: dict[str, Any]) -> dict[str, Any]:
        """Return a part that comes in one piece."""
        self._count += 1
        return {**detail, "index": self._count - 1}


_DETAIL_TYPES = {
    "thinking": "reasoning.text",
    "reasoning": "reasoning.text",
    "redacted_thinking": "reasoning.encrypted",
    "summary": "reasoning.summary",
    "summary_text": "reasoning.summary",
    "encrypted": "reasoning.encrypted",
}


def reasoning_text(value: Any) -> str:
    """Return the thinking in whatever it was wrapped."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(reasoning_text, value))
    if isinstance(value, dict):
        names = ("content", "text", "thinking", "summary", "reasoning", "reasoning_content")
        return next((text for name in names if (text := reasoning_text(value.get(name)))), "")
    return ""
