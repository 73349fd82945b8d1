"""Providers beyond the four dialects, through any-llm-sdk (the extra ``any``), under the same terminal rule.

any-llm hands out OpenAI's chunks and ends its stream in the same way whether the answer was whole or cut: here only a
``finish_reason`` that came makes it whole. The package is imported with the first use.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import ApiError, InvalidRequest, SettingsError
from tickertape.parsing.reported_errors import one_line
from tickertape.providers.base import ChatRequest, Model, Provider
from tickertape.providers.estimate import Estimate
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.parameters import HINTS, STANDARD, TRANSPORT, Parameters, lacks
from tickertape.providers.thinking import thinking_of
from tickertape.providers.upstream_errors import UpstreamErrors, shown_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tickertape.providers.base import Sink

_TAKEN = (
    *("frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "parallel_tool_calls"),
    *("presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "seed", "service_tier", "stop"),
    *("temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user"),
)
"""The standard fields that any-llm takes by name. What it has no name for it would hand to the package behind it."""


class AnyLLM(Provider):
    """The any-llm provider ``provider``, such as ``mistral`` or ``bedrock``.

    Without ``models`` it serves what any-llm can list, or any model. ``first_token_timeout`` and ``idle_timeout`` are
    in seconds; ``thinking_opened`` as in `Remote`. Raises SettingsError when the package or the provider is missing.
    """

    def __init__(
        self,
        provider: str,
        api_key: str | None = None,
        *,
        name: str = "",
        base_url: str = "",
        model: str | None = None,
        models: Sequence[str] = (),
        first_token_timeout: float = 300,
        idle_timeout: float = 120,
        thinking_opened: bool = False,
    ) -> None:
        self.name = name or provider
        self._errors = UpstreamErrors(self.name, api_key)
        self._client = _client(provider, api_key, base_url, self._errors)
        named = [model] if model and model not in models else []
        self._models = [Model(id=one, owned_by=provider) for one in (*named, *models)]
        self._first, self._idle = first_token_timeout, idle_timeout
        self._thinking_opened = thinking_opened

    async def models(self) -> list[Model]:
        """Return the models that were given, else those that any-llm lists; none where it cannot."""
        if not self._models:
            try:
                async with asyncio.timeout(self._idle):
                    listed = await self._client.alist_models()
            except Exception as error:  # a provider without a list has an error of its own kind
                raise self._failure(error) from None
            self._models = [Model(id=one.id, owned_by=self.name, created=one.created or 0) for one in listed]
        return self._models

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push the answer's deltas, a chunk at a time."""
        if request.parameters.get("n") not in (None, 1):
            raise InvalidRequest("n must be 1: an answer here is one stream. Ask again for another one.", param="n")
        thinking = thinking_of(request, opened=self._thinking_opened)
        reader, counts = ChunkReader(self._errors, thinking=thinking), Estimate(request)
        chunks = await self._open(request)
        limit = self._first
        try:
            while not reader.over:
                batch = reader.feed(b"") if (chunk := await self._next(chunks, limit)) is None else reader.take(chunk)
                if batch:
                    limit = self._idle
                    counts.see(batch)
                    sink.push(batch)
                    if sink.behind:
                        await sink.drained()
            if reader.error is not None:
                raise reader.error
            if reader.finished and (owed := counts.owed()):
                sink.push(owed)
        finally:
            close = getattr(chunks, "aclose", None) or getattr(chunks, "close", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """Close the connections, where the package behind any-llm has a way to."""
        inner = getattr(self._client, "client", None)
        close = getattr(inner, "aclose", None) or getattr(inner, "close", None)
        if close is not None and isawaitable(closing := close()):
            await closing

    async def _open(self, request: ChatRequest) -> AsyncIterator[Any]:
        options = self._options(request)
        while True:
            try:
                async with asyncio.timeout(self._first):
                    chunks: AsyncIterator[Any] = await self._client.acompletion(
                        model=request.model, messages=request.messages, stream=True, **options
                    )
                return aiter(chunks)
            except TimeoutError:
                raise self._errors.too_slow(f"did not answer within {self._first:g} s.") from None
            except Exception as error:
                unknown = getattr(error, "parameter_name", None)
                if unknown not in HINTS or options.pop(unknown, None) is None:
                    raise self._failure(error) from None

    def _options(self, request: ChatRequest) -> dict[str, Any]:
        """Return the arguments of the call: listed ones alone, for here they stand beside key, address and headers."""
        parameters = Parameters(request, self.name)
        names = (*_TAKEN, *(self.fields - STANDARD - TRANSPORT))
        options = {name: value for name in names if (value := parameters.take(name)) is not None}
        parameters.refuse(*sorted(STANDARD.difference(_TAKEN)))
        return options

    async def _next(self, chunks: AsyncIterator[Any], limit: float) -> bytes | None:
        """Return the next chunk as OpenAI's JSON, None at the end."""
        try:
            async with asyncio.timeout(limit):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise self._errors.too_slow(f"sent nothing for {limit:g} s.") from None
        except Exception as error:
            raise self._failure(error) from None
        body = chunk.model_dump(mode="json", exclude_none=True)
        for choice in body.get("choices", ()):
            reasoning = choice.get("delta", {}).get("reasoning")
            if isinstance(reasoning, dict):
                choice["delta"]["reasoning"] = reasoning.get("content")
        return msgspec.json.encode(body)

    def _failure(self, error: Exception) -> ApiError:
        """Return the error for what any-llm, or a provider's own package behind it, raises."""
        unknown = getattr(error, "parameter_name", None)
        if unknown is not None:
            return lacks(self.name, str(unknown))
        status = getattr(error, "status_code", None)
        words = one_line(getattr(error, "message", None) or error) or type(error).__name__
        if isinstance(status, int) and status >= 400:
            body = {"error": {"message": words, "code": getattr(error, "code", None)}}
            response = getattr(getattr(error, "original_exception", error), "response", None)
            headers = {name.title(): value for name, value in getattr(response, "headers", {}).items()}
            return self._errors.refused(status, msgspec.json.encode(body), headers, "")
        told = self._errors.reported({"error": {"message": words}})
        told.status = shown_status(status if isinstance(status, int) else 502)
        return told


def _client(provider: str, key: str | None, base_url: str, errors: UpstreamErrors) -> Any:
    try:
        library = import_module("any_llm")
    except ImportError:
        raise SettingsError(
            f"The upstream {errors.name!r} needs any-llm-sdk; install it with: pip install 'tickertape[any]'."
        ) from None
    try:
        # Its packages would wait out a Retry-After by themselves, with the caller in the dark.
        return library.AnyLLM.create(provider, api_key=key, api_base=base_url or None, max_retries=0)
    except Exception as error:  # each kind of provider has its own
        words = one_line(error).replace(key, "[the API key]") if key else one_line(error)
        raise SettingsError(f"The upstream {errors.name!r} cannot be used: {words}.") from None
