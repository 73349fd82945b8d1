"""OpenAI's messages in Gemini's words: contents of parts, the system prompt apart, tool results by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.errors import BadRequest
from tickertape.foreign_json import loads
from tickertape.providers.messages import (
    Image,
    called_names,
    calls_of,
    parts_of,
    refuse_function_role,
    result_id,
    text_of,
)

if TYPE_CHECKING:
    from tickertape.providers.base import Request

Part = dict[str, Any]


def contents(request: Request) -> tuple[str, list[dict[str, Any]]]:
    """Return the system prompt and the contents. Raises BadRequest for what Gemini has no words for."""
    systems: list[str] = []
    turns: list[dict[str, Any]] = []
    names = called_names(request.messages)
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        refuse_function_role(message, where)
        match message["role"]:
            case "system" | "developer":
                systems.append(text_of(message, where))
                continue
            case "assistant":
                role, parts = "model", _model(message, where)
            case "tool":
                role, parts = "user", [_result(message, where, names)]
            case _:
                role, parts = "user", [_part(part, where) for part in parts_of(message, where)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return "\n\n".join(filter(None, systems)), turns


def _model(message: dict[str, Any], where: str) -> list[Part]:
    text = text_of(message, where)
    parts: list[Part] = [{"text": text}] if text else []
    for call in calls_of(message, where):
        part: Part = {"functionCall": {"name": call.name, "args": call.arguments}}
        google = call.extra.get("google")
        if isinstance(google, dict) and isinstance(google.get("thought_signature"), str):
            part["thoughtSignature"] = google["thought_signature"]  # Gemini 3 wants back what it gave
        parts.append(part)
    return parts


def _result(message: dict[str, Any], where: str, names: dict[str, str]) -> Part:
    id_ = result_id(message, where)
    if id_ not in names:
        raise BadRequest(
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
        raise BadRequest(
            f"{where} holds a picture by its address, and Gemini does not fetch those. Send it as a data: URL.",
            param=where,
        )
    return {"inlineData": {"mimeType": part.kind, "data": part.data}}
