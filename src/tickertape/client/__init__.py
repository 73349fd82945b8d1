"""Clients: read any event stream, come back after every cut, and tell a whole answer from a truncated one.

`tickertape.client.sync` stands on urllib3 and `tickertape.client.aio` on aiohttp; each is imported only when its
name is first used, so that a program pays for the one it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.client.aio import AsyncEventSource
    from tickertape.client.aio_answer import AsyncAnswer, aask
    from tickertape.client.sync import EventSource
    from tickertape.client.sync_answer import Answer, ask
    from tickertape.sse.actions import Policy, Wait

__all__ = ["Answer", "AsyncAnswer", "AsyncEventSource", "EventSource", "Policy", "Wait", "aask", "ask"]

_HOMES = {
    "AsyncEventSource": "tickertape.client.aio",
    "EventSource": "tickertape.client.sync",
    "Answer": "tickertape.client.sync_answer",
    "AsyncAnswer": "tickertape.client.aio_answer",
    "aask": "tickertape.client.aio_answer",
    "ask": "tickertape.client.sync_answer",
    "Policy": "tickertape.sse.actions",
    "Wait": "tickertape.sse.actions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
