"""One answer in one dialect's messages, whole: what a fault then spoils."""

from __future__ import annotations

from typing import Any

import msgspec

from tickertape.testing.shapes import End, Shape
from tickertape.testing.steps import Act, Body, Head, Step, Token, Wait

WORDS = tuple("The tape keeps what it was told: é😀 and all.".replace(" ", " \0").split("\0"))
"""The answer, token by token."""

BROKEN = "The model broke off."
"""The words of every error in the middle of an answer."""


class Said(msgspec.Struct):
    """One answer in one dialect's messages, for a fault to spoil."""

    shape: Shape
    model: str
    words: tuple[str, ...] = WORDS
    asked: int = 1
    """How often this was asked for before, and now."""

    @property
    def head(self) -> Head:
        """The head of an answer."""
        return Head(200, self.shape.content_type)

    @property
    def opening(self) -> list[Step]:
        """What comes before the first token."""
        return [Body(message) for message in self.shape.opening(self.model)]

    def tokens(self, count: int | None = None) -> list[Step]:
        """Return the tokens, all or the first ones."""
        return [Token(self.shape.text(self.model, word)) for word in self.words[:count]]

    def closing(self, reason: str = "stop", *, usage: bool = True) -> list[Step]:
        """Return what says that the answer is whole."""
        return [Body(message) for message in self.shape.closing(self.model, End(reason, usage))]

    def messages(self, *messages: bytes) -> list[Step]:
        """Return messages that are no tokens."""
        return [Body(message) for message in messages]

    def pauses(self, count: int) -> list[Step]:
        """Return this many comments, 50 ms apart."""
        return [Body(self.shape.comment()), Wait(0.05)] * count

    @property
    def begun(self) -> list[Step]:
        """The head and the first half of the tokens."""
        return [self.head, *self.opening, *self.tokens(len(self.words) // 2)]

    @property
    def healthy(self) -> list[Step]:
        """The whole answer as it should be."""
        return [self.head, *self.opening, *self.tokens(), *self.closing(), Act.END]

    def after(self, *steps: Step | bytes) -> list[Step]:
        """Return the first half of the answer, and then this."""
        return [*self.begun, *(Body(step) if isinstance(step, bytes) else step for step in steps)]

    def frame(self, message: Any) -> bytes:
        """Return a message in the dialect's framing."""
        return self.shape.frame(message)

    @property
    def error(self) -> dict[str, Any]:
        """The dialect's own error object."""
        return self.shape.error(500, BROKEN)
