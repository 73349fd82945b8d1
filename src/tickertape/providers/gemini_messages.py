"""OpenAI's messages in Gemini's words: contents of parts, the system prompt apart, tool results by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tickertape.errors import InvalidRequest
from tickertape.providers.messages import (
    Image,
    called_names,
    calls_of,
    parts_of,
    refuse_function_role,
    result_id,
    text_of,
)
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest

Part = dict[str, Any]

FORMAT = "google-gemini-v1"
"""OpenRouter's name for a thought signature among reasoning details."""

PLACEHOLDER = "skip_thought_signature_validator"
"""Google's documented signature for a call that another model made, of which Gemini 3 wants one in each step."""

_LENIENT = re.compile(r"gemini-[12]([.-]|$)")
"""Models that want no signature, and were made before the placeholder."""


def contents(request: ChatRequest) -> tuple[str, list[dict[str, Any]]]:
    """Return the system prompt and the contents. Raises InvalidRequest for what Gemini has no words for."""
    systems: list[str] = []
    turns: list[dict[str, Any]] = []
    names = called_names(request.messages)
    strict = not _LENIENT.search(request.model)
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        refuse_function_role(message, where)
        match message["role"]:
            case "system" | "developer":
                systems.append(text_of(message, where))
                continue
            case "assistant":
                role, parts = "model", _model(message, where, strict=strict)
            case "tool":
                role, parts = "user", [_result(message, where, names)]
            case _:
                role, parts = "user", [_part(part, where) for part in parts_of(message, where)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return "\n\n".join(filter(None, systems)), turns


def _model(message: dict[str, Any], where: str, *, strict: bool) -> list[Part]:
    text = text_of(message, where)
    parts: list[Part] = [{"text": text}] if text else []
    if signature := _text_signature(message.get("reasoning_details")):
        parts = parts or [{"text": ""}]
        parts[-1]["thoughtSignature"] = signature
    calls = calls_of(message, where)
    for call in calls:
        part: Part = {"functionCall": {"name": call.name, "args": call.arguments}}
        google = call.extra.get("google")
        if isinstance(google, dict) and isinstance(google.get("thought_signature"), str):
            part["thoughtSignature"] = google["thought_signature"]  # Gemini 3 wants back what it gave
        parts.append(part)
    made = parts[len(parts) - len(calls) :]
    if made and strict and not any("thoughtSignature" in part for part in made):
        made[0]["thoughtSignature"] = PLACEHOLDER
    return parts


def _text_signature(details: Any) -> str | None:
    """Return the signature that the reader gave as ``reasoning_details`` for a text."""
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"type": "reasoning.encrypted", "format": str(form), "data": str(data)} if form == FORMAT:
                return data
    return None


def _result(message: dict[str, Any], where: str, names: dict[str, str]) -> Part:
    id_ = result_id(message, where)
    if id_ not in names:
        raise InvalidRequest(
            f"{where}.tool_call_id is {id_!r:.60}; no assistant message before it has such a call.",
            param=f"{where}.tool_call_id",
        )
    result = loads(text_of(message, where))
    response = result if isinstance(result, dict) else {"result": result}
    return {"functionResponse": {"name": names[id_], "response": response}}


def _part(part: str | Image, where: str) -> Part:
    if isinstance(part, str):
        return {"text": part}
    if part.url:
        raise InvalidRequest(
            f"{where} holds a picture by its address, and Gemini does not fetch those. Send it as a data: URL.",
            param=where,
        )
    return {"inlineData": {"mimeType": part.kind, "data": part.data}}
