"""tickertape streams an LLM's answer over plain HTTP, and never loses, repeats or falsely completes one."""

from typing import TYPE_CHECKING

from tickertape.errors import (
    AnswerFailed,
    ClientError,
    ConnectionFailed,
    EventTooLarge,
    IncompleteStream,
    TickertapeError,
)
from tickertape.sse import Decoder, Event, encode, encode_comment

if TYPE_CHECKING:
    from tickertape.client import Answer, AsyncAnswer, AsyncEventSource, EventSource, aask, ask

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "AnswerFailed",
    "AsyncAnswer",
    "AsyncEventSource",
    "ClientError",
    "ConnectionFailed",
    "Decoder",
    "Event",
    "EventSource",
    "EventTooLarge",
    "IncompleteStream",
    "TickertapeError",
    "aask",
    "ask",
    "encode",
    "encode_comment",
]


def __getattr__(name: str) -> object:
    """Import the clients when they are first used: urllib3 and aiohttp cost more than all the rest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tickertape import client

    return getattr(client, name)
