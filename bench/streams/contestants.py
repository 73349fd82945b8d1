"""Who is compared: how each is started and what it is asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from machine import checkout, free_port, server, venv, versions

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REQUIREMENTS = ("uvicorn", "httptools", "uvloop", "starlette", "sse-starlette", "fastapi")


class Running:
    """A server that runs: its port and process."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Make one request and return the answer's body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse().read()
        connection.close()
        return answer


class Rival:
    """An ASGI application on uvicorn that sends tickertape's bytes."""

    def __init__(self, name: str, module: str, loop: str = "asyncio") -> None:
        self.name, self.module, self.loop = name, module, loop
        self.imports = f"import uvicorn, {module}"
        self.cwd: Path | None = HERE
        self.packages = ["uvicorn", "httptools", module.removesuffix("_app").replace("_", "-")]
        if module == "plain_asgi":
            self.packages.pop()
        if loop == "uvloop":
            self.packages.append("uvloop")

    @property
    def python(self) -> Path:
        return venv("streams", REQUIREMENTS)

    @contextlib.contextmanager
    def run(self, _rate: float) -> Iterator[Running]:
        port = free_port()
        words = [self.python, "-m", "uvicorn", f"{self.module}:app", "--port", port, "--loop", self.loop]
        words += ["--http", "httptools", "--log-level", "warning", "--no-access-log", "--backlog", "4096"]
        with server(words, port, 0, HERE) as pid:
            yield Running(port, pid)

    def request(self, _running: Running, kind: str, rate: float, _words: int) -> tuple[str, float | None]:
        """Return the bytes of a request, and since when the stream runs if all read the same."""
        since = None
        return f"GET /?kind={kind}&rate={rate} HTTP/1.1\r\nHost: localhost\r\n\r\n", since

    def begin(self, running: Running, rate: float) -> float:
        """Start the one source that all readers share."""
        path = "/begin?" if self.module == "fastapi_app" else "/?kind=begin&"
        since = time.monotonic()
        running.call("POST", f"{path}rate={rate}")
        return since


class Tickertape:
    """This project or another checkout of it, as ``tickertape serve --provider echo`` runs it, with its log on disk."""

    name = "tickertape"
    imports = "import tickertape.cli.serve, tickertape.server.run"
    cwd: Path | None = None
    packages = ("tickertape",)
    python = Path(sys.executable)

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        if folder:
            self.name, self.cwd = f"tickertape in {folder.name}", folder.resolve() / "src"

    @contextlib.contextmanager
    def run(self, rate: float) -> Iterator[Running]:
        port, data = free_port(), tempfile.mkdtemp(prefix="tickertape-bench-")
        words: list[object] = [*checkout(self.folder), sys.executable, "-m", "tickertape", "serve"]
        words += ["--provider", "echo", "--echo-rate", rate]
        words += ["--port", port, "--data", data, "--log-level", "warning"]
        try:
            with server(words, port, 0) as pid:
                yield Running(port, pid)
        finally:
            shutil.rmtree(data)

    def request(self, running: Running, kind: str, rate: float, words: int) -> tuple[str, float | None]:
        """Return the bytes of a request, and since when the stream runs if all read the same."""
        body = json.dumps({"messages": [{"role": "user", "content": " word" * words}]})
        if kind in ("fan", "unpaced"):  # one stream, written before it is read or while it is
            since = time.monotonic()
            url = json.loads(running.call("POST", "/v1/streams", body.encode()))["url"]
            if kind == "unpaced":
                running.call("GET", url)
            return f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n", since
        head = "POST /api/openai/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}", None

    def begin(self, _running: Running, _rate: float) -> float:
        """Nothing: the request that began the stream did it."""
        return 0


CONTESTANTS = (
    Tickertape(),
    Rival("plain ASGI", "plain_asgi"),
    Rival("plain ASGI, uvloop", "plain_asgi", "uvloop"),
    Rival("Starlette", "starlette_app"),
    Rival("sse-starlette", "sse_starlette_app"),
    Rival("FastAPI", "fastapi_app"),
)


def rival_versions() -> dict[str, str]:
    """Return what the rivals run on."""
    return versions(venv("streams", REQUIREMENTS), REQUIREMENTS)
