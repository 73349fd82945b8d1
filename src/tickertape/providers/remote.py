"""Any provider behind HTTP: what all dialects share between a question and its answer.

A dialect's class says how to ask (`question`), how to read (`reader`) and how to list (`listed`). Here are the
connection, the timeouts, the refusals, asking again before the first byte, and the list of models.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from abc import abstractmethod
from copy import copy
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from tickertape.errors import InvalidRequest, SettingsError, UpstreamError
from tickertape.providers.address import read_address
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.providers.estimate import Estimate
from tickertape.providers.http import HttpClient
from tickertape.providers.model_list import in_order
from tickertape.providers.stall import StallTimer
from tickertape.providers.upstream_errors import UpstreamErrors
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import aiohttp

    from tickertape.providers.answer_reader import AnswerReader
    from tickertape.providers.base import Sink

logger = logging.getLogger("tickertape")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, section 5.1)."""

_ANSWERED = (200, 201, 202, 203, 206)
"""Statuses that may come with an answer: some servers say that they made it, or accepted the question."""

_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""What no header's value may hold (section 5.5), or has no UTF-8 form."""

_MODELS_KEPT = 300.0
"""Seconds. New models appear rarely; a local server may be restarted with another one any time."""

_FAILURE_KEPT = 3.0
"""Seconds that a list which cannot be had is not asked for again: every question for a model looks at the list."""

_LIST_LIMIT = 20.0
"""Seconds for the list of models, from asking to its last byte."""

_ERROR_SIZE = 64 * 1024
"""Bytes of an error's body that are read, for at most as many seconds as a connection may take."""

_BACK_OFF = (0.1, 0.3, 0.9)
"""Seconds before asking again. The first two are over within the second that our own status line waits."""

_LAST_WORDS = 1.0
"""Seconds that an upstream gets, once it has said its last word, to end the body, or to add an error all the same."""


