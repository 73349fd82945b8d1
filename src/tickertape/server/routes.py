"""The routes that the server adds to the API: the page, the health probes and the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.asgi.endpoint import Endpoint
from tickertape.asgi.responses import reply, reply_json
from tickertape.errors import InvalidRequest
from tickertape.server.assets import Assets
from tickertape.server.metrics import CONTENT_TYPE, collect, exposition
from tickertape.server.readiness import Readiness

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.core import Core
    from tickertape.server.metrics import Figures, SharedFigures
    from tickertape.server.settings import Settings


class ServerRoutes:
    """The endpoints; ``paths`` is where they are."""

    def __init__(self, settings: Settings, core: Core, shared_figures: SharedFigures | None) -> None:
        self._core = core
        self._assets = Assets()
        self._readiness = Readiness(settings.data, settings.min_free, core.engine, core.store)
        self._shared_figures = shared_figures
        page, health, ready = self._get_page, self._get_health, self._get_ready
        self.paths = {
            "/": Endpoint({"GET": page, "HEAD": page}),
            "/c/{id}": Endpoint({"GET": page, "HEAD": page}),
            "/assets/{path:path}": Endpoint({"GET": self._get_asset, "HEAD": self._get_asset}),
            "/healthz": Endpoint({"GET": health, "HEAD": health}),
            "/readyz": Endpoint({"GET": ready, "HEAD": ready}),
            "/metrics": Endpoint({"GET": self._get_metrics, "HEAD": self._get_metrics}),
        }

    @property
    def shares_figures(self) -> bool:
        """Whether there are other workers."""
        return self._shared_figures is not None

    def figures(self) -> Figures:
        """Return the figures of all workers of this server; this one publishes its own first."""
        core = self._core
        own = collect(core.generations, core.fanout, core.catalog)
        if self._shared_figures is None:
            return own
        self._shared_figures.publish(own)
        return self._shared_figures.total()

    async def _get_page(self, scope: Message, _receive: Receive, send: Send) -> None:
        """``GET /`` and ``/c/{id}``: the page."""
        await self._assets.serve_page(scope, send)

    async def _get_asset(self, scope: Message, _receive: Receive, send: Send) -> None:
        """``GET /assets/<hash>/…``: the page's files."""
        path = scope["path_params"]["path"]
        if not await self._assets.serve_file(scope, send, path):
            raise InvalidRequest(f"There is no file {path!r}.", status=404, code="not_found")

    async def _get_health(self, _scope: Message, _receive: Receive, send: Send) -> None:
        """``GET /healthz``: the process is alive."""
        await reply_json(send, {"status": "ok"})

    async def _get_ready(self, _scope: Message, _receive: Receive, send: Send) -> None:
        """``GET /readyz``: the process takes on answers, and what is written is kept; else 503 and the reasons."""
        if self._core.generations.closed:
            await reply_json(send, {"status": "ending"}, 503)
        elif reasons := await self._readiness.reasons():
            await reply_json(send, {"status": "not ready", "reasons": reasons}, 503)
        else:
            await reply_json(send, {"status": "ready"})

    async def _get_metrics(self, _scope: Message, _receive: Receive, send: Send) -> None:
        """``GET /metrics``: figures for Prometheus, of all workers."""
        headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]
        await reply(send, 200, exposition(self.figures()), headers)
