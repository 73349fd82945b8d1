"""tickertape streams an LLM's answer over plain HTTP, and never loses, repeats or falsely completes one."""

from tickertape.errors import (
    ClientError,
    ConnectionFailed,
    EventTooLarge,
    IncompleteStream,
    StreamError,
    TickertapeError,
)
from tickertape.sse import Decoder, Event, encode, encode_comment

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "ConnectionFailed",
    "Decoder",
    "Event",
    "EventTooLarge",
    "IncompleteStream",
    "StreamError",
    "TickertapeError",
    "encode",
    "encode_comment",
]
