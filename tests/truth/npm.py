"""Packages of npm for tests and tables, installed once into .tools."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

TOOLS = Path(__file__).parents[2] / ".tools"


def installed(folder: str, *requirements: str) -> Path:
    """Install packages into a folder of .tools unless they are there, and return it. Raises CalledProcessError."""
    home = TOOLS / folder
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        modules = home / "node_modules"
        if not all((modules / one.rpartition("@")[0] / "package.json").exists() for one in requirements):
            words = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
            subprocess.run([*words, *requirements], cwd=home, check=True, capture_output=True, text=True)
    return home


def beside(home: Path, script: Path) -> Path:
    """Copy a script to where its modules are looked for, and return the copy."""
    return Path(shutil.copy(script, home))
