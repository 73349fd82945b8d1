"""A GGUF model on this machine, several answers at once.

`llama_request` brings requests into a form that cannot surprise the runtime, `thread_bridge` gives each a thread, at
most ``parallel`` at once while the others wait in order, and `llama` deals with the traps of the runtime itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.deltas import Finish, ToolCall
from tickertape.errors import ApiError, SettingsError
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.providers.builtin import PINNED
from tickertape.providers.gguf import read_gguf
from tickertape.providers.llama import Llama, check_runtime, usable_cores
from tickertape.providers.llama_request import LlamaRequests, failed, read_chunk, refused_by
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.parameters import SAMPLING, STANDARD
from tickertape.providers.thread_bridge import ThreadBridge
from tickertape.providers.upstream_errors import UpstreamErrors

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.providers.base import Sink

BUILTIN_ID = "smollm2-135m-instruct"
BUILTIN_NOTE = "A very small model on this machine: English only, quick, and weak at facts."

_BUILTIN_SAMPLING = {"temperature": 0.4, "top_p": 0.9, "repeat_penalty": 1.1}
"""Without these the built-in model rambles and repeats itself; a request's own values come first."""


class Local(Provider):
    """The GGUF model at ``path``: the built-in one, or any other.

    ``parallel`` answers run at once and hold ``context`` tokens each, question and answer together; further ones
    wait in order. It is loaded on first use or by `start`. Raises SettingsError, one sentence, for a file that is
    missing or none, and when the runtime is not installed.
    """

    name = "local"
    fields = STANDARD | SAMPLING
    prefills = True  # the runtime's chat templates leave a last assistant message open

    def __init__(self, path: Path, *, parallel: int = 4, context: int = 4096, threads: int | None = None) -> None:
        check_runtime()
        gguf = read_gguf(path)
        self._builtin = path.name == PINNED.member.rpartition("/")[2]
        self._model = Model(
            id=BUILTIN_ID if self._builtin else path.stem,
            owned_by=gguf.organization,
            note=BUILTIN_NOTE if self._builtin else f"{gguf.name}, on this machine.",
        )
        self._path, self._parallel = path, parallel
        self.capacity = parallel
        self._context = min(context, gguf.context_length or context)
        # One core is left to the server: tokens that cannot be sent are of no use.
        self._threads = threads or max(1, usable_cores() - 1)
        defaults = _BUILTIN_SAMPLING if self._builtin else {}
        self._requests = LlamaRequests(gguf.control_tokens, self._context, defaults, tools=gguf.calls_tools)
        self._llama: Llama | None = None
        self._loading: asyncio.Task[Llama] | None = None
        self._slots: asyncio.Semaphore | None = None
        self._slots_loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def models(self) -> list[Model]:
        """Return the one model; it need not be loaded for that."""
        return [self._model]

    async def start(self) -> None:
        """Load the model, in a thread. Raises SettingsError when it cannot be loaded."""
        await self._loaded()

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push the answer; raises InvalidRequest for what the model cannot do, such as a conversation that is too long.

        A piece is a token: what people see as one character, a flag or a family, may come in two. Readers join them.
        """
        body = self._requests.body(request)
        try:
            llama = await self._loaded()
        except SettingsError as error:
            raise ApiError(str(error), status=503, code="model_unavailable") from error
        slots = self._slots_here()
        await slots.acquire()
        try:
            bridge = ThreadBridge(
                asyncio.get_running_loop(), lambda bridge: _answer(llama, body, bridge), slots.release
            )
        except RuntimeError as error:  # no more threads
            slots.release()
            raise ApiError(f"No thread for this answer: {error}.", status=503) from error
        demanded = request.parameters.get("tool_choice") not in (None, "auto", "none")
        try:
            while batch := await bridge.take():
                if demanded:
                    demanded = not any(isinstance(delta, ToolCall) for delta in batch)
                    if demanded and Finish("stop") in batch:
                        raise failed("it was to call a tool, and did not")
                sink.push(batch)
                if sink.behind:
                    await sink.drained()
        finally:
            bridge.cancel()

    async def close(self) -> None:
        """Stop the running answers and free the model's memory."""
        self._closed = True
        if self._loading is not None and not self._loading.done():
            await asyncio.wait([self._loading])
        llama, self._llama = self._llama, None
        if llama is not None:
            await asyncio.to_thread(llama.free)

    async def _loaded(self) -> Llama:
        if self._llama is not None:
            return self._llama
        if self._closed:
            raise SettingsError("The server is stopping; the local model is closed.")
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
            self._loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have no waiter
        return await asyncio.shield(self._loading)

    def _load(self) -> Llama:
        self._llama = Llama(
            self._path,
            parallel=self._parallel,
            context=self._context,
            threads=self._threads,
            compact=self._builtin,  # measured to be as good and as quick; not every other architecture can
        )
        return self._llama

    def _slots_here(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._slots is None or self._slots_loop is not loop:
            self._slots, self._slots_loop = asyncio.Semaphore(self._parallel), loop
        return self._slots


def _answer(llama: Llama, body: bytes, bridge: ThreadBridge) -> None:
    """Answer, in the bridge's thread."""
    reader = ChunkReader(UpstreamErrors("The local model"))
    failure: list[BaseException] = []

    def on_chunk(data: bytes) -> bool:
        try:
            return bridge.give(read_chunk(reader, data))
        except BaseException as error:
            failure.append(error)  # the runtime would swallow it and go on without a listener
            return True

    try:
        llama.ask(body, on_chunk, bridge.cancel)
    except (ValueError, TypeError, RuntimeError) as error:
        if reader.events:
            raise failed(str(error)) from error
        raise refused_by({"code": 400, "message": str(error)}) from error
    if failure:
        raise failure[0]
    bridge.give(reader.feed(b""))
