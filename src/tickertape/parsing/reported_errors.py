"""Errors in whatever shape somebody reports them: found wherever they hide, and brought into OpenAI's fields.

A message of a stream may be an error, or hold one beside what it says. Where, by who was seen to do it::

    {"error": {…}}  {"error": "…"}           OpenAI and most others; OpenRouter beside ``choices``; Ollama's text
    {"choices": [{"error": {…}}]}            OpenRouter, with or without a finish reason
    {"x_groq": {"error": "…"}}               Groq
    {"errors": [{"message": "…"}]}           Cloudflare
    {"object": "error", …}  {"type": "error", …}   vLLM, Anthropic
    {"base_resp": {"status_code": 1008, "status_msg": "…"}}   MiniMax, inside a 200
    {"code": 401, "msg": "…"}  {"success": false, …}          Z.ai and other gateways
    {"error_code": 17, "error_msg": "…"}     Baidu
    {"status": "failed", …}                  what wraps somebody else's model
    {"message": "…"}  {"detail": "…"}        AWS, FastAPI: nothing else in it
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from tickertape.util.json_util import loads

_WORDS = 500
"""Characters of the upstream's own words that are kept; some answer with a whole page."""

_MESSAGES = (
    *("message", "detail", "error", "msg", "error_msg", "error_message", "errorMessage", "status_msg"),
    *("reason", "description", "details", "title"),
)
"""Fields in which servers say what went wrong, the likeliest first."""

_BARE = frozenset(("message", "detail", "msg", "error_msg", "error_message", "errorMessage"))
"""Those that are an error by themselves in a message that is nothing else."""

_FAILED = frozenset(("failed", "failure", "fail", "error", "errored", "cancelled", "canceled", "aborted", "expired"))
_GOOD_CODES = frozenset(("", "0", "200", "20000", "ok", "success", "none", "null"))
_PARTS = ("choices", "candidates", "message", "content_block", "delta", "data")
"""Fields of an answer's own messages: where one of them holds something, a bare ``message`` is no error."""

_TRIES = 8
"""Places in a text where JSON may begin that are looked at."""

_PREFIX = re.compile(r"\s*(?:data\s*:\s*)?error\s*:\s*", re.IGNORECASE)


class ReportedError(msgspec.Struct, frozen=True):
    """An upstream's error, in OpenAI's fields."""

    words: str = ""
    type: str = ""
    code: str | None = None
    param: str | None = None


def find_error(message: Any) -> Any:
    """Return the part of a message that says what went wrong, for `parse_error`; None if it is no error.

    A list of messages is searched for the first one that is.
    """
    if isinstance(message, list):
        return next((found for found in map(find_error, message) if found is not None), None)
    if not isinstance(message, dict):
        return None
    content = any(isinstance(message.get(name), dict | list) and message[name] for name in _PARTS)
    for name in ("error", "Error", "errors"):
        if name in message and (message[name] or (name == "error" and message[name] == {} and not content)):
            return message
    for inner in (*_inner(message.get("choices")), *_inner(message.get("x_groq")), *_inner(message.get("response"))):
        if inner.get("error"):
            return inner
    status = message.get("base_resp")
    if isinstance(status, dict) and _bad_code(status.get("status_code")):
        return status
    if message.get("object") == "error" or message.get("type") == "error" or message.get("success") is False:
        return message
    if any(_bad_code(message.get(name)) for name in ("code", "error_code", "errorCode", "status_code")):
        return message
    state = message.get("status")
    if (isinstance(state, str) and state.casefold() in _FAILED) or (type(state) is int and state >= 400):
        return message
    return message if not content and any(message.get(name) for name in _BARE) else None


def parse_error(value: Any) -> ReportedError:
    """Return the error in what `find_error` found, in a decoded body, or in plain words."""
    while isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return ReportedError(one_line(value))
    inner = next((value[name] for name in ("error", "Error", "errors", "base_resp") if value.get(name)), None)
    while isinstance(inner, list) and inner:
        inner = inner[0]
    if isinstance(inner, dict):
        value = inner
    words = next((value[name] for name in (*_MESSAGES, "Message") if value.get(name)), inner or "")
    if isinstance(words, list) and len(words) == 1:
        words = words[0]
    param = value.get("param")
    if isinstance(words, dict):
        where = words.get("loc")  # pydantic's, with which FastAPI names a field
        if isinstance(where, list):
            param = param or ".".join(str(step) for step in where if step != "body")
        words = words.get("message") or words.get("msg") or words
    status = value.get("status")
    code = next((value[name] for name in ("code", "Code", "error_code", "status_code") if value.get(name)), None)
    return ReportedError(
        one_line(words if isinstance(words, str) else json.dumps(words, separators=(",", ":"))),
        one_line(value.get("type") or (status if isinstance(status, str) else "")),
        one_line(code) or None,
        one_line(param) or None,
    )


def stray_error(text: str) -> Any:
    """Return what lines that are no messages complain of; None for lines that say nothing.

    That may be JSON over several lines, a line ``error: {…}``, or plain words.
    """
    text = text.strip("\ufeff \t\r\n\0")
    if not text or text == "[DONE]":
        return None
    found = _PREFIX.sub("", text, count=1)
    value = loads(found)
    if not isinstance(value, str) or found != text:
        return value
    starts = [at for at, mark in enumerate(found) if mark in "[{"]
    for start in starts[:_TRIES]:  # JSON with words around it
        try:
            value, _end = json.JSONDecoder().raw_decode(found, start)
        except (ValueError, RecursionError):
            continue
        if (error := find_error(value)) is not None:
            return error
    return found


def one_line(words: Any) -> str:
    """Return words on one line, without control characters and of a length that fits a sentence."""
    if words is None:
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(words)).split())
    return line if len(line) <= _WORDS else line[:_WORDS] + "…"


def _inner(value: Any) -> list[dict[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _bad_code(code: Any) -> bool:
    return code is not None and not isinstance(code, bool | dict | list) and str(code).casefold() not in _GOOD_CODES
