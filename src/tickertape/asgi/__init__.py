"""What any ASGI server or app can mount: requests in, streams out. Knows no process, socket or setting of a server.

A request goes `App` → Starlette's router → `Endpoint` (method, owner, errors) → a handler of `routes` or
`conversation_routes` → `Core`. A stream goes back past all of them, by `subscriber.deliver`, in one of two ways:

* `RequestSubscriber`: the request's own task calls and awaits ``send``. Right on every server and behind every
  middleware, for nothing runs outside of its request: a middleware may use context variables, timeouts, cancel scopes.
* `uvicorn_transport.ConnectionSubscriber`: the request is over, and the stream has uvicorn's connection to itself.
  Taken only if ``send`` is uvicorn's own, or wrapped by layers that have nothing to do once a response has begun
  (`connection.below`): there it is cheaper, and the same bytes come out.

**A response is cut, not ended,** if its stream goes on elsewhere: its connection is closed without the end of the body,
so that no client takes a part for the whole. Through ``send`` that takes an exception, `Cut`, which must leave through
all layers, and messages that no server takes (`subscriber.cut`). In HTTP/1.0 a closed connection is a proper end, so
there it is a reset.

**Streams of an app's own.** `streams.Streams` makes responses of generators (`sources`). It has a `StreamCore` where
`App` has a `Core`, both are a `host.StreamHost`, and everything from the generation to the connection is the same.

**Life.** The core starts with the lifespan that the host hands on, else with the first request. Servers wait for open
responses before they end an app's lifespan, and streams do not end by themselves: so `signals` drains the core first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickertape.asgi.app import App
    from tickertape.asgi.options import AppOptions

__all__ = ["App", "AppOptions"]

_HOMES = {"App": "tickertape.asgi.app", "AppOptions": "tickertape.asgi.options"}


def __getattr__(name: str) -> object:
    """Import the server's API when it is used: who embeds streams does without it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
