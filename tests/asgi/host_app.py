"""Somebody else's app, with the API mounted at ``/ai``; `test_hosts` has it served by ASGI servers of all kinds.

``HOST_DATA`` is the folder of its streams; with ``HOST_LIFESPAN=none`` the host hands on no lifespan. Who asks is who
they say, in the header ``X-User``.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

import tickertape
from tickertape.asgi import App
from tickertape.core import Core
from tickertape.providers.echo import Echo
from tickertape.stream_core import CoreOptions

RATE = 40

IMPORTED = [str(Path(__file__).parents[1]), str(Path(tickertape.__file__).parents[1])]
"""Where other processes of these tests import from: the tests, and the package that is tested here."""


def make_api(data: Path, grace: float = 0.2) -> App:
    core = Core.on_disk(data, [Echo(RATE)], CoreOptions(grace=grace))
    return App(core, owner=user)


async def user(request: Request) -> str | None:
    return request.headers.get("x-user")


def make_host(data: Path, *, lifespan: bool = True) -> FastAPI:
    api = make_api(data)
    host = FastAPI(lifespan=api.lifespan if lifespan else None)
    host.mount("/ai", api)
    host.add_middleware(CORSMiddleware, allow_origins=["*"])
    return host


if "HOST_DATA" in os.environ:
    app = make_host(Path(os.environ["HOST_DATA"]), lifespan=os.environ.get("HOST_LIFESPAN") != "none")