class Remote(Provider):
    """An upstream at ``base_url`` that speaks the subclass's dialect.

    ``model`` is the default one; without it, the likeliest of those that the upstream lists. ``models`` are served in
    place of that list. Times are in seconds: ``connect_timeout`` for name, TCP and TLS; ``first_token_timeout`` from
    sending the question to the first delta; ``idle_timeout`` between two events after that. Comments, with which some
    upstreams keep a connection open, are no events. ``retries`` is how often a question is asked again that met a
    transient failure before the first byte of an answer; ``retried`` counts them. ``key_name`` is where people
    find the key; ``headers`` go along with every request, and ``key_header`` carries the key as it is.
    ``thinking_opened`` says that its answers begin inside the thinking, and only ``</think>`` is written.
    Raises SettingsError for a URL, key, header or time that cannot be used.
    """

    key_name: ClassVar[str]
    """The environment variable that commonly holds the dialect's key."""
    url: ClassVar[str]
    """Where the dialect's own service is."""
    root: ClassVar[str] = "/v1"
    """The path below which the dialect has its routes, if a URL names none."""
    list_path: ClassVar[str] = "/models"
    favourites: ClassVar[Sequence[str]] = ()
    """Patterns of models that answer well and cheaply, the best first: the default when nobody chose."""

    def __init__(
        self,
        base_url: str = "",
        api_key: str | None = None,
        *,
        name: str = "",
        model: str | None = None,
        models: Sequence[str] = (),
        connect_timeout: float = 10,
        first_token_timeout: float = 300,
        idle_timeout: float = 120,
        retries: int = 2,
        max_event_size: int = MAX_EVENT_SIZE,
        key_name: str = "",
        key_header: str = "",
        headers: Mapping[str, str] | None = None,
        thinking_opened: bool = False,
    ) -> None:
        key = (api_key or "").strip() or None
        if key and not (key.isascii() and key.isprintable()):
            raise SettingsError("The API key holds characters that no HTTP header can carry; copy it again.")
        if not all(seconds > 0 for seconds in (connect_timeout, first_token_timeout, idle_timeout)):
            raise SettingsError("connect_timeout, first_token_timeout and idle_timeout are seconds above 0.")
        self.name = name or type(self).name
        address = read_address(base_url or self.url, self.root)
        self._errors = UpstreamErrors(address.host, key, key_name or type(self).key_name)
        own = {key_header: key} if key_header and key else self._key_headers(key)
        sent = {**own, **(headers or {})}
        _check_headers(sent)
        self._http = HttpClient(address, self._errors, connect_timeout, sent)
        self._model = model
        self._given = [Model(id=name, owned_by=address.host) for name in models]
        self._connect, self._first, self._idle = connect_timeout, first_token_timeout, idle_timeout
        self._retries = retries
        self._thinking_opened = thinking_opened
        self.retried: int = 0
        self._max_event_size = max_event_size
        self._known: list[Model] = []
        self._known_until = 0.0
        self._failure: UpstreamError | None = None
        self._listing = asyncio.Lock()

    @abstractmethod
    def question(self, request: ChatRequest) -> tuple[str, bytes]:
        """Return the path to POST to, below the root, and the body. Raises InvalidRequest for what cannot be asked."""

    @abstractmethod
    def reader(self, request: ChatRequest) -> AnswerReader:
        """Return what reads the answer to this request."""

    @abstractmethod
    def listed(self, body: bytes) -> list[Model]:
        """Return the models in the body of a listing. Raises UpstreamError if it is none."""

    def simpler(self, error: UpstreamError) -> bool:
        """Return whether, after this refusal, the same request can be asked in a form that may be taken."""
        return False

    def _key_headers(self, key: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def models(self) -> list[Model]:
        """Return what the upstream lists, kept for five minutes, and longer while the upstream fails.

        Empty when the upstream has no such route and no default was given: then any model may be asked for.
        Raises UpstreamError when the upstream cannot be asked.
        """
        if self._given:
            return in_order(self._given, self._model, self._errors.name, ())
        if monotonic() >= self._known_until:
            async with self._listing:
                if monotonic() >= self._known_until:  # the one who was waited for may have asked
                    await self._refresh()
        if self._failure is not None:
            raise copy(self._failure)
        return self._known

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push the answer's deltas; what one read of the socket brought is pushed together."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        response = await self._open(request)
        broke, tap = self._http.watch(response), self._http.tap(response)
        reader, counts = self.reader(request), Estimate(request)
        timer = StallTimer(loop, tap.interrupt, begun=begun, first=self._first, idle=self._idle)

        def take(data: bytes) -> bool:
            """Push what these bytes hold; return whether nothing speaks against reading on."""
            events = reader.events
            batch = reader.feed(data)
            if batch:
                counts.see(batch)
                sink.push(batch)
                timer.delta()
            elif reader.events != events:
                timer.progress()
            return not (reader.over or reader.done or sink.behind)

        try:
            while not reader.over:
                if sink.behind:
                    timer.pause()
                    await sink.drained()
                    timer.resume()
                if not reader.done:
                    await tap.flow(take)
                if reader.over or sink.behind:
                    continue
                data = await self._read(response, reader)
                if not data:
                    reader.cut = broke()
                take(data)
            if reader.error is not None:
                raise reader.error
            if reader.finished and (owed := counts.owed()):
                sink.push(owed)
        finally:
            timer.stop()
            self._http.release(response, ended=reader.done)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def _read(self, response: aiohttp.ClientResponse, reader: AnswerReader) -> bytes:
        """Return what comes next. An answer that is whole is not spoiled by how its connection ends.

        What was said of the end is known to be so only once nothing more can come: an error may follow even the last
        word. That is waited for as for any other message, and after the last word for a moment.
        """
        try:
            if reader.done:
                async with asyncio.timeout(_LAST_WORDS):
                    return await self._http.read(response)
            return await self._http.read(response)
        except TimeoutError:
            return b""
        except UpstreamError:
            if not reader.end.believed:
                raise
            return b""

    def _encoded(self, request: ChatRequest) -> tuple[str, bytes]:
        if request.parameters.get("n") not in (None, 1):
            raise InvalidRequest("n must be 1: an answer here is one stream. Ask again for another one.", param="n")
        try:
            return self.question(request)
        except UnicodeEncodeError:
            raise InvalidRequest("The request holds half of a surrogate pair, which has no UTF-8 form.") from None

    async def _open(self, request: ChatRequest) -> aiohttp.ClientResponse:
        """Ask, again if that may help, and return the response once its status is a success; its body is unread."""
        path, body = self._encoded(request)
        tries = 0
        while True:
            try:
                return await self._ask(request.model, path, body)
            except UpstreamError as error:
                if self.simpler(error):
                    path, body = self._encoded(request)
                    continue
                if not error.transient or tries >= self._retries:
                    if tries:
                        error.message += f" It was asked {tries + 1} times."
                        error.args = (error.message,)
                    raise
                wait = max(_BACK_OFF[min(tries, 2)] * random.uniform(0.8, 1.2), error.retry_after or 0)  # noqa: S311
                logger.warning("%s Asking again in %.1f s", error.message, wait)
            tries += 1
            self.retried += 1
            await asyncio.sleep(wait)

    async def _ask(self, model: str, path: str, body: bytes) -> aiohttp.ClientResponse:
        response = await self._http.send("POST", path, body, self._first)
        if response.status not in _ANSWERED:
            raise await self._refusal(response, model)
        return response

    async def _refusal(self, response: aiohttp.ClientResponse, model: str) -> UpstreamError:
        body = await self._rest(response, _ERROR_SIZE, self._connect)
        return self._errors.refused(response.status, body, response.headers, model)

    async def _rest(self, response: aiohttp.ClientResponse, size: int, limit: float) -> bytes:
        """Return the body of what is no answer; its connection is closed also if the one who asked has given up."""
        try:
            return await self._http.body(response, size, limit)
        finally:
            self._http.release(response, ended=False)

    async def _refresh(self) -> None:
        begun, self._failure = monotonic(), None
        try:
            self._known = in_order(await self._list(), self._model, self._errors.name, self.favourites)
            self._known_until = monotonic() + _MODELS_KEPT
        except UpstreamError as error:
            kept = max(_FAILURE_KEPT, 10 * (monotonic() - begun))  # the longer a failure takes, the longer it is known
            self._known_until = monotonic() + (_MODELS_KEPT if self._known else kept)
            self._failure = None if self._known else error
            logger.warning("The models of %s cannot be listed: %s", self.name, error.message)

    async def _list(self) -> list[Model]:
        response = await self._http.send("GET", self.list_path, None, _LIST_LIMIT)
        if response.status in (404, 405, 501):
            self._http.release(response, ended=False)
            return []
        if response.status not in _ANSWERED:
            raise await self._refusal(response, "")
        return self.listed(await self._rest(response, self._max_event_size, _LIST_LIMIT))


def _check_headers(headers: Mapping[str, str]) -> None:
    """Raise SettingsError for a header that cannot be sent; its value may be a secret."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise SettingsError(f"The header name {name!r} holds characters that no HTTP header can have, or none.")
        if _NO_VALUE.search(value):
            raise SettingsError(f"The header {name} has a value with characters that no HTTP header can carry.")
