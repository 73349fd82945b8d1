"""Anthropic Messages: Claude, and every service that speaks its API."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import InvalidRequest
from tickertape.providers.anthropic_messages import conversation
from tickertape.providers.anthropic_reader import MessageReader
from tickertape.providers.base import Model
from tickertape.providers.model_list import entries_of
from tickertape.providers.parameters import STANDARD, Parameters
from tickertape.providers.remote import Remote

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest

MOST_TOKENS = 8192
"""Tokens of an answer when the request does not say: Anthropic wants a number, and every current model takes this."""

_THINKING = {"none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 24576}
"""Tokens of thinking for OpenAI's ``reasoning_effort``; 1 024 are the least that Anthropic takes."""


class Anthropic(Remote):
    """An upstream that speaks Anthropic Messages, such as ``https://api.anthropic.com/v1``; else as `Remote`."""

    name = "anthropic"
    key_name = "ANTHROPIC_API_KEY"
    url = "https://api.anthropic.com/v1"
    list_path = "/models?limit=1000"
    favourites = ("sonnet",)
    fields = STANDARD | {"top_k", "thinking", "cache_control", "context_management", "output_config", "inference_geo"}
    prefills = True

    def _key_headers(self, key: str | None) -> dict[str, str]:
        return {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}

    def question(self, request: ChatRequest) -> tuple[str, bytes]:
        options = Parameters(request, "Anthropic")
        system, messages = conversation(request)
        body: dict[str, Any] = {"model": request.model, "messages": messages, "stream": True}
        if system:
            body["system"] = system
        most = options.number("max_completion_tokens", "max_tokens")
        budget = _THINKING[options.one_of("reasoning_effort", _THINKING) or "none"]
        if budget:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        body["max_tokens"] = most or MOST_TOKENS + budget
        if budget >= body["max_tokens"]:
            raise InvalidRequest(
                f"max_tokens must be more than the {budget} tokens of thinking that reasoning_effort stands for; "
                f"it was {most}.",
                param="max_tokens",
            )
        _tools(options, body)
        stops = options.stops()
        if stops:
            body["stop_sequences"] = stops
        metadata = options.take("metadata")
        own = metadata.get("user_id") if isinstance(metadata, dict) else None  # all that Anthropic takes
        user = options.take("user", "safety_identifier") or own
        if user is not None:
            body["metadata"] = {"user_id": user}
        tier = options.take("service_tier")
        if tier in ("auto", "standard_only"):
            body["service_tier"] = tier
        return "/messages", msgspec.json.encode({**body, **options.rest()})

    def reader(self, request: ChatRequest) -> MessageReader:
        return MessageReader(self._errors, self._max_event_size)

    def listed(self, body: bytes) -> list[Model]:
        return [
            Model(id=entry["id"], owned_by="anthropic", created=_seconds(entry.get("created_at")))
            for entry in entries_of(body, "data", "id", self._errors)
        ]


def _tools(options: Parameters, body: dict[str, Any]) -> None:
    tools = options.tools(_tool)
    if tools:
        body["tools"] = tools
    kind, name = options.choice()
    parallel = options.take("parallel_tool_calls")
    if kind or parallel is False:
        choice: dict[str, Any] = {"type": {"required": "any", "function": "tool"}.get(kind, kind or "auto")}
        if name:
            choice["name"] = name
        if parallel is False and kind != "none":
            choice["disable_parallel_tool_use"] = True
        body["tool_choice"] = choice


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    made = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    return made | ({"description": function["description"]} if function.get("description") else {})


def _seconds(moment: Any) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp())
    except (TypeError, ValueError):
        return 0
