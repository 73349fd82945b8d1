"""The four dialects from the upstream's side: how each says a token, an end and an error. Shapes as recorded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

COUNTS = (9, 7)
"""Tokens of question and answer that every usage reports."""

CREATED = 1_790_000_000


class End(msgspec.Struct, frozen=True):
    """How an answer ends, in OpenAI's words: stop, length, tool_calls or content_filter."""

    reason: str = "stop"
    usage: bool = True


class Dialect(ABC):
    """One dialect. What it returns are whole messages with their framing."""

    name: ClassVar[str]
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def frame(self, message: Any) -> bytes:
        """Return a message, JSON or text, as it goes over the wire."""
        return f"data: {message if isinstance(message, str) else _json(message)}\n\n".encode()

    def comment(self) -> bytes:
        """Return what keeps a connection open and is no message."""
        return b": keep-alive\n\n"

    @abstractmethod
    def opening(self, model: str) -> list[bytes]:
        """Return what comes before the first token."""

    @abstractmethod
    def text(self, model: str, piece: str) -> bytes:
        """Return a piece of the answer."""

    @abstractmethod
    def reasoning(self, model: str, piece: str) -> list[bytes]:
        """Return a piece of the thinking, as the first thing that the model says."""

    @abstractmethod
    def call(self, model: str, name: str, arguments: dict[str, Any]) -> list[bytes]:
        """Return a tool call."""

    @abstractmethod
    def closing(self, model: str, end: End) -> list[bytes]:
        """Return what says that the answer is whole; the last one is, or holds, the terminal marker."""

    @abstractmethod
    def whole(self, model: str, text: str) -> dict[str, Any]:
        """Return the answer of an upstream that does not stream."""

    @abstractmethod
    def error(self, status: int, message: str) -> dict[str, Any]:
        """Return the dialect's error object, as in the body of a refusal."""

    @abstractmethod
    def models(self, names: list[str]) -> dict[str, Any]:
        """Return the list of models."""

    def empty(self, model: str) -> list[bytes]:
        """Return messages that say nothing and are no mistake."""
        return []

    def null(self, model: str) -> bytes:
        """Return a message whose content is null where a list or object was due."""
        raise NotImplementedError

    def broken_off(self, status: int, message: str) -> bytes:
        """Return an error in the middle of an answer."""
        return self.frame(self.error(status, message))


