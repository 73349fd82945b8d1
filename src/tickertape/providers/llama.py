"""The llama.cpp runtime (xllamacpp), tamed: what has to be set so that it is quiet, quick and closed to others."""

from __future__ import annotations

import atexit
import logging
import os
import platform
import secrets
import threading
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickertape.errors import ApiError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tickertape")

BATCH = 64
"""Tokens of a prompt that are computed in one go. A running answer can be cancelled, and others get their turn, only
between two: at 128 that took 1.2 s on one slow core, at 512 3.3 s, at 64 0.4 s; smaller ones cost throughput."""

EXIT = 5.0
"""Seconds that freeing waits for running answers; they stop at their next token or batch."""

CPUINFO = Path("/proc/cpuinfo")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def check_runtime() -> None:
    """Raise SettingsError, one sentence, if the runtime is not there or this processor cannot run it."""
    if find_spec("xllamacpp") is None:
        raise SettingsError("Local models need the extra `local`: pip install 'tickertape[local]'.")
    # The wheels are compiled for AVX2; without it the process would die of an illegal instruction.
    if platform.machine() == "x86_64" and CPUINFO.exists() and "avx2" not in CPUINFO.read_text():
        raise SettingsError("Local models need a processor with AVX2; this one has none. Use --upstream URL instead.")


class Llama:
    """A loaded model. Blocks while loading and answering: never use it on the event loop's thread.

    Make it after forking: its threads do not survive a fork. ``parallel`` answers run at once, with ``context`` tokens
    each; ``compact`` keeps what was read in 8 bits, which saves half of that memory.
    """

    def __init__(self, path: Path, *, parallel: int, context: int, threads: int, compact: bool) -> None:
        # Waiting OpenMP threads spin by default: on a busy machine that took 97 tokens a second down to 3 to 15.
        # libgomp reads this once, when it is loaded.
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            import xllamacpp
        except ImportError as error:
            hint = " Install it: apt install libgomp1, for example." if "libgomp" in str(error) else ""
            raise SettingsError(f"The runtime for local models cannot be loaded ({error}).{hint}") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel = parallel
        params.n_ctx = context * parallel  # the total: each answer gets an equal part
        params.kv_unified = False  # a shared part would be used up by one answer, and then all of them fail
        params.n_batch = params.n_ubatch = BATCH
        params.fit_params = False  # it would shrink the context in silence
        params.cache_ram_mib = 0  # by default up to 8 GB of old prompts are kept
        if compact:
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
        for cpu in (params.cpuparams, params.cpuparams_batch):
            cpu.n_threads = threads
        # It always opens HTTP on a random loopback port. Nobody else on this machine shall use it.
        params.api_keys = [secrets.token_hex(32)]
        params.cors_origins = ""
        params.ui = params.endpoint_slots = False
        params.endpoint_metrics = True  # the key is asked for there too; see below
        params.n_threads_http = 1
        params.verbosity = 3 if logger.isEnabledFor(logging.DEBUG) else 0
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            raise SettingsError(
                f"The model {path} cannot be loaded: it is damaged, of an unknown kind, or memory is short."
            ) from error
        # Freed before its loop turns, the runtime never ends. Only the loop knows the metrics: they come once it turns.
        self._server.handle_metrics()

        self._changed = threading.Condition()
        self._running: set[Callable[[], object]] = set()
        # The interpreter must not exit while a thread is in the runtime, nor before it is freed: it aborts, or hangs.
        atexit.register(self.free)

    def ask(self, body: bytes, on_chunk: Callable[[bytes], bool], cancel: Callable[[], object]) -> None:
        """Answer a chat completion request; ``on_chunk`` gets each chunk's JSON and returns True to stop.

        Blocks until the answer has ended. ``cancel`` is called, from another thread, to make ``on_chunk`` stop soon.
        Raises what the runtime raises for requests that it cannot read.
        """
        with self._changed:
            server = self._server
            if server is None:
                raise ApiError("The server is stopping; the local model is closed.", status=503)
            self._running.add(cancel)
        try:
            server.handle_chat_completions(body, on_chunk)
        finally:
            del server
            with self._changed:
                self._running.discard(cancel)
                self._changed.notify_all()

    def free(self) -> None:
        """Stop what is running and give the memory back."""
        with self._changed:
            for cancel in tuple(self._running):
                cancel()
            if self._changed.wait_for(lambda: not self._running, EXIT):
                self._server = None
        atexit.unregister(self.free)


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, and the quota of its container."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    try:
        quota, period = CPU_MAX.read_text().split()
        return min(cores, max(1, ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup, or "max"
        return cores
