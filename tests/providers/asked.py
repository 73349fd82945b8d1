"""What a dialect asks for a request, and what it makes of an answer's messages, without a network."""

import json
from typing import Any

import pytest

from tickertape.deltas import Delta
from tickertape.errors import ApiError, InvalidRequest
from tickertape.providers.answer_reader import AnswerReader
from tickertape.providers.base import ChatRequest
from tickertape.providers.remote import Remote

USER = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PICTURE = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
LINKED = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "é"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "a door"}


def asked(provider: Remote, *messages: Any, model: str = "m", **parameters: Any) -> tuple[str, dict[str, Any]]:
    """Return the path and the decoded body."""
    request = ChatRequest(model=model, messages=list(messages) or [USER], parameters=parameters)
    path, body = provider.question(request)
    return path, json.loads(body)


def body(provider: Remote, *messages: Any, **parameters: Any) -> dict[str, Any]:
    """Return the decoded body."""
    return asked(provider, *messages, **parameters)[1]


def refused(provider: Remote, *messages: Any, **parameters: Any) -> InvalidRequest:
    """Return the refusal of a request that cannot be asked."""
    with pytest.raises(InvalidRequest) as caught:
        asked(provider, *messages, **parameters)
    assert caught.value.status == 400
    assert caught.value.message.endswith((".", "…"))
    return caught.value


def read(reader: AnswerReader, *pieces: bytes) -> tuple[list[Delta], ApiError | None]:
    """Return what a reader makes of a body."""
    deltas: list[Delta] = []
    for piece in (*pieces, b""):
        if not reader.over:
            deltas += reader.feed(piece)
    return deltas, reader.error
