"""What every benchmark here needs: rivals in an environment of their own, CPU clocks of other processes, versions."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tickertape-bench"


def venv(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that holds the requirements; made on first use, then kept."""
    home = CACHE / name
    mark, wanted = home / "requirements.txt", "\n".join(requirements)
    python = home / "bin" / "python"
    if not mark.exists() or mark.read_text() != wanted:
        print(f"Installing {', '.join(requirements)} into {home} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, *requirements], check=True)
        mark.write_text(wanted)
    return python


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    code = "import sys, importlib.metadata as m\nfor name in sys.argv[1:]: print(m.version(name))"
    done = subprocess.run([python, "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, done.stdout.split(), strict=True))


def checkout(folder: Path | None) -> list[str]:
    """Return the words before a command that run it on another checkout of this project, none for this one."""
    return ["env", f"PYTHONPATH={folder.resolve() / 'src'}"] if folder else []


def describe() -> str:
    """Return one line that says on what this was measured."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # Linux: the process's own clock


def kernel_share(pid: int) -> tuple[int, int]:
    """Return a process's user and system time in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def rss(pid: int) -> int:
    """Return a process's own memory in bytes, without files that are mapped."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no RssAnon for process {pid}")


@contextlib.contextmanager
def server(command: Sequence[object], port: int, core: int, cwd: Path | None = None) -> Iterator[int]:
    """Run a server pinned to a core until the block ends; its port answers when the block begins."""
    words = ["taskset", "-c", str(core), *map(str, command)]
    process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        _await_port(process, port)
        yield process.pid
    finally:
        process.kill()  # not an orderly end: whatever still streams is of no interest
        process.wait()


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    for _attempt in range(1200):  # a minute: LiteLLM's proxy takes a quarter of that on a busy machine
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
