"""Gemini's ``streamGenerateContent``, as Google AI Studio serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tickertape.providers.base import Model
from tickertape.providers.gemini_messages import contents
from tickertape.providers.gemini_reader import ResponseReader
from tickertape.providers.model_list import entries_of
from tickertape.providers.parameters import STANDARD, Parameters
from tickertape.providers.remote import Remote

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest

_THINKING = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thinking for ``reasoning_effort``: what Google's own OpenAI route takes them for."""

_RENAMED = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_OWN = (
    "top_k",
    "generationConfig",
    "generation_config",
    "safetySettings",
    "safety_settings",
    "cachedContent",
    "labels",
)


class Gemini(Remote):
    """An upstream that speaks Gemini's API, such as Google's; else as `Remote`."""

    name = "gemini"
    key_name = "GEMINI_API_KEY"
    url = "https://generativelanguage.googleapis.com/v1beta"
    root = "/v1beta"
    fields = STANDARD | frozenset(_OWN)
    list_path = "/models?pageSize=1000"
    favourites = (r"^gemini-[\d.]+-flash$", "flash(?!.*(image|tts|live|audio))")

    def _key_headers(self, key: str | None) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def question(self, request: ChatRequest) -> tuple[str, bytes]:
        options = Parameters(request, "Gemini")
        system, turns = contents(request)
        body: dict[str, Any] = {"contents": turns}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        given = options.take("generationConfig", "generation_config")
        config: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
        options.rename(config, _RENAMED)
        options.limits(config, "maxOutputTokens", "stopSequences")
        effort = options.one_of("reasoning_effort", _THINKING)
        if effort is not None:
            budget = _THINKING[effort]
            config["thinkingConfig"] = {"thinkingBudget": budget, "includeThoughts": budget > 0}
        schema = options.schema()
        if schema is not None:
            config["responseMimeType"] = "application/json"
        if schema:
            config["responseJsonSchema"] = schema
        if config:
            body["generationConfig"] = config
        _tools(options, body)
        model = quote(request.model.removeprefix("models/"), safe="")
        return f"/models/{model}:streamGenerateContent?alt=sse", msgspec.json.encode({**body, **options.rest()})

    def reader(self, request: ChatRequest) -> ResponseReader:
        return ResponseReader(self._errors, self._max_event_size)

    def listed(self, body: bytes) -> list[Model]:
        return [
            Model(id=entry["name"].removeprefix("models/"), owned_by="google")
            for entry in entries_of(body, "models", "name", self._errors)
            if "generateContent" in entry.get("supportedGenerationMethods", ("generateContent",))
        ]


def _tools(options: Parameters, body: dict[str, Any]) -> None:
    tools = options.tools(_tool)
    if tools:
        body["tools"] = [{"functionDeclarations": tools}]
    kind, name = options.choice()
    if kind:
        calling: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE"}.get(kind, "ANY")}
        if name:
            calling["allowedFunctionNames"] = [name]
        body["toolConfig"] = {"functionCallingConfig": calling}


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    made = {name: function[name] for name in ("name", "description") if function.get(name)}
    return made | ({"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {})