class OpenAIShape(Dialect):
    """OpenAI chat completions."""

    name = "openai"

    def opening(self, model: str) -> list[bytes]:
        return [self._chunk(model, {"role": "assistant", "content": "", "refusal": None})]

    def text(self, model: str, piece: str) -> bytes:
        return self._chunk(model, {"content": piece})

    def reasoning(self, model: str, piece: str) -> list[bytes]:
        return [self._chunk(model, {"reasoning_content": piece})]

    def call(self, model: str, name: str, arguments: dict[str, Any]) -> list[bytes]:
        text = json.dumps(arguments)
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        rest = ({"index": 0, "function": {"arguments": part}} for part in (text[:4], text[4:]))
        return [self._chunk(model, {"tool_calls": [piece]}) for piece in (first, *rest)]

    def closing(self, model: str, end: End) -> list[bytes]:
        prompt, answer = COUNTS
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        counts = [self.frame(_openai(model, [], usage=usage))] if end.usage else []
        return [self._chunk(model, {}, end.reason), *counts, self.frame("[DONE]")]

    def whole(self, model: str, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return _openai(model, [choice]) | {"object": "chat.completion"}

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def models(self, names: list[str]) -> dict[str, Any]:
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "testing"} for name in names]
        return {"object": "list", "data": data}

    def empty(self, model: str) -> list[bytes]:
        return [self.frame(_openai(model, [])), self.frame({}), b"event: ping\ndata: {}\n\n"]

    def null(self, model: str) -> bytes:
        return self.frame(_openai(model, None))

    def _chunk(self, model: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self.frame(_openai(model, [choice], obfuscation="aTq2"))


class AnthropicShape(Dialect):
    """Anthropic Messages."""

    name = "anthropic"

    def frame(self, message: Any) -> bytes:
        kind = message.get("type") if isinstance(message, dict) else None
        return (f"event: {kind}\n".encode() if kind else b"") + super().frame(message)

    def opening(self, model: str) -> list[bytes]:
        return [
            self.frame({"type": "message_start", "message": _message(model, [], COUNTS[0], 1)}),
            self.frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            self.frame({"type": "ping"}),
        ]

    def text(self, model: str, piece: str) -> bytes:
        return self._delta(0, {"type": "text_delta", "text": piece})

    def reasoning(self, model: str, piece: str) -> list[bytes]:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        return [
            self.frame({"type": "content_block_start", "index": 1, "content_block": block}),
            self._delta(1, {"type": "thinking_delta", "thinking": piece}),
            self._delta(1, {"type": "signature_delta", "signature": "EqQBCgIYAhIM"}),
            self.frame({"type": "content_block_stop", "index": 1}),
        ]

    def call(self, model: str, name: str, arguments: dict[str, Any]) -> list[bytes]:
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        text = json.dumps(arguments)
        pieces = [self._delta(1, {"type": "input_json_delta", "partial_json": part}) for part in (text[:4], text[4:])]
        start = {"type": "content_block_start", "index": 1, "content_block": block}
        return [self.frame(start), *pieces, self.frame({"type": "content_block_stop", "index": 1})]

    def closing(self, model: str, end: End) -> list[bytes]:
        reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
        message = {"type": "message_delta", "delta": {"stop_reason": reasons[end.reason], "stop_sequence": None}}
        message["usage"] = {"output_tokens": COUNTS[1]} if end.usage else {}
        stop = self.frame({"type": "content_block_stop", "index": 0})
        return [stop, self.frame(message), self.frame({"type": "message_stop"})]

    def whole(self, model: str, text: str) -> dict[str, Any]:
        return _message(model, [{"type": "text", "text": text}], *COUNTS) | {"stop_reason": "end_turn"}

    def error(self, status: int, message: str) -> dict[str, Any]:
        kinds = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
        kinds |= {404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}
        return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}

    def models(self, names: list[str]) -> dict[str, Any]:
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-09-21T12:00:00Z"} for name in names
        ]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}

    def empty(self, model: str) -> list[bytes]:
        return [self.frame({"type": "ping"}), self.frame({"type": "some_later_event", "index": "x", "delta": [1]})]

    def null(self, model: str) -> bytes:
        return self.frame({"type": "content_block_delta", "index": 0, "delta": None})

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self.frame({"type": "content_block_delta", "index": index, "delta": delta})


