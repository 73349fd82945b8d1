"""Who relays: how each is started in front of the upstream."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from machine import checkout, free_port, server, venv, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
PATH = "/v1/chat/completions"

NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log crit; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; proxy_read_timeout 1h; }}
  }}
}}
"""

LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
litellm_settings: {{telemetry: false}}
general_settings: {{master_key: sk-bench-0123456789abcdef}}
"""


class Unavailable(Exception):
    """A contestant cannot run here; the text says why."""


class Gateway:
    """A contestant. `run` yields the port that callers use and the process whose CPU time counts."""

    name = ""
    streams = 200
    """Streams that it is asked to relay at once: those that saturate earlier get fewer."""

    @contextlib.contextmanager
    def run(self, upstream: int, upstream_pid: int) -> Iterator[tuple[int, int]]:
        raise NotImplementedError

    def version(self) -> str:
        return self.name


class Direct(Gateway):
    """No gateway: what the upstream and the reader cost by themselves."""

    name = "direct"

    @contextlib.contextmanager
    def run(self, upstream: int, upstream_pid: int) -> Iterator[tuple[int, int]]:
        yield upstream, upstream_pid


class Tickertape(Gateway):
    """This project, or another checkout of it, its log on disk."""

    name = "tickertape"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        if folder:
            self.name = f"tickertape in {folder.name}"

    @contextlib.contextmanager
    def run(self, upstream: int, upstream_pid: int) -> Iterator[tuple[int, int]]:
        port, data = free_port(), tempfile.mkdtemp(prefix="tickertape-bench-")
        words: list[object] = [*checkout(self.folder), sys.executable, "-m", "tickertape", "serve"]
        words += ["--upstream", f"http://127.0.0.1:{upstream}/v1"]
        words += ["--port", port, "--data", data, "--log-level", "warning"]
        try:
            with server(words, port, 0) as pid:
                yield port, pid
        finally:
            shutil.rmtree(data)

    def version(self) -> str:
        return f"{self.name} {versions(Path(sys.executable), ['tickertape'])['tickertape']}"


class Nginx(Gateway):
    """nginx, its buffering off."""

    name = "nginx"

    @contextlib.contextmanager
    def run(self, upstream: int, upstream_pid: int) -> Iterator[tuple[int, int]]:
        port, home = free_port(), Path(tempfile.mkdtemp(prefix="tickertape-bench-"))
        (home / "nginx.conf").write_text(NGINX.format(home=home, port=port, upstream=upstream))
        try:
            with server([self.program(), "-c", home / "nginx.conf", "-p", home], port, 0) as pid:
                yield port, pid
        finally:
            shutil.rmtree(home)

    def program(self) -> str:
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if found is None:
            raise Unavailable("nginx is not installed; your system's package manager has it")
        return found

    def version(self) -> str:
        done = subprocess.run([self.program(), "-v"], check=True, capture_output=True, text=True)
        return done.stderr.strip().rpartition(" ")[2].replace("/", " ")


class Python(Gateway):
    """A Python program in an environment of its own."""

    def __init__(
        self, name: str, home: str, requirements: Sequence[str], words: Sequence[str], streams: int = 200
    ) -> None:
        self.name, self.home, self.requirements, self.words, self.streams = name, home, requirements, words, streams

    def python(self) -> Path:
        try:
            return venv(self.home, self.requirements)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"{', '.join(self.requirements)} cannot be installed here: {error}") from error

    @contextlib.contextmanager
    def run(self, upstream: int, upstream_pid: int) -> Iterator[tuple[int, int]]:
        port, home = free_port(), Path(tempfile.mkdtemp(prefix="tickertape-bench-"))
        (home / "litellm.yaml").write_text(LITELLM.format(upstream=upstream))
        os.environ["UPSTREAM"] = f"http://127.0.0.1:{upstream}"
        words = [word.format(port=port, home=home, here=HERE) for word in self.words]
        try:
            with server([self.python(), *words], port, 0, HERE) as pid:
                yield port, pid
        finally:
            shutil.rmtree(home)

    def version(self) -> str:
        names = [name.partition("[")[0] for name in self.requirements]
        return ", ".join(f"{name} {version}" for name, version in versions(self.python(), names).items())


UVICORN = ("-m", "uvicorn", "relay_httpx:app", "--port", "{port}", "--log-level", "warning", "--no-access-log")

CONTESTANTS: tuple[Gateway, ...] = (
    Direct(),
    Tickertape(),
    Nginx(),
    Python("aiohttp relay", "gateway-aiohttp", ("aiohttp",), ("relay_aiohttp.py", "{port}")),
    Python(
        "httpx2 → Starlette relay", "gateway-httpx", ("httpx2", "starlette", "uvicorn", "uvloop", "httptools"), UVICORN
    ),
    Python(
        "LiteLLM's proxy",
        "gateway-litellm",
        ("litellm[proxy]",),
        ("{here}/litellm_proxy.py", "--config", "{home}/litellm.yaml", "--port", "{port}", "--host", "127.0.0.1"),
        streams=50,
    ),
)
