"""From settings to a listening server: providers, socket, uvicorn, an orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from tickertape.asgi.subscriber import Cut
from tickertape.conversations.sqlite import check as check_conversations
from tickertape.errors import SettingsError
from tickertape.server.app import App
from tickertape.server.descriptors import most_connections, raise_limit
from tickertape.server.http_protocol import ConnectionLimits, Connections, DatedState
from tickertape.server.listener import Listener
from tickertape.server.log_throttle import Repeats
from tickertape.storage.folder import CHATS_FILE, LOG_FILE, check_local
from tickertape.streams.sqlite.file_format import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from tickertape.providers.catalog import Catalog
    from tickertape.server.metrics import SharedFigures
    from tickertape.server.settings import Settings

BACKLOG = 2048
"""Connections that wait to be accepted, before the next is refused."""


def prepare(settings: Settings) -> None:
    """Set up logging and descriptors, and see that the files can be opened.

    Raises EngineUnavailable and ConversationsUnavailable.
    """
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # uvicorn asks its logger for its own level, whatever its parent's is: without one it traces every connection.
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(level if level == "DEBUG" else "WARNING")
    logging.getLogger("asyncio").setLevel("WARNING")
    raise_limit()
    if settings.network_data == "refuse":
        check_local(settings.data)
    check(settings.data / LOG_FILE)
    check_conversations(settings.data / CHATS_FILE)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises SettingsError with what to do instead."""
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        try:
            if os.name != "nt":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:  # a name that no host can have, beside what the system says
        reason, number = (error.strerror, error.errno) if isinstance(error, OSError) else (None, None)
        raise SettingsError(f"Cannot listen on {host}:{port}: {reason or error}. {_instead(number)}") from error
    return bound


def _instead(number: int | None) -> str:
    """Return what to do about an address that cannot be listened on, by the error's number."""
    if number == errno.EADDRINUSE:
        return "Stop the program that uses the port, or choose another with --port (0 takes a free one)."
    if number == errno.EACCES:
        return "Choose another port with --port: those below 1024 commonly need rights."
    return "Choose an address of this machine with --host, like 127.0.0.1."


def serve(
    settings: Settings,
    catalog: Catalog,
    listener: socket.socket,
    started: Callable[[], object],
    figures: SharedFigures | None = None,
) -> None:
    """Serve on a listening socket until SIGINT or SIGTERM. ``started`` is called once requests are answered.

    Raises what kept the app from starting.
    """
    app = App(settings, catalog, figures)
    for name in ("tickertape", "uvicorn.error"):
        logging.getLogger(name).addFilter(Repeats())
    logging.getLogger("uvicorn.error").addFilter(_expected)
    try:
        make_server(settings, app, started).run([listener])
    except SystemExit:
        if app.failure is not None:
            raise app.failure from None
        raise


def make_server(settings: Settings, app: App, started: Callable[[], object]) -> _Server:
    """Return uvicorn with our limits, for an app."""
    config = uvicorn.Config(
        app,
        loop="asyncio",  # uvloop is no faster here, and lets new connections starve: first token p99 0.57 s to 0.17
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # `AccessLog` is ours
        server_header=False,
        proxy_headers=False,  # uvicorn would believe whoever is on loopback; `hosts` believes who is named
        timeout_graceful_shutdown=2,  # after the drain nothing is left but connections that do not read
    )
    return _Server(config, app, connection_limits(settings), started)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits for the connections of one process."""
    limits = {name: getattr(settings, name) for name in ConnectionLimits.__struct_fields__}
    limits["connections"] = settings.connections or most_connections()
    return ConnectionLimits(**limits)


class _Server(uvicorn.Server):
    """uvicorn waits for open streams before it ends the app; here the app ends the streams first.

    The first signal asks for an orderly end within the grace period, the second for an end at once. Connections are
    accepted by a `Listener`. uvicorn looks ten times a second whether to end; here that is an event.
    """

    def __init__(
        self, config: uvicorn.Config, app: App, limits: ConnectionLimits, started: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self.server_state = DatedState()
        self._app = app
        self._limits = limits
        self._on_started = started
        self._exit = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        self._loop = asyncio.get_running_loop()
        self.connections = Connections(self.config, self.server_state, self.lifespan.state, self._limits)
        self.connections.on_refusal = self._app.refused
        self.servers = [Listener(listener, self.connections) for listener in sockets or ()]  # type: ignore[misc]
        self.started = True
        self._on_started()

    async def main_loop(self) -> None:
        if not self.should_exit:
            await self._exit.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._app.drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._app.hurry()
        else:  # of a second Ctrl-C uvicorn would cut its own end short, and print how that failed
            super().handle_exit(sig, frame)
            self.end()

    def end(self) -> None:
        """Begin an orderly end; safe in a signal handler, and from another thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._exit.set)  # wakes the loop up as well


def _expected(record: logging.LogRecord) -> bool:
    """Drop what uvicorn says of things that we do on purpose, or say better."""
    message = record.getMessage()
    cut = record.exc_info is not None and isinstance(record.exc_info[1], Cut)
    unstarted = "Application startup failed" in message or "tickertape.errors" in message  # reported in one sentence
    return not (cut or unstarted)
