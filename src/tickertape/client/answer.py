"""`ask`: an answer as text, over `EventSource`."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import urllib3

from tickertape.client.pool import strict_pool
from tickertape.client.question import cancellation, is_tickertape, prepare, probe, repeatable, stream_id
from tickertape.client.request import failed
from tickertape.client.sync import EventSource
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State, Text
from tickertape.errors import ConnectionFailed, EventTooLarge
from tickertape.sse.actions import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tickertape.client.question import Question
    from tickertape.deltas import Delta
    from tickertape.sse.actions import Wait

HEAD_TIMEOUT = 2.0
"""Seconds that `cancel` waits to learn the name of a stream that is just being opened."""
TIMEOUT = 10.0
"""Seconds that the server may take to say that it has stopped."""


def ask(
    url: str,
    messages: str | Sequence[Mapping[str, Any]] | None = None,
    *,
    model: str | None = None,
    api_key: str | None = None,
    attach: str | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    read_timeout: float | None = None,
    reconnection_time: float = 0.5,
    max_retries: int = 8,
    pool: urllib3.PoolManager | None = None,
    on_reconnect: Callable[[Wait], object] | None = None,
    **parameters: Any,
) -> Answer:
    """Return the answer of any OpenAI-compatible server: iterate it for its text as it comes.

    ``url`` is a server (``http://localhost:8000``), a base (``https://api.openai.com/v1``; anything that ends in a
    version or a slash) or an endpoint (``…/api/openai/stream``), used as it is. ``messages`` is a list of OpenAI
    messages, or one text. ``parameters`` go into the request as they are: temperature, tools, stream_options, …
    ``api_key`` is sent as ``Authorization: Bearer``. ``attach`` follows an answer that exists on a tickertape
    server, from its start: a stream id, or its URL. Nothing is sent before the iteration starts.

    Raises ConnectionFailed when no answer begins, StreamError when the answer carries an error, IncompleteStream
    when it ends without its terminal marker. A cancelled answer raises nothing: its ``state`` says so.

    A tickertape server names the stream in ``Location``; a cut is then mended from there, with ``reconnection_time``
    seconds between tries or what the stream says, up to ``max_retries`` connections in a row without an event. A
    question is never sent twice to a server that might answer it twice: only to tickertape's own route,
    ``/api/openai/stream``, or when you give an ``idempotency_key``, which says that this server honours it.
    ``read_timeout`` is the silence in seconds that counts as a cut: 60 on that route, else 600.
    """
    question = prepare(
        url,
        messages,
        model=model,
        api_key=api_key,
        attach=attach,
        headers=headers,
        idempotency_key=idempotency_key,
        read_timeout=read_timeout,
        reconnection_time=reconnection_time,
        max_retries=max_retries,
        parameters=parameters,
    )
    return Answer(question, pool=pool, on_reconnect=on_reconnect)


class Answer(EventTranscript):
    """An answer on its way; `ask` makes it. Iterate it for text, or `deltas` for everything; best in a ``with``."""

    def __init__(
        self,
        question: Question,
        *,
        pool: urllib3.PoolManager | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        super().__init__()
        self._question = question
        self._own_pool = pool is None
        self._pool = pool or strict_pool()
        self._opened = threading.Event()
        self._started = False
        self._on_reconnect = on_reconnect
        self._source = self._open(question)
        self._running = self._run()

    @property
    def location(self) -> str | None:
        """Where a tickertape server keeps this answer; None on other servers."""
        return self._question.url if self._question.json is None else self._source.location

    @property
    def stream_id(self) -> str | None:
        """The id of the stream on a tickertape server; None on others."""
        return stream_id(self.location)

    def __iter__(self) -> Iterator[str]:
        for delta in self._running:
            if isinstance(delta, Text):
                yield delta.text

    def deltas(self) -> Iterator[Delta]:
        """Iterate everything that comes: Text, Reasoning, ToolCall, Usage and all else of `tickertape.deltas`."""
        return self._running

    def read(self) -> str:
        """Return the whole text once it is there. Raises what the iteration raises."""
        for _ in self._running:
            pass
        return self.text

    def cancel(self) -> None:
        """Stop the answer; from any thread. The iteration ends soon, with ``state`` cancelled and the partial text.

        A tickertape server is told; from others the connection is closed, which is how they are told. Raises
        ConnectionFailed if the server cannot be told.
        """
        if self.state is not State.RUNNING:
            return
        if self._started:
            self._opened.wait(HEAD_TIMEOUT)
        self.stopped()
        if self.location is None:
            self._source.close()
            return
        try:
            status, body = self._call("POST", *cancellation(self._question, self.location))
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionFailed(f"The answer could not be cancelled: {error}.") from error
        if status >= 300:
            raise failed(Stop(f"Cancelling was answered with {status}", status), body)

    def close(self) -> None:
        """Stop reading and close the connection. What the server then does is its policy; `cancel` says stop."""
        self._source.close()
        if self._own_pool:
            self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> Iterator[Delta]:
        self._started = True
        try:
            try:
                yield from self._read()
            except ConnectionFailed as error:
                if not self._may_ask_again(error):
                    raise
                self._source = self._open(repeatable(self._question))
                yield from self._read()
            self.end()
        except (ConnectionFailed, EventTooLarge) as error:
            if self._opened.is_set() and isinstance(error, ConnectionFailed):
                self.end(error)
            else:
                self.state = State.FAILED
                raise
        finally:
            self.close()

    def _read(self) -> Iterator[Delta]:
        for event in self._source:
            yield from self.take(event)
            if self.done:
                break

    def _may_ask_again(self, error: ConnectionFailed) -> bool:
        """Tell whether a question that was cut before its answer began went to a server that answers it once."""
        aside = None if self._opened.is_set() else probe(self._question, error)
        try:
            return aside is not None and is_tickertape(*self._call("GET", *aside))
        except urllib3.exceptions.HTTPError:
            return False

    def _open(self, question: Question) -> EventSource:
        return EventSource(
            question.url,
            json=question.json,
            headers=question.headers,
            auth=question.auth,
            policy=question.policy,
            pool=self._pool,
            on_open=self._on_open,
            on_reconnect=self._on_reconnect,
        )

    def _call(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        # Not from our own pool: it may have been closed, and what is opened then stays open.
        with strict_pool() if self._own_pool else nullcontext(self._pool) as pool:
            answer = pool.request(method, url, headers=headers, redirect=False, retries=False, timeout=TIMEOUT)
            return answer.status, answer.data

    def _on_open(self, headers: Mapping[str, str]) -> None:
        if self._opened.is_set():
            self.reconnected(self._source.last_event_id)
        self._opened.set()
