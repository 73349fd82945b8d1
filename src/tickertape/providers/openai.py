"""Any server that speaks OpenAI's chat completions.

OpenAI, OpenRouter, Groq, DeepSeek, vLLM, SGLang, llama.cpp, LM Studio, Azure and many more do. This file says what
is asked; `openai_reader` reads the answer, `link` moves the bytes, `upstream` words the errors.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from tickertape.errors import BadRequest, ProviderError, SettingsError
from tickertape.providers.address import read_address
from tickertape.providers.base import Model, Provider, Request
from tickertape.providers.link import Link
from tickertape.providers.model_list import in_order, read_models
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.stall import StallTimer
from tickertape.providers.upstream import Upstream
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

    from tickertape.deltas import Delta

_MODELS_KEPT = 300.0
"""Seconds. New models appear rarely; a local server may be restarted with another one any time."""

_LIST_LIMIT = 20.0
"""Seconds for the list of models, from asking to its last byte."""

_ERROR_SIZE = 64 * 1024
"""Bytes of an error's body that are read, for at most as many seconds as a connection may take."""


class OpenAI(Provider):
    """An OpenAI-compatible upstream at ``base_url``, such as ``https://api.openai.com/v1``.

    ``model`` is the default one; without it, the likeliest of those that the upstream lists. Times are in seconds:
    ``connect_timeout`` for name, TCP and TLS; ``first_token_timeout`` from sending the question to the first delta;
    ``idle_timeout`` between two events after that. Comments, with which some upstreams keep a connection
    open, are no events. Raises SettingsError for a URL, key or time that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        name: str = "openai",
        model: str | None = None,
        connect_timeout: float = 10,
        first_token_timeout: float = 300,
        idle_timeout: float = 120,
        max_event_size: int = MAX_EVENT_SIZE,
    ) -> None:
        key = (api_key or "").strip() or None
        if key and not (key.isascii() and key.isprintable()):
            raise SettingsError("The API key holds characters that no HTTP header can carry; copy it again.")
        if not min(connect_timeout, first_token_timeout, idle_timeout) > 0:
            raise SettingsError("connect_timeout, first_token_timeout and idle_timeout are seconds above 0.")
        self.name = name
        address = read_address(base_url)
        self._upstream = Upstream(address.host, key)
        self._link = Link(address, self._upstream, connect_timeout)
        self._model = model
        self._connect, self._first, self._idle = connect_timeout, first_token_timeout, idle_timeout
        self._max_event_size = max_event_size
        self._asks_usage = True
        self._known: list[Model] = []
        self._known_until = 0.0
        self._listing = asyncio.Lock()

    async def models(self) -> list[Model]:
        """Return what ``GET {base}/models`` lists, kept for five minutes, and longer while the upstream fails.

        Empty when the upstream has no such route and no default was given: then any model may be asked for.
        Raises ProviderError when the upstream cannot be asked.
        """
        if monotonic() >= self._known_until:
            async with self._listing:
                if monotonic() >= self._known_until:  # the one who was waited for may have asked
                    await self._refresh()
        return self._known

    async def stream(self, request: Request) -> AsyncGenerator[list[Delta], None]:
        """Yield the answer's deltas; what one read of the socket brought is one batch."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        response = await self._open(request)
        reader = ChunkReader(self._upstream, self._max_event_size)
        timer = StallTimer(loop, response.content.set_exception, begun=begun, first=self._first, idle=self._idle)
        try:
            if response.content_type in ("application/json", "text/html"):  # it did not stream
                yield reader.whole(await self._link.body(response, self._max_event_size, self._first))
            while not reader.over:
                events = reader.events
                batch = reader.feed(await self._link.read(response))
                if batch:
                    timer.pause()
                    yield batch
                    timer.resume()
                elif reader.events != events:
                    timer.progress()
            if reader.error is not None:
                raise reader.error
        finally:
            timer.stop()
            self._link.release(response, ended=reader.done)

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        """Ask, and return the response once its status is 200; any other is an error."""
        body = _encode(request, self._asks_usage)
        response = await self._link.send("POST", "/chat/completions", body, self._first)
        if response.status == 200:
            return response
        error = await self._refusal(response, request.model)
        if self._asks_usage and response.status in (400, 422) and "stream_options" in error.message:
            self._asks_usage = False  # servers older than the option; the answer is worth more than its token count
            return await self._open(request)
        raise error

    async def _refusal(self, response: aiohttp.ClientResponse, model: str) -> ProviderError:
        body = await self._link.body(response, _ERROR_SIZE, self._connect)
        self._link.release(response, ended=False)
        return self._upstream.refused(response.status, body, response.headers, model)

    async def _refresh(self) -> None:
        try:
            self._known = in_order(await self._list(), self._model, self._upstream.name)
        except ProviderError:
            if not self._known:
                raise
        self._known_until = monotonic() + _MODELS_KEPT

    async def _list(self) -> list[Model]:
        response = await self._link.send("GET", "/models", None, _LIST_LIMIT)
        if response.status in (404, 405, 501):
            self._link.release(response, ended=False)
            return []
        if response.status != 200:
            raise await self._refusal(response, "")
        body = await self._link.body(response, self._max_event_size, _LIST_LIMIT)
        self._link.release(response, ended=False)
        return read_models(body, self._upstream)


def _encode(request: Request, asks_usage: bool) -> bytes:
    """Return the body: the caller's parameters untouched, with what is ours to say on top."""
    if request.parameters.get("n") not in (None, 1):
        raise BadRequest("n must be 1: an answer here is one stream. Ask again for another one.", param="n")
    body = {**request.parameters, "model": request.model, "messages": request.messages, "stream": True}
    options = body.pop("stream_options", None)
    if asks_usage:
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise BadRequest("The request holds half of a surrogate pair, which has no UTF-8 form.") from None
