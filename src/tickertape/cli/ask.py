"""``tickertape ask``: an answer typed into the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from tickertape.cli.terminal import escape
from tickertape.client.aio_answer import aask
from tickertape.deltas import End, Reasoning, Refusal, State, Text, decode_delta
from tickertape.errors import AnswerFailed, IncompleteStream, SettingsError
from tickertape.generation import Generations, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.server.providers import PROVIDERS, fetch_model, select
from tickertape.server.settings import Settings
from tickertape.streams.contract import follow
from tickertape.streams.memory import MemoryEngine
from tickertape.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tickertape.deltas import Delta
    from tickertape.providers.catalog import Catalog
    from tickertape.streams.contract import Stream

_DEFAULTS = Settings()

HERE = f"http://{_DEFAULTS.host}:{_DEFAULTS.port}"
"""Where ``tickertape serve`` serves without options."""

STOPPED = 130
"""The exit code of a stopped answer: what shells give a program that Ctrl-C ended."""


@click.command()
@click.argument("question", required=False)
@click.option(
    "--url", help="A running server: tickertape or any OpenAI-compatible one. Without it the answer is made here."
)
@click.option(
    "--attach",
    metavar="STREAM_ID",
    help="Follow an answer that exists, from its start, on the server at --url or on the one that runs here.",
)
@click.option("--api-key", envvar="TICKERTAPE_API_KEY", help="Key for the server at --url.")
@click.option("--model", help="Model to ask, if not the first one served.")
@click.option("--system", help="System prompt.")
@click.option(
    "--provider",
    type=click.Choice(PROVIDERS),
    help="What answers when there is no --url. [default: openai with --upstream, else local, the built-in model]",
)
@click.option(
    "--upstream", metavar="URL", help="Base URL of a model's server to ask without a server of ours; see --provider."
)
@click.option("--model-path", type=click.Path(path_type=Path), help="A GGUF file in place of the built-in model.")
@click.option("--echo-rate", default=20.0, show_default=True, help="Tokens a second of the echo model; 0 is unpaced.")
@click.option("--raw", is_flag=True, help="Print control characters as they are; they can command a terminal.")
def ask(
    question: str | None,
    url: str | None,
    attach: str | None,
    api_key: str | None,
    model: str | None,
    system: str | None,
    provider: str | None,
    upstream: str | None,
    model_path: Path | None,
    echo_rate: float,
    raw: bool,
) -> None:
    """Ask QUESTION (or standard input) and type the answer as it comes.

    Ctrl-C stops the answer. Exit code: 0 when it is complete, 130 when it was stopped, 1 when it failed, was cut off
    or could not be had.
    """
    if attach and question:
        raise SettingsError("--attach follows an answer that exists; leave the question out.")
    if attach and url is None:
        url = HERE
    if not question and not attach:
        question = _piped()
    if not question and not attach:
        raise SettingsError('There is no question: say tickertape ask "…" or pipe one in.')
    messages = ([{"role": "system", "content": system}] if system else []) + [
        {"role": "user", "content": question or ""}
    ]
    answer: _Answering
    if url is not None:
        answer = _remote(url, None if attach else messages, model=model, api_key=api_key, attach=attach)
    else:
        settings = Settings(
            provider=provider, upstream=upstream, model=model, model_path=model_path, echo_rate=echo_rate
        )
        answer = AnswerHere(settings, messages)
    sys.exit(asyncio.run(_type(answer, str if raw else escape)))


def _piped() -> str:
    if sys.stdin is None:  # closed, as `<&-` does it
        return ""
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise SettingsError(f"What was piped in is no {error.encoding} text; a question is one.") from error


def _remote(url: str, messages: list[dict[str, str]] | None, **options: Any) -> _Answering:
    try:
        return aask(url, messages, **options)
    except ValueError as error:
        raise SettingsError(f"{error}") from error


class _Answering(Protocol):
    """What typing needs of an answer, wherever it is made."""

    @property
    def state(self) -> State: ...
    @property
    def finish_reason(self) -> str | None: ...
    def details(self) -> dict[str, Any]: ...
    def deltas(self) -> AsyncIterator[Delta]: ...
    async def cancel(self) -> None: ...
    async def close(self) -> None: ...


async def _type(answer: _Answering, shown: Callable[[str], str]) -> int:
    """Type an answer; return the exit code. Raises what the answer raises, once the partial text stands on its line."""
    stopping: set[asyncio.Task[None]] = set()
    out = sys.stdout
    newline = True
    thought = False
    with suppress(NotImplementedError):  # Windows: Ctrl-C interrupts the loop, and the answer ends with the process
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGINT, lambda: stopping.add(asyncio.create_task(answer.cancel()))
        )
    try:
        async for delta in answer.deltas():
            if isinstance(delta, Reasoning):
                click.secho(shown(delta.text), dim=True, nl=False, err=True)
                thought = not delta.text.endswith("\n")
            elif isinstance(delta, Text | Refusal):
                if thought:  # the answer begins on a line of its own
                    click.echo(err=True)
                    thought = False
                out.write(shown(delta.text))
                out.flush()
                newline = delta.text.endswith("\n")
    finally:
        if not newline:
            out.write("\n")
            out.flush()
        await asyncio.gather(*stopping, return_exceptions=True)
        await answer.close()
    for line in beside(answer.details()):
        click.echo(shown(line), err=True)
    if answer.state is State.CANCELLED:
        click.echo("Stopped.", err=True)
        return STOPPED
    if answer.finish_reason == "length":
        click.echo("The answer reached its length limit.", err=True)
    return 0


def beside(details: dict[str, Any]) -> Iterator[str]:
    """Yield a line for everything that the answer holds beside its text."""
    for call in details.get("tool_calls", ()):
        made = call.get(call.get("type")) or {}
        yield f"The model asks for the tool {made.get('name')}: {made.get('arguments', made.get('input', ''))}"
    if call := details.get("function_call"):
        yield f"The model asks for the function {call.get('name')}: {call.get('arguments', '')}"
    for step in details.get("server_tools", ()):
        yield f"The provider ran {step.get('name') or step.get('type')}."
    for image in details.get("images", ()):
        url = image["image_url"]["url"]
        inline = url.startswith("data:")
        yield f"An image: {url.partition(',')[0] + f', {len(url):,} characters' if inline else url}"
    if audio := details.get("audio"):
        yield f"Sound: {audio.get('transcript') or 'without a transcript'}"
    sources = [one.get("url_citation") or one for one in details.get("annotations", ())] + details.get("citations", [])
    seen = dict.fromkeys(
        " ".join(filter(None, (str(one.get("title") or one.get("document_title") or ""), one.get("url") or "")))
        or str(one.get("cited_text") or one.get("type"))
        for one in sources
    )
    for number, source in enumerate(seen, 1):
        yield f"[{number}] {source}"


class AnswerHere(Transcript):
    """An answer made in this process: provider, generation and log as in the server, without HTTP."""

    def __init__(self, settings: Settings, messages: list[dict[str, str]]) -> None:
        super().__init__()
        self._settings = settings
        self._messages = messages
        self._log = MemoryEngine()
        self._stream: Stream | None = None
        self._stopped = False
        self._catalog: Catalog | None = None
        self._end = End(State.RUNNING)

    @property
    def state(self) -> State:
        """How far it is."""
        return self._end.state

    async def deltas(self) -> AsyncIterator[Delta]:
        """Iterate what comes. Raises IncompleteStream and AnswerFailed, as for a remote answer."""
        settings = self._settings
        self._catalog = select(settings, await asyncio.to_thread(fetch_model, settings))
        provider, model = await self._catalog.find(settings.model)
        request = ChatRequest(model=model, messages=self._messages)
        self._stream = stream = await Generations(self._log).begin(GenerationSpec(provider, request), owner="terminal")
        if self._stopped:
            await self._log.cancel(stream)
        async for entries in follow(stream):
            for delta in map(decode_delta, entries):
                if isinstance(delta, End):
                    self._end = delta
                else:
                    self.add(delta)
                    yield delta
        if self._end.error is not None:
            kind = IncompleteStream if self.state is State.INCOMPLETE else AnswerFailed
            raise kind(self._end.error["message"], text=self.text)

    async def cancel(self) -> None:
        """Stop it; what was written stays."""
        self._stopped = True
        if self._stream is not None:
            await self._log.cancel(self._stream)

    async def close(self) -> None:
        """Give back the provider's connections and memory."""
        if self._catalog is not None:
            await self._catalog.close()
