"""Token counts for upstreams that give none: estimated, and marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.deltas import Reasoning, Text, Usage

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.base import ChatRequest

_BYTES = 4
"""UTF-8 bytes a token: about what tokenizers make of English; of other scripts they make fewer tokens a byte."""


class Estimate:
    """Watches one answer, and says at its end what it may have cost if the upstream did not."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._size = 0
        self._told = False

    def see(self, batch: list[Delta]) -> None:
        """Take note of some of the answer's deltas."""
        for delta in batch:
            if isinstance(delta, Text | Reasoning):
                self._size += len(delta.text) if delta.text.isascii() else len(delta.text.encode("utf-8", "replace"))
            elif isinstance(delta, Usage):
                self._told = True

    def owed(self) -> list[Delta]:
        """Return the counts that the upstream owes, with ``"estimated": true``; nothing when it gave them."""
        if self._told:
            return []
        prompt = _tokens(sum(_size(message.get("content")) for message in self._request.messages))
        answer = _tokens(self._size)
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        return [Usage({**usage, "estimated": True})]


def _tokens(size: int) -> int:
    return -(-size // _BYTES)


def _size(content: Any) -> int:
    if isinstance(content, list):
        return sum(_size(part.get("text")) for part in content if isinstance(part, dict))
    return len(content.encode("utf-8", "replace")) if isinstance(content, str) else 0
