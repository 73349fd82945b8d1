"""An upstream for tests: four dialects on one port, healthy or with any of the named faults.

::

    async with Upstream() as upstream:              # or `with`, from code that is not async: it runs in a thread
        client = OpenAI(base_url=upstream.url("openai"), api_key="any")
        … client.chat.completions.create(model="clean-eof", …)    # a model for every fault: `FAULTS`

``python -m tickertape.testing.upstream --port 8090`` runs it for programs in any language; ``--list`` names the faults.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import click

from tickertape.testing.actions import answering
from tickertape.testing.answer import WORDS, ScriptedAnswer
from tickertape.testing.connection import Connection, Request
from tickertape.testing.dialects import DIALECTS
from tickertape.testing.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tickertape.testing.actions import Action
    from tickertape.testing.faults import Fault

_BASES = {"openai": "/v1", "anthropic": "", "gemini": "", "ollama": ""}
"""What each dialect's own client library wants as its base URL."""

_QUESTIONS = (
    (re.compile(r"/chat/completions$"), "openai"),
    (re.compile(r"/messages$"), "anthropic"),
    (re.compile(r"/models/(?P<model>[^/:]+):(?:streamG|g)enerateContent$"), "gemini"),
    (re.compile(r"/api/chat$"), "ollama"),
)


class Upstream:
    """A running upstream on this machine, on a random port unless one is given.

    A request for a model with the name of a fault gets that fault, any other gets ``fault``. ``words`` are the tokens
    of the healthy answer, ``pace`` how many of them come in a second; 0 is all at once. ``asked`` holds the requests,
    ``connections`` counts those accepted and ``open`` those that are open. ``script`` may answer in place of all that.
    """

    def __init__(self, *, port: int = 0, pace: float = 0, words: Sequence[str] = WORDS, fault: str = "healthy") -> None:
        self.port, self.pace, self.words = port, pace, tuple(words)
        self.fault = _fault(fault)
        self.script: Callable[[Request], Iterable[Action]] | None = None
        self.asked: list[Request] = []
        self.connections = 0
        self.open = 0
        self.keeps = True
        """Whether ``asked`` is filled; a load test would rather not."""
        self._counts: Counter[tuple[str, str]] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] | None = None

    def url(self, dialect: str) -> str:
        """Return the base URL for the dialect's own client library."""
        return f"http://127.0.0.1:{self.port}{_BASES[dialect]}"

    async def start(self) -> None:
        """Listen."""
        self._changed = asyncio.Event()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[Self], bool]) -> None:
        """Wait until something is true, of what arrived or is open."""
        while not condition(self):
            assert self._changed is not None  # noqa: S101 - it was started
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close."""
        await self.close()

    def __enter__(self) -> Self:
        """Start, in a thread of its own."""
        started: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self._thread.start()
        started.result()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close, and end the thread."""
        assert self._stop is not None  # noqa: S101 - it was started
        assert self._thread is not None  # noqa: S101
        self._stop()
        self._thread.join()

    async def _main(self, started: Future[None]) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        try:
            await self.start()
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await stopped.wait()
        await self.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._tell()
        connection = Connection(reader, writer, self.pace)
        try:
            while (asked := await connection.ask()) is not None:
                if self.keeps:
                    self.asked.append(asked)
                self._tell()
                if not await connection.play(self._actions(asked)):
                    break
        except ConnectionError:
            pass  # the other side has gone: what tests of cancelling wait for
        finally:
            self.open -= 1
            self._tell()
            connection.close()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = asyncio.Event()

    def _actions(self, asked: Request) -> Iterable[Action]:
        if self.script is not None:
            return self.script(asked)
        path = asked.path.partition("?")[0]
        if asked.method == "GET":
            return answering(200, json.dumps(self._listing(asked, path)).encode())
        for pattern, dialect in _QUESTIONS:
            found = pattern.search(path)
            if found is not None:
                body = asked.body if isinstance(asked.body, dict) else {}
                return self._answer(dialect, str(found.groupdict().get("model") or body.get("model")), body, path)
        return answering(404, b'{"error": {"message": "There is nothing here."}}')

    def _listing(self, asked: Request, path: str) -> object:
        if path.endswith("/api/tags"):
            dialect = "ollama"
        elif "anthropic-version" in asked.headers:
            dialect = "anthropic"
        else:
            dialect = "gemini" if path.startswith("/v1beta") or "x-goog-api-key" in asked.headers else "openai"
        return DIALECTS[dialect].models(list(FAULTS))

    def _answer(self, dialect: str, model: str, body: dict[str, object], path: str) -> list[Action]:
        self._counts[dialect, model] += 1
        answer = ScriptedAnswer(DIALECTS[dialect], model, self.words, self._counts[dialect, model])
        fault = FAULTS.get(model, self.fault)
        streams = "stream" in path if dialect == "gemini" else body.get("stream", dialect == "ollama")
        if not streams and fault.name == "healthy":
            fault = FAULTS["one-piece"]
        return fault.script(answer)


def _fault(name: str) -> Fault:
    if name not in FAULTS:
        raise ValueError(f"There is no fault {name!r}; there are {', '.join(FAULTS)}.")
    return FAULTS[name]


async def _run(upstream: Upstream) -> None:
    upstream.keeps = False
    async with upstream:
        click.echo(f"The upstream is listening on http://127.0.0.1:{upstream.port} (Ctrl-C to stop)")
        await asyncio.Event().wait()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--pace", default=20.0, show_default=True, type=click.FloatRange(0), help="Tokens a second; 0 is all at once."
)
@click.option("--tokens", type=click.IntRange(1), help="Length of the answer. [default: one sentence]")
@click.option(
    "--fault",
    default="healthy",
    show_default=True,
    type=click.Choice(list(FAULTS)),
    metavar="NAME",
    help="What models that are no fault themselves get; see --list.",
)
@click.option("--list", "listing", is_flag=True, help="Name the faults. Each is also a model that can be asked for.")
def main(*, port: int, pace: float, tokens: int | None, fault: str, listing: bool) -> None:
    """Run an upstream for tests: OpenAI, Anthropic, Gemini and Ollama on one port, healthy or faulty."""
    if listing:
        for one in FAULTS.values():
            click.echo(f"{one.name:20} {one.state:12} {one.says}")
        return
    words = [WORDS[number % len(WORDS)] for number in range(tokens or len(WORDS))]
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_run(Upstream(port=port, pace=pace, words=words, fault=fault)))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # asyncio's own words name the address once more
        raise click.ClickException(f"Cannot listen on port {port}: {reason}. Choose another with --port.") from error


if __name__ == "__main__":
    main()
