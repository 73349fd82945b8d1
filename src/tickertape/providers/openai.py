"""Any server that speaks OpenAI's chat completions.

OpenAI, OpenRouter, Groq, DeepSeek, vLLM, SGLang, llama.cpp, LM Studio, Azure and many more do. The parameters that are
allowed pass through untouched: the upstream knows best which it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.providers.model_list import read_models
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.parameters import SAMPLING, STANDARD
from tickertape.providers.remote import Remote
from tickertape.providers.thinking import thinking_of, wants_raw

if TYPE_CHECKING:
    from tickertape.errors import ProviderError
    from tickertape.providers.base import Model, Request


_OWN = (
    # sampling and constrained output: vLLM, SGLang, Mistral
    *(
        "repetition_penalty",
        "length_penalty",
        "min_tokens",
        "stop_token_ids",
        "include_stop_str_in_output",
        "bad_words",
    ),
    *("skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt", "continue_final_message"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "regex", "ebnf"),
    *("top_a", "random_seed", "safe_prompt", "prompt_mode"),
    # thinking: OpenRouter, DeepSeek, Qwen, Groq
    *("reasoning", "include_reasoning", "thinking", "enable_thinking", "thinking_budget"),
    # which of its own models and providers a router asks: OpenRouter
    *("models", "provider", "route", "transforms", "plugins"),
    # searching: xAI, Perplexity
    *("search_parameters", "search_domain_filter", "search_recency_filter", "search_mode", "return_images"),
    *("return_related_questions", "citation_options"),
)
"""Options of servers that speak this dialect."""


class OpenAI(Remote):
    """An OpenAI-compatible upstream at ``base_url``, such as ``https://api.openai.com/v1``; else as `Remote`."""

    name = "openai"
    key_name = "OPENAI_API_KEY"
    url = "https://api.openai.com/v1"
    fields = STANDARD | SAMPLING | frozenset(_OWN)
    favourites = ("^gpt-5-mini$", "^gpt-4.1-mini$", "^gpt-4o-mini$")

    _asks_usage = True

    def question(self, request: Request) -> tuple[str, bytes]:
        body: dict[str, Any] = {**request.parameters, "model": request.model, "messages": request.messages}
        body["stream"] = True
        options = body.pop("stream_options", None)
        if self._asks_usage:
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        return "/chat/completions", msgspec.json.encode(body)

    def reader(self, request: Request) -> ChunkReader:
        raw = wants_raw(request)
        return ChunkReader(self._upstream, self._max_event_size, thinking_of(request), raw=raw)

    def listed(self, body: bytes) -> list[Model]:
        return read_models(body, self._upstream)

    def simpler(self, error: ProviderError) -> bool:
        """Servers older than ``stream_options`` refuse it; the answer is worth more than its token count."""
        old = self._asks_usage and error.status in (400, 422) and "stream_options" in error.message
        self._asks_usage = self._asks_usage and not old
        return old
