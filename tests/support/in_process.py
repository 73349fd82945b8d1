"""The real server in a thread of this process: it starts in milliseconds, and its insides can be looked at."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from tickertape.providers.catalog import Catalog
from tickertape.providers.echo import Echo
from tickertape.server.app import App
from tickertape.server.hosts import checked
from tickertape.server.run import bind, make_server
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.providers.base import Provider


class InProcess:
    """The server with these settings and a provider, echo if none is given; a context manager."""

    def __init__(self, data: Path, provider: Provider | None = None, **settings: Any) -> None:
        self.settings = checked(Settings(data=data, **settings))
        self._provider = provider or Echo(0)
        self._failures: list[BaseException] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        listener = bind("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        started = threading.Event()
        self.app = App(self.settings, Catalog([self._provider]))
        self.server = make_server(self.settings, self.app, started.set)

        def run() -> None:
            try:
                self.server.run([listener])
            except BaseException as error:
                self._failures.append(error)
            finally:
                started.set()

        self._thread = threading.Thread(target=run, name="server in process")
        self._thread.start()
        started.wait()
        if self._failures:
            raise self._failures[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.server.end()
        self._thread.join()
        if self._failures:
            raise self._failures[0]
