"""How an answer can end, as its terminal entry says it."""

from __future__ import annotations

import logging

import msgspec

from tickertape.deltas import End, State
from tickertape.errors import AnswerUnfinished, ApiError, EngineError

logger = logging.getLogger("tickertape")


def error_end(
    state: State,
    status: int,
    message: str,
    type_: str = "server_error",
    code: str | None = None,
    param: str | None = None,
) -> End:
    """Return the end that carries an OpenAI error object."""
    error = {"message": message, "type": type_, "code": code or str(state), "param": param}
    return End(state, error=error, status=status)


def failure(error: Exception) -> End:
    """Return the end of an answer that failed with this error. Of one that nobody foresaw, no detail is shown."""
    if isinstance(error, ApiError):
        state = State.INCOMPLETE if isinstance(error, AnswerUnfinished) else State.FAILED
        end = error_end(state, error.status, error.message, error.type, error.code, error.param)
        return msgspec.structs.replace(end, retry_after=error.retry_after)
    if isinstance(error, EngineError):
        return error_end(State.FAILED, 503, error.shown)
    logger.error("A generation failed", exc_info=error)
    return error_end(State.FAILED, 500, "The server failed while it produced this answer; its own log says why.")


def too_long(what: str) -> ApiError:
    """Return the error of an answer that was ended by a limit; what had come is kept."""
    return ApiError(
        f"The answer took {what}, the limit of this server, and was ended there.",
        status=500,
        type="server_error",
        code="answer_too_long",
    )


def unknown_reason(reason: str) -> End:
    """Return the end of an answer whose provider gave a reason that is not known to mean that it is whole."""
    return error_end(
        State.INCOMPLETE,
        502,
        f"The model's server ended the answer for a reason that is not known here: {reason!r:.80}.",
    )


UNFINISHED = error_end(State.INCOMPLETE, 502, "The model's server ended the answer without saying it was done.")
LOST = error_end(State.LOST, 503, "The server that was writing this answer stopped; this is what was written.")
DAMAGED = error_end(
    State.LOST, 500, "The rest of this answer is damaged on the server's disk; this is what can be read."
)
