"""The healthy answer in one dialect's messages. The scripts of the faults are made from it."""

from __future__ import annotations

from typing import Any

import msgspec

from tickertape.testing.actions import Action, Body, Final, Head, Token, Wait
from tickertape.testing.dialects import Dialect, End

WORDS = tuple("The tape keeps what it was told: é😀 and all.".replace(" ", " \0").split("\0"))
"""The answer, token by token."""

BROKEN = "The model broke off."
"""The words of every error in the middle of an answer."""


class ScriptedAnswer(msgspec.Struct):
    """One answer in one dialect's messages, and the actions that send it."""

    dialect: Dialect
    model: str
    words: tuple[str, ...] = WORDS
    attempt: int = 1
    """The number of this request among those for the same model, from 1."""

    @property
    def head(self) -> Head:
        """The head of an answer."""
        return Head(200, self.dialect.content_type)

    @property
    def opening(self) -> list[Action]:
        """What comes before the first token."""
        return [Body(message) for message in self.dialect.opening(self.model)]

    def tokens(self, count: int | None = None) -> list[Action]:
        """Return the tokens, all or the first ones."""
        return [Token(self.dialect.text(self.model, word)) for word in self.words[:count]]

    def closing(self, reason: str = "stop", *, usage: bool = True) -> list[Action]:
        """Return what says that the answer is whole."""
        return [Body(message) for message in self.dialect.closing(self.model, End(reason, usage))]

    def messages(self, *messages: bytes) -> list[Action]:
        """Return messages that are no tokens."""
        return [Body(message) for message in messages]

    def pauses(self, count: int) -> list[Action]:
        """Return this many comments, 50 ms apart."""
        return [Body(self.dialect.comment()), Wait(0.05)] * count

    @property
    def begun(self) -> list[Action]:
        """The head and the first half of the tokens."""
        return [self.head, *self.opening, *self.tokens(len(self.words) // 2)]

    @property
    def healthy(self) -> list[Action]:
        """The whole answer as it should be."""
        return [self.head, *self.opening, *self.tokens(), *self.closing(), Final.END]

    def after(self, *actions: Action | bytes) -> list[Action]:
        """Return the first half of the answer, and then this."""
        return [*self.begun, *(Body(action) if isinstance(action, bytes) else action for action in actions)]

    def frame(self, message: Any) -> bytes:
        """Return a message in the dialect's framing."""
        return self.dialect.frame(message)

    @property
    def error(self) -> dict[str, Any]:
        """The dialect's own error object."""
        return self.dialect.error(500, BROKEN)
