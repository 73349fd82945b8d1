"""`ask` and `Answer`: the blocking shell of the answer machine."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, Self

from tickertape.client.answer_machine import HEAD_TIMEOUT, AnswerMachine
from tickertape.client.answer_request import prepare, stream_id
from tickertape.client.sync import SyncTransport
from tickertape.client.transcript import EventTranscript
from tickertape.deltas import State, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    import urllib3

    from tickertape.client.answer_request import AnswerRequest
    from tickertape.deltas import Delta
    from tickertape.sse.actions import Wait


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

    Use it in a program without asyncio; `aask` is the same for asyncio. Nothing is sent before the iteration starts.

    ``url`` is a server (``http://localhost:8000``), a base (``https://api.openai.com/v1``; anything that ends in a
    version or a slash) or an endpoint (``…/api/openai/stream``), used as it is. ``messages`` is a list of OpenAI
    messages, or one text. ``parameters`` go into the request as they are: temperature, tools, stream_options, …
    ``api_key`` is sent as ``Authorization: Bearer``. ``attach`` follows an answer that exists on a tickertape
    server, from its start: a stream id, or its URL. ``pool`` is a urllib3 pool manager of yours and stays open.

    Raises ValueError at once for arguments that make no request. The iteration raises ConnectionFailed when no answer
    begins, AnswerFailed when the answer carries an error, IncompleteStream when it ends without its terminal marker,
    and raises it again if it is started again. A cancelled answer raises nothing: its ``state`` says so.

    A tickertape server names the stream in ``Location``; after a cut it is read on from there, with
    ``reconnection_time`` seconds between tries or what the stream says, up to ``max_retries`` connections in a row
    without an event. A question is never sent twice to a server that might answer it twice: only to tickertape's own
    route, ``/api/openai/stream``, to a server that proves to be tickertape, or when you give an ``idempotency_key``,
    which says that this server honours it. ``read_timeout`` is the silence in seconds that counts as a cut: 60 on that
    route, else 600.
    """
    asked = prepare(
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
    return Answer(asked, pool=pool, on_reconnect=on_reconnect)


class Answer(EventTranscript):
    """An answer on its way; `ask` makes it. Iterate it for text, or `deltas` for everything; best in a ``with``.

    A loop that is left early can be followed by another, which goes on where the first one stopped. Leaving the
    ``with`` block closes the connection.

    Thread safety: one thread iterates; any thread may call `cancel` and `close`, and read the attributes.
    """

    def __init__(
        self,
        asked: AnswerRequest,
        *,
        pool: urllib3.PoolManager | None = None,
        on_reconnect: Callable[[Wait], object] | None = None,
    ) -> None:
        super().__init__()
        self._opened = threading.Event()
        self._machine = AnswerMachine(
            asked, self, random=random.random, on_open=lambda _: self._opened.set(), on_reconnect=on_reconnect
        )
        self._transport = SyncTransport(self._machine, pool, asked.auth)

    @property
    def location(self) -> str | None:
        """Where a tickertape server keeps this answer; None on other servers."""
        return self._machine.location

    @property
    def stream_id(self) -> str | None:
        """The id of the stream on a tickertape server; None on others."""
        return stream_id(self.location)

    def __iter__(self) -> Iterator[str]:
        for delta in self.deltas():
            if isinstance(delta, Text):
                yield delta.text

    def deltas(self) -> Iterator[Delta]:
        """Iterate everything that comes: Text, Reasoning, ToolCall, Usage and all else of `tickertape.deltas`."""
        next_delta = self._machine.next_delta
        while True:
            while (delta := next_delta()) is not None:
                yield delta
            if not self._transport.perform():
                return

    def read(self) -> str:
        """Return the whole text once it is there. Raises what the iteration raises."""
        for _ in self.deltas():
            pass
        return self.text

    def cancel(self) -> None:
        """Stop the answer; from any thread. The iteration ends soon, with ``state`` cancelled and the partial text.

        A tickertape server is told; other servers learn it from the close of the connection. While an answer is just
        being opened, this waits up to 2 seconds for its name. Does nothing once the answer has ended. Raises
        ConnectionFailed if the server cannot be told; the answer then goes on.
        """
        if self.state is not State.RUNNING:
            return
        if self._machine.started:
            self._opened.wait(HEAD_TIMEOUT)
        request = self._machine.cancel()
        if request is None:
            self.close()
        else:
            self._machine.receive_cancel_reply(*self._transport.call(request))

    def close(self) -> None:
        """Stop reading and close the connection; from any thread, and as often as you like.

        What the server then does with the answer is its policy; `cancel` says stop. An iteration that goes on raises
        IncompleteStream, unless the answer was whole.
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
