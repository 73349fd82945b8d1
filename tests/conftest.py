"""What all tests share: real servers on free ports, ended whatever happens."""

from __future__ import annotations

import gc
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Server]


pytest.register_assert_rewrite("tickertape.testing.engine_contract")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts background jobs so, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No example is failed for being slow: the machine may be busy.
settings.register_profile("tickertape", deadline=None)
settings.load_profile("tickertape")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs out unless somebody asks for them: with -m, or by the name of one test."""
    if not config.option.markexpr and not any("::" in name for name in config.args):
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_collection_finish() -> None:
    """Keep what thousands of tests consist of out of every garbage collection from here on."""
    gc.freeze()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers with these options of `Server`; all share the test's folder as their data."""
    with ExitStack() as running:

        def start(*options: str, data: Path | None = None, **settings: Any) -> Server:
            return running.enter_context(Server(data or tmp_path / "data", *options, **settings))

        yield start


@pytest.fixture(scope="module")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a whole module: the echo model, unpaced."""
    with Server(tmp_path_factory.mktemp("data")) as running:
        yield running