class GeminiShape(Dialect):
    """Gemini's streamGenerateContent."""

    name = "gemini"
    content_type = "text/event-stream"

    def frame(self, message: Any) -> bytes:
        return super().frame(message).replace(b"\n", b"\r\n")

    def opening(self, model: str) -> list[bytes]:
        return []

    def text(self, model: str, piece: str) -> bytes:
        return self._parts(model, {"text": piece})

    def reasoning(self, model: str, piece: str) -> list[bytes]:
        return [self._parts(model, {"text": piece, "thought": True})]

    def call(self, model: str, name: str, arguments: dict[str, Any]) -> list[bytes]:
        return [self._parts(model, {"functionCall": {"name": name, "args": arguments}})]

    def closing(self, model: str, end: End) -> list[bytes]:
        reasons = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
        candidate = {"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}
        body: dict[str, Any] = {"candidates": [{**candidate, "finishReason": reasons[end.reason]}]}
        return [self.frame(body | (_gemini_usage() if end.usage else {}) | {"modelVersion": model})]

    def whole(self, model: str, text: str) -> dict[str, Any]:
        content = {"parts": [{"text": text}], "role": "model"}
        return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], **_gemini_usage()}

    def error(self, status: int, message: str) -> dict[str, Any]:
        words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
        return {"error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}}

    def models(self, names: list[str]) -> dict[str, Any]:
        methods = {"supportedGenerationMethods": ["generateContent", "countTokens"]}
        return {"models": [{"name": f"models/{name}", "displayName": name, **methods} for name in names]}

    def empty(self, model: str) -> list[bytes]:
        return [self.frame({"candidates": [], "modelVersion": model}), self.frame({"responseId": "r", "later": 1})]

    def null(self, model: str) -> bytes:
        return self.frame({"candidates": None, "modelVersion": model})

    def _parts(self, model: str, part: dict[str, Any]) -> bytes:
        content = {"parts": [part], "role": "model"}
        return self.frame({"candidates": [{"content": content, "index": 0}], "modelVersion": model})


class OllamaShape(Dialect):
    """Ollama's chat."""

    name = "ollama"
    content_type = "application/x-ndjson"

    def frame(self, message: Any) -> bytes:
        return f"{message if isinstance(message, str) else _json(message)}\n".encode()

    def comment(self) -> bytes:
        return b"\n"

    def opening(self, model: str) -> list[bytes]:
        return []

    def text(self, model: str, piece: str) -> bytes:
        return self._line(model, {"role": "assistant", "content": piece})

    def reasoning(self, model: str, piece: str) -> list[bytes]:
        return [self._line(model, {"role": "assistant", "content": "", "thinking": piece})]

    def call(self, model: str, name: str, arguments: dict[str, Any]) -> list[bytes]:
        calls = [{"function": {"name": name, "arguments": arguments}}]
        return [self._line(model, {"role": "assistant", "content": "", "tool_calls": calls})]

    def closing(self, model: str, end: End) -> list[bytes]:
        reason = {"length": "length"}.get(end.reason, "stop")
        return [self.frame(_ollama(model, "") | _ollama_end(reason, counts=end.usage))]

    def whole(self, model: str, text: str) -> dict[str, Any]:
        return _ollama(model, text) | _ollama_end("stop", counts=True)

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": message}

    def models(self, names: list[str]) -> dict[str, Any]:
        details = {"format": "gguf", "family": "llama", "parameter_size": "1B", "quantization_level": "Q4_0"}
        moment = "2026-09-21T12:00:00Z"
        return {
            "models": [
                {"name": name, "model": name, "modified_at": moment, "size": 1, "digest": "0" * 64, "details": details}
                for name in names
            ]
        }

    def empty(self, model: str) -> list[bytes]:
        return [self._line(model, {"role": "assistant", "content": ""}), self.frame(_ollama(model, "") | {"later": 1})]

    def null(self, model: str) -> bytes:
        return self.frame(_ollama(model, "") | {"message": None})

    def _line(self, model: str, message: dict[str, Any]) -> bytes:
        return self.frame(_ollama(model, "") | {"message": message})


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (OpenAIShape(), AnthropicShape(), GeminiShape(), OllamaShape())
}


def _json(message: Any) -> str:
    return json.dumps(message, ensure_ascii=False)


def _openai(model: str, choices: list[Any] | None, **more: Any) -> dict[str, Any]:
    head = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": CREATED, "model": model}
    return {**head, "service_tier": "default", "choices": choices, **more}


def _message(model: str, content: list[Any], prompt: int, answer: int) -> dict[str, Any]:
    message = {"id": "msg_test", "type": "message", "role": "assistant", "model": model, "content": content}
    usage = {"input_tokens": prompt, "output_tokens": answer}
    return {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}


def _gemini_usage() -> dict[str, Any]:
    prompt, answer = COUNTS
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": answer, "totalTokenCount": prompt + answer}
    return {"usageMetadata": counts}


def _ollama(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"model": model, "created_at": "2026-09-21T12:00:00.000000Z", "message": message, "done": False}


def _ollama_end(reason: str, *, counts: bool) -> dict[str, Any]:
    end: dict[str, Any] = {"done": True, "done_reason": reason, "total_duration": 1000, "load_duration": 10}
    return end | ({"prompt_eval_count": COUNTS[0], "eval_count": COUNTS[1]} if counts else {})
