"""Any server that speaks OpenAI's chat completions.

OpenAI, OpenRouter, Groq, DeepSeek, vLLM, SGLang, llama.cpp, LM Studio, Azure and many more do. The parameters that are
allowed pass through untouched: the upstream knows best which it has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.providers.model_list import read_models
from tickertape.providers.openai_reader import ChunkReader
from tickertape.providers.parameters import HINTS, SAMPLING, STANDARD
from tickertape.providers.remote import Remote
from tickertape.providers.thinking import thinking_of, wants_raw

if TYPE_CHECKING:
    from tickertape.errors import UpstreamError
    from tickertape.providers.base import ChatRequest, Model


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

_SPARED = HINTS | {"stream_options"}
"""Fields without which the answer means the same."""

_UNKNOWN = re.compile("unknown|unrecogni[sz]ed|unsupported|unexpected|not (supported|permitted|allowed)|extra", re.I)


class OpenAI(Remote):
    """An OpenAI-compatible upstream at ``base_url``, such as ``https://api.openai.com/v1``; else as `Remote`."""

    name = "openai"
    key_name = "OPENAI_API_KEY"
    url = "https://api.openai.com/v1"
    fields = STANDARD | SAMPLING | frozenset(_OWN)
    favourites = ("^gpt-5-mini$", "^gpt-4.1-mini$", "^gpt-4o-mini$")

    _spared: frozenset[str] = frozenset()
    """Fields that this server has refused."""

    def question(self, request: ChatRequest) -> tuple[str, bytes]:
        body: dict[str, Any] = {**request.parameters, "model": request.model, "messages": request.messages}
        body["stream"] = True
        options = body.pop("stream_options", None)
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        for name in self._spared:
            body.pop(name, None)
        return "/chat/completions", msgspec.json.encode(body)

    def reader(self, request: ChatRequest) -> ChunkReader:
        raw = wants_raw(request)
        thinking = thinking_of(request, opened=self._thinking_opened)
        return ChunkReader(self._errors, self._max_event_size, thinking, raw=raw)

    def listed(self, body: bytes) -> list[Model]:
        return read_models(body, self._errors)

    def simpler(self, error: UpstreamError) -> bool:
        """Leave out what this server does not know, where the answer is worth more than it: see `HINTS`.

        Servers older than ``stream_options`` refuse it, and strict ones every field that is not on their list.
        """
        if error.status not in (400, 422):
            return False
        unknown = {name for name in _SPARED - self._spared if _names(error, name)}
        self._spared |= unknown
        return bool(unknown)


def _names(error: UpstreamError, name: str) -> bool:
    """Return whether a refusal is about a field; where its name is a common word too, the words around it say so."""
    if name == error.param or ("_" in name and name in error.message):
        return True
    named = rf"[`'\"]{name}[`'\"]|(argument|parameter|field|propert|input)[^.]*\b{name}\b"
    return bool(_UNKNOWN.search(error.message) and re.search(named, error.message))
