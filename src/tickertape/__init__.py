"""tickertape streams an LLM's answer over plain HTTP, and never loses, repeats or falsely completes one."""

from importlib import import_module
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
    from tickertape.asgi.sources import Failure, StreamEvent, StreamLimits
    from tickertape.asgi.streams import ANYONE, StreamHandle, Streams
    from tickertape.client import Answer, AsyncAnswer, AsyncEventSource, EventSource, aask, ask

__version__ = "0.1.0"

__all__ = [
    "ANYONE",
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
    "Failure",
    "IncompleteStream",
    "StreamEvent",
    "StreamHandle",
    "StreamLimits",
    "Streams",
    "TickertapeError",
    "aask",
    "ask",
    "encode",
    "encode_comment",
]


_EMBEDDING = {
    "ANYONE": "tickertape.asgi.streams",
    "Failure": "tickertape.asgi.sources",
    "StreamEvent": "tickertape.asgi.sources",
    "StreamHandle": "tickertape.asgi.streams",
    "StreamLimits": "tickertape.asgi.sources",
    "Streams": "tickertape.asgi.streams",
}


def __getattr__(name: str) -> object:
    """Import what is used: the clients (urllib3, aiohttp), or the streams of an app (Starlette)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EMBEDDING.get(name, "tickertape.client")), name)
