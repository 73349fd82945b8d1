"""A real server in a process of its own, to be asked, ended, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from . import fork_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .fork_server import Forked

READY = "tickertape is listening on "
STOP_TIMEOUT = 60
"""Seconds after which a process that should end counts as hanging: far beyond every deadline of its own."""

_OURS = ("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_", "TICKERTAPE_", "PYTEST_", "COV_")
_NOBODY = {"OLLAMA_HOST": "127.0.0.1:9", "XDG_CONFIG_HOME": "/nonexistent"}
"""No Ollama and no tickertape.toml of whoever runs the tests."""

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without keys, settings and proxies of whoever runs the tests."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_OURS) and name.lower() not in _PROXIES
    }
    return kept | _NOBODY | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"} | dict(extra or {})


class ServerEnded(AssertionError):
    """The server ended before it listened; the message holds what it said."""


class Server:
    """``tickertape serve`` with these options, on a free port of the loopback interface.

    `start` returns once it listens. `restart` starts it again on the same port and data. As a context manager it is
    started and, whatever happens, ended with all its workers.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        provider: str | None = "echo",
        echo_rate: float = 0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self.port = 0
        chosen = [f"--provider={provider}"] if provider else []
        self._options = [*chosen, f"--echo-rate={echo_rate}", "--log-level=warning", *options]
        self._environment = clean_environment(env)
        patched = any(name.startswith("PYTHON") for name in env or ())
        self._forked = fork_server.AVAILABLE and not patched
        handle, name = tempfile.mkstemp(prefix="tickertape-", suffix=".err")
        os.close(handle)
        self._errors = Path(name)
        self._process: subprocess.Popen[str] | Forked | None = None
        self._drain: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[str] | Forked:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        """Everything that it has written to standard error so far, over all its starts."""
        return self._errors.read_text("utf-8", "replace")

    @property
    def workers(self) -> list[int]:
        """The process ids of its children."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def start(self) -> Self:
        """Start it and wait for the line that says where it listens."""
        arguments = ["serve", "--port", str(self.port), "--data", str(self.data), *self._options]
        with self._errors.open("a") as errors:
            if self._forked:
                self._process = fork_server.launch(arguments, self._environment, errors)
            else:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tickertape", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment,
                    text=True,
                )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(READY):
                self.port = int(line.removeprefix(READY).split()[0].rpartition(":")[2])
                break
        else:
            self._process.stdout.close()
            code = self._process.wait(STOP_TIMEOUT)
            raise ServerEnded(f"exit code {code}\n{self.stderr}")
        self._drain = threading.Thread(target=self._process.stdout.read, name="server output")
        self._drain.start()
        return self

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        code = self.process.wait(STOP_TIMEOUT)
        self._collect()
        return code

    def terminate(self) -> int:
        """Ask it to end, as an init system does; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, with all its workers, as a power cut would."""
        doomed = [self.pid, *self.workers] if self.process.poll() is None else []
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT)
        self._collect()

    def restart(self) -> None:
        """Start it again on the same port and data; kill it before, if it lives."""
        if self.process.poll() is None:
            self.kill()
        self.start()

    def _collect(self) -> None:
        if self._drain is not None:
            self._drain.join()
            self._drain = None
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        self._errors.unlink(missing_ok=True)
