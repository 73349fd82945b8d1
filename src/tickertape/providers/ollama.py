"""Ollama's own chat API: its OpenAI route swallows errors in the middle of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import InvalidRequest
from tickertape.providers.base import Model
from tickertape.providers.messages import Image, called_names, calls_of, parts_of, refuse_function_role, text_of
from tickertape.providers.model_list import entries_of
from tickertape.providers.ollama_reader import LineReader
from tickertape.providers.parameters import STANDARD, Parameters
from tickertape.providers.remote import Remote
from tickertape.providers.thinking import thinking_of

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest

_EFFORTS = ("none", "minimal", "low", "medium", "high")

_OPTIONS = {
    name: name
    for name in (
        *("temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "typical_p"),
        *("repeat_penalty", "repeat_last_n", "mirostat", "mirostat_eta", "mirostat_tau", "num_ctx", "num_keep"),
    )
}


class Ollama(Remote):
    """An Ollama, such as the one at ``http://localhost:11434``; else as `Remote`."""

    name = "ollama"
    key_name = "OLLAMA_API_KEY"
    url = "http://127.0.0.1:11434/api"
    root = "/api"
    fields = STANDARD | frozenset(_OPTIONS) | {"options", "keep_alive", "think", "format", "truncate", "shift"}
    list_path = "/tags"
    prefills = True

    def question(self, request: ChatRequest) -> tuple[str, bytes]:
        options = Parameters(request, "Ollama")
        body: dict[str, Any] = {"model": request.model, "messages": _messages(request), "stream": True}
        given = options.take("options")
        own: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
        options.rename(own, _OPTIONS)
        options.limits(own, "num_predict", "stop")
        if own:
            body["options"] = own
        effort = options.one_of("reasoning_effort", _EFFORTS)
        if effort is not None:
            body["think"] = False if effort == "none" else {"minimal": "low"}.get(effort, effort)
        schema = options.schema()
        if schema is not None:
            body["format"] = schema or "json"
        tools = options.tools(lambda function: {"type": "function", "function": function})
        if options.choice()[0] in ("required", "function"):
            raise InvalidRequest(
                "Ollama cannot be made to call a tool; tool_choice is auto or none.", param="tool_choice"
            )
        if tools and request.parameters.get("tool_choice") != "none":
            body["tools"] = tools
        return "/chat", msgspec.json.encode({**body, **options.rest()})

    def reader(self, request: ChatRequest) -> LineReader:
        thinking = thinking_of(request, opened=self._thinking_opened)
        return LineReader(self._errors, self._max_event_size, thinking)

    def listed(self, body: bytes) -> list[Model]:
        return [
            Model(id=entry["name"], owned_by="ollama") for entry in entries_of(body, "models", "name", self._errors)
        ]


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the messages in Ollama's words. Raises InvalidRequest for what it has none for."""
    names = called_names(request.messages)
    return [_message(message, f"messages[{number}]", names) for number, message in enumerate(request.messages)]


def _message(message: dict[str, Any], where: str, names: dict[str, str]) -> dict[str, Any]:
    refuse_function_role(message, where)
    role = message["role"]
    if role == "user":
        parts = list(parts_of(message, where))
        images = [_base64(part, where) for part in parts if isinstance(part, Image)]
        text = "".join(part for part in parts if isinstance(part, str))
        return {"role": role, "content": text} | ({"images": images} if images else {})
    made: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": text_of(message, where)}
    if role == "assistant" and (calls := calls_of(message, where)):
        made["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    if role == "tool" and (name := names.get(str(message.get("tool_call_id")))):
        made["tool_name"] = name
    return made


def _base64(image: Image, where: str) -> str:
    if image.url:
        raise InvalidRequest(
            f"{where} holds a picture by its address, and Ollama does not fetch those. Send it as a data: URL.",
            param=where,
        )
    return image.data
