"""The API as an ASGI app: what a server serves, and what others mount in an app of their own.

::

    core = Core.on_disk("data", [Echo()])
    api = App(core, owner=lambda request: request.session["user"])
    host = FastAPI(lifespan=api.lifespan)      # starts and stops the core
    host.mount("/ai", api)                     # every URL that it says is below the mount and below `root_path`

It works without a lifespan too, for a mounted app gets none: then the first request starts the core, and a signal that
ends the process drains it (`tickertape.asgi.signals`). Nothing else of the host process is changed: no logging is set
up, no garbage collector touched, no signal handler replaced that is not called as well.

A request goes: `App` → Starlette's router → `Endpoint` (method, owner, errors) → a handler of `routes` or
`conversation_routes` → `Core`. Streams go back past all of it (`tickertape.asgi.subscriber`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from starlette.routing import Route, Router

from tickertape.asgi import conversation_routes, routes
from tickertape.asgi.endpoint import Endpoint, not_found
from tickertape.asgi.host import ApiHost, dispatch
from tickertape.asgi.options import AppOptions
from tickertape.asgi.requests import url_of
from tickertape.asgi.responses import reply_error
from tickertape.dialects import DEFAULT
from tickertape.errors import TickertapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from tickertape.asgi.endpoint import Owner
    from tickertape.asgi.types import App as AsgiApp
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.core import Core
    from tickertape.dialects import Dialect


class App(ApiHost):
    """The API over one core. ``owner`` says whose a request's streams and conversations are.

    It is called with Starlette's ``Request``, without its body, and returns a text, or an awaitable of one: a name that
    nobody else has, 1 to 255 characters. None refuses the request with 401, and an exception with a ``status_code``
    (FastAPI's HTTPException) with that and its ``headers``. ``pages`` are further paths, each
    an ASGI app that finds its owner itself. With ``signals`` SIGTERM and SIGINT drain the core before the host's own
    handler is called; a server that drains by itself says False. ``lifespan`` is what ASGI's lifespan runs in place of
    this app's own.

    Safe to make before there is an event loop; from the first request on it belongs to that one.
    """

    def __init__(
        self,
        core: Core,
        *,
        owner: Owner,
        options: AppOptions | None = None,
        pages: Mapping[str, AsgiApp] | None = None,
        signals: bool = True,
        lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        super().__init__(core, signals=signals)
        self.core = core
        self.options = options or AppOptions()
        paths: dict[str, AsgiApp] = {
            path: Endpoint({method: functools.partial(handler, self) for method, handler in methods.items()}, owner)
            for path, methods in (routes.PATHS | conversation_routes.PATHS).items()
        }
        self._router = Router(
            [Route(path, endpoint) for path, endpoint in [*paths.items(), *(pages or {}).items()]],
            default=not_found,
            redirect_slashes=False,
            lifespan=lambda _app: (lifespan or self.lifespan)(),
        )

    @property
    def patience(self) -> float:
        """Seconds that the status line waits for a fast error."""
        return self.options.patience

    def stream_url(self, scope: Message, stream_id: str, dialect: Dialect) -> str:
        """Return the URL, without scheme and host, where a stream is read in this dialect."""
        query = "" if dialect is DEFAULT else f"?dialect={dialect.name}"
        return url_of(scope, f"/v1/streams/{stream_id}{query}")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope["type"] == "http":
            try:
                await self.ready()
            except TickertapeError as error:
                await reply_error(send, error)
                return
        await dispatch(self._router, scope, receive, send)
