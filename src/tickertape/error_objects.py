"""Errors as an API's callers see them: OpenAI's error object, and the status that goes with it.

Not only responses hold one: the terminal entry of a stream does, and a message of a conversation.
"""

from __future__ import annotations

from typing import Any

from tickertape.errors import (
    BadRequest,
    ConversationConflict,
    ConversationLimitExceeded,
    ConversationsUnavailable,
    KeyReused,
    LogUnavailable,
    NotRunning,
    ProviderError,
    StreamDamaged,
    TickertapeError,
    UnknownConversation,
    UnknownStream,
)


def error_object(error: ProviderError) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"message": error.message, "type": error.type, "code": error.code, "param": error.param}


def to_api_error(error: TickertapeError) -> ProviderError:
    """Return the error as an API's caller sees it: a status, OpenAI's type and code, a sentence for anybody."""
    match error:
        case ProviderError():
            return error
        case UnknownStream():
            return BadRequest(str(error), status=404, code="unknown_stream")
        case KeyReused():
            return BadRequest(str(error), status=422, code="idempotency_key_reused")
        case LogUnavailable():
            return ProviderError(error.shown, status=503, type="server_error", code="log_unavailable")
        case NotRunning():
            return ProviderError(str(error), status=503, type="server_error", code="not_running")
        case StreamDamaged():
            return ProviderError(str(error), status=500, type="server_error", code="stream_damaged")
        case UnknownConversation():
            return BadRequest(str(error), status=404, code="unknown_conversation")
        case ConversationConflict():
            return BadRequest(str(error), status=409, code=error.code)
        case ConversationLimitExceeded():
            return BadRequest(str(error), code="limit_exceeded", param=error.param)
        case ConversationsUnavailable():
            return ProviderError(error.shown, status=503, type="server_error", code="chats_unavailable")
    return ProviderError(str(error), status=500, type="server_error")
