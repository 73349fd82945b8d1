"""ASGI servers and middleware, as hosts of a stream; each server runs in the loop of the test."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import granian.server.embed
import hypercorn.asyncio
import hypercorn.config
import sniffio
import uvicorn
from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tickertape.asgi.types import App, Message, Receive, Send

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# --- middleware: an ASGI app around an ASGI app


def around_send(wrap: Callable[[Send], Send]) -> Callable[[App], App]:
    """Return the middleware that wraps ``send`` so."""

    def middleware(app: App) -> App:
        async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
            await app(scope, receive, wrap(send))

        return wrapped

    return middleware


def _plain(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        await send(message)

    return wrapper


_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def _context(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        token = _variable.set("sending")
        await asyncio.sleep(0)
        await send(message)
        _variable.reset(token)  # raises ValueError in another context than that of `set`

    return wrapper


def _timeout(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        async with asyncio.timeout(60):  # raises RuntimeError outside of a task
            await send(message)

    return wrapper


def _scope(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        with anyio.fail_after(60):  # a cancel scope belongs to a task
            await anyio.lowlevel.checkpoint()
            await send(message)

    return wrapper


def _sniffing(send: Send) -> Send:
    async def wrapper(message: Message) -> None:
        assert sniffio.current_async_library() == "asyncio"
        await send(message)

    return wrapper


def _future(send: Send) -> Send:
    def wrapper(message: Message) -> asyncio.Future[None]:
        return asyncio.ensure_future(send(message))

    return wrapper


def _base_http(app: App) -> App:
    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return BaseHTTPMiddleware(app, dispatch)  # type: ignore[arg-type,return-value]  # Starlette's types are wider


def _fastapi(app: App) -> App:
    host = FastAPI()
    host.mount("/", app)
    return host  # type: ignore[return-value]


MIDDLEWARE: dict[str, Callable[[App], App]] = {
    "none": lambda app: app,
    "a wrapper around send": around_send(_plain),
    "a context variable": around_send(_context),
    "asyncio.timeout": around_send(_timeout),
    "an anyio cancel scope": around_send(_scope),
    "sniffio": around_send(_sniffing),
    "a send that returns a Future": around_send(_future),
    "BaseHTTPMiddleware": _base_http,
    "BaseHTTPMiddleware twice": lambda app: _base_http(_base_http(app)),
    "GZipMiddleware": lambda app: GZipMiddleware(app, minimum_size=1),  # type: ignore[arg-type,return-value]
    "a mount in FastAPI": _fastapi,
}


# --- servers


@asynccontextmanager
async def _uvicorn(app: App, http: str) -> AsyncIterator[Callable[[], Any]]:
    config = uvicorn.Config(app, http=http, lifespan="off", log_config=None, interface="asgi3", ws="none")  # type: ignore[arg-type]
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    running = await loop.create_server(lambda: config.http_protocol_class(config, state, {}), "127.0.0.1", 0)  # type: ignore[call-arg]
    try:
        yield lambda: asyncio.open_connection(*running.sockets[0].getsockname())
    finally:
        running.close()
        while state.tasks or state.connections:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def _hypercorn(app: App) -> AsyncIterator[Callable[[], Any]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = hypercorn.config.Config()
    port = listener.getsockname()[1]
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 1
    ending = asyncio.Event()
    serving = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=ending.wait))  # type: ignore[arg-type]
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", port)
    finally:
        ending.set()
        await serving


@asynccontextmanager
async def _granian(app: App, folder: Path) -> AsyncIterator[Callable[[], Any]]:
    path = folder / "granian.sock"
    server = granian.server.embed.Server(
        app,
        uds=path,
        interface=granian.constants.Interfaces.ASGINL,
        log_enabled=False,
        http=granian.constants.HTTPModes.http1,
    )
    serving = asyncio.create_task(server.serve())
    while not path.exists():
        await asyncio.sleep(0.001)
    try:
        yield lambda: asyncio.open_unix_connection(path)
    finally:
        server.stop()
        await serving


SERVERS = ("uvicorn with httptools", "uvicorn with h11", "hypercorn", "granian")


def server(name: str, app: App, folder: Path) -> Any:
    """Return the running server, an asynchronous context of what connects to it."""
    match name:
        case "uvicorn with httptools":
            return _uvicorn(app, "httptools")
        case "uvicorn with h11":
            return _uvicorn(app, "h11")
        case "hypercorn":
            return _hypercorn(app)
    return _granian(app, folder)
