"""What the local runtime is asked, in a form that cannot surprise it, and what its refusals mean. No thread, no I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import ApiError, InvalidRequest
from tickertape.parsing.reported_errors import one_line
from tickertape.providers.parameters import LACKING, Parameters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickertape.deltas import Delta
    from tickertape.providers.base import ChatRequest
    from tickertape.providers.openai_reader import ChunkReader

MOST_TOKENS = 1024
"""Tokens of an answer when the request does not say: small models like to go on for ever."""

_OURS = {"stream", "stream_options", "return_progress", "max_tokens", "max_completion_tokens", "n_predict", "id_slot"}
"""Fields that are set here, whatever the request says."""

_SERVICE = "The model on this machine"


class LlamaRequests:
    """Writes requests for one model: without its control tokens, within its context, with its default options.

    ``tools`` says whether its chat template has a place for them. Where it has none, the runtime would leave them out
    and answer as if nobody had asked for a call, whatever ``tool_choice`` says.
    """

    def __init__(
        self, control_tokens: Iterable[str], context: int, defaults: dict[str, Any], *, tools: bool = False
    ) -> None:
        self._tools = tools
        self._control = re.compile("|".join(map(re.escape, control_tokens)) or "(?!)")
        self._context, self._defaults = context, defaults

    def body(self, request: ChatRequest) -> bytes:
        """Return the request in a form that cannot surprise the runtime."""
        given = {name: value for name, value in request.parameters.items() if value is not None}
        if given.get("n", 1) != 1:
            raise InvalidRequest("n must be 1: an answer here is one stream. Ask again for another one.", param="n")
        options = Parameters(request, _SERVICE)
        options.refuse(*LACKING[_SERVICE])
        if not self._tools:
            self._check_tools(options)
        limits = [given[name] for name in ("max_completion_tokens", "max_tokens") if name in given]
        if not all(type(limit) is int and limit > 0 for limit in limits):
            raise InvalidRequest(
                f"max_tokens must be a whole number above 0; it was {limits[0]!r}.", param="max_tokens"
            )
        body = {**self._defaults, **{name: value for name, value in given.items() if name not in _OURS}}
        body["messages"] = self._without_control(request.messages)
        if "tools" in body:
            body["tools"] = self._without_control(body["tools"])
        body["max_tokens"] = min(*limits, self._context) if limits else MOST_TOKENS
        body["stream"] = body["return_progress"] = True  # progress: while a prompt is read, a cancel is noticed too
        body["stream_options"] = {"include_usage": True}
        try:
            return msgspec.json.encode(body)
        except UnicodeEncodeError:
            raise InvalidRequest("The request holds half of a surrogate pair, which has no UTF-8 form.") from None

    def _check_tools(self, options: Parameters) -> None:
        """Raise InvalidRequest for tools that the model would have to call, or to choose from."""
        choice, _name = options.choice()
        if choice in ("required", "function") or (choice != "none" and options.take("tools")):
            raise InvalidRequest(
                "This model cannot call tools: its chat template has no place for them. Leave them out, send "
                'tool_choice "none", or ask for JSON with response_format; or choose another model.',
                code="unsupported_parameter",
                param="tool_choice" if choice in ("required", "function") else "tools",
            )

    def _without_control(self, value: Any) -> Any:
        """Return the messages with a space in every control token.

        The runtime takes them for real wherever they stand, so that a text could go on as another speaker. A space
        keeps the text readable, and no removal can put a new token together.
        """
        if isinstance(value, str):
            return self._control.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", value)
        if isinstance(value, list):
            return [self._without_control(item) for item in value]
        if isinstance(value, dict):
            return {name: self._without_control(item) for name, item in value.items()}
        return value


def read_chunk(reader: ChunkReader, data: bytes) -> list[Delta]:
    """Return the deltas of one chunk of the runtime. Raises ApiError for what is an error."""
    if data.startswith(b'{"error"'):
        raise refused_by(msgspec.json.decode(data)["error"])
    deltas = reader.take(data)
    if reader.error is not None:
        raise reader.error
    return deltas


def refused_by(error: dict[str, Any]) -> ApiError:
    """Return the error for what the runtime says in place of an answer."""
    if error.get("type") == "exceed_context_size_error":
        return InvalidRequest(
            f"This conversation has {error.get('n_prompt_tokens')} tokens, and the model holds {error.get('n_ctx')}, "
            "question and answer together. Shorten it or begin a new one.",
            code="context_length_exceeded",
            param="messages",
        )
    words = one_line(error.get("message"))
    if error.get("code") == 400:
        return InvalidRequest(f"The local model cannot take this request: {words}.", code="invalid_request")
    return failed(words)


def failed(words: str) -> ApiError:
    """Return the error for a runtime that broke off."""
    return ApiError(f"The local model failed: {one_line(words)}.", code="model_failed")
