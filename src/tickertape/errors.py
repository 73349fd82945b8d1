"""Every way it can go wrong, in one tree.

::

    TickertapeError
    ├── EventTooLarge         an event stream held one event beyond the decoder's limit       (the peer's fault)
    ├── NotRunning            the core was stopped, or not started                            (ours)
    ├── EngineError           an engine of streams could not do what was asked
    │   ├── UnknownStream     no such stream, or not this owner's                             (the caller's fault)
    │   ├── StreamEnded       an append after the terminal event: the writer was fenced       (ours)
    │   ├── KeyReused         an Idempotency-Key came again with another body                 (the caller's)
    │   ├── EngineUnavailable disk full, I/O error, damaged or newer file                     (the machine's)
    │   │   └── Fenced        this process was taken for dead, and its epoch is refused       (the machine's)
    │   └── StreamDamaged     the stored bytes of one stream do not match their checksum      (the machine's)
    ├── ConversationError     the conversations could not do what was asked
    │   ├── UnknownConversation        no such conversation or message, or not this owner's   (the caller's fault)
    │   ├── ConversationConflict       it cannot be done in the conversation's present state  (the caller's)
    │   ├── ConversationLimitExceeded  a title, system prompt or conversation is too large    (the caller's)
    │   └── ConversationsUnavailable   disk full, I/O error, damaged or newer file            (the machine's)
    ├── ApiError              an error as the API answers it: HTTP status, type, code, sentence (the server's)
    │   ├── InvalidRequest    the request cannot be honoured as it is: 4xx                    (the caller's)
    │   └── UpstreamError     the upstream refused, failed or cannot be reached               (the upstream's)
    │       └── AnswerUnfinished  the upstream ended the answer before it was whole           (the upstream's)
    ├── ClientError           a reader of somebody's stream could not read it to its end
    │   ├── ConnectionFailed  the stream cannot be (re)opened; final                          (the peer's)
    │   ├── IncompleteStream  the answer ended without its terminal marker; carries the partial text
    │   └── AnswerFailed      the answer carried an error event; carries the partial text
    └── SettingsError         a setting, option or file of ours is unusable; the sentence says what is allowed

`to_api_error` turns any of them into the `ApiError` that a caller of the API is shown: in a response, in the terminal
entry of a stream and in a message of a conversation.

Messages are sentences: what was read, what is allowed, what to do.
"""

from __future__ import annotations

from typing import Any


class TickertapeError(Exception):
    """Base of everything tickertape raises on purpose."""


class NotRunning(TickertapeError):
    """The core was stopped, or not started."""


class EventTooLarge(TickertapeError):
    """One event was larger than the decoder's ``max_event_size``; the decoder is finished.

    ``limit`` is that size in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"An event of more than {limit:,} bytes was read; the decoder's max_event_size is {limit:,}. "
            "Raise max_event_size if the sender is trusted."
        )
        self.limit = limit


class EngineError(TickertapeError):
    """An engine of streams could not do what was asked."""

    @property
    def shown(self) -> str:
        """The sentence for callers, who need not know where a server keeps its files."""
        return str(self)


class UnknownStream(EngineError):
    """There is no stream with this id for this owner."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"There is no stream {stream_id!r}. It may have expired; start a new answer.")
        self.stream_id = stream_id


class StreamEnded(EngineError):
    """An append came after the stream's terminal event."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"Stream {stream_id!r} has ended; nothing can be appended to it.")
        self.stream_id = stream_id


class KeyReused(EngineError):
    """An Idempotency-Key that belongs to one request came with another one."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used before with another request body. "
            "Send the same body to attach to that answer, or a new key to start another."
        )
        self.key = key


class EngineUnavailable(EngineError):
    """The streams cannot be opened, read or written; the sentence says why and what to do."""

    def __init__(self, message: str, *, shown: str | None = None) -> None:
        super().__init__(message)
        self._shown = shown or message

    @property
    def shown(self) -> str:
        """The sentence for callers, who need not know where a server keeps its files."""
        return self._shown


class Fenced(EngineUnavailable):
    """Another process took this one for dead: what it sends with its old epoch is refused."""

    def __init__(self) -> None:
        super().__init__("This process stood still, was taken for dead, and its running answers were ended as lost.")


class StreamDamaged(EngineError):
    """What is stored of this stream, of this owner as far as that can be read, is not what was written."""

    def __init__(self, stream_id: str, owner: str) -> None:
        super().__init__(
            f"Stream {stream_id!r} is damaged on the server's disk: its checksum does not match. It cannot be read; "
            "ask again, or restore a backup."
        )
        self.stream_id = stream_id
        self.owner = owner


class ConversationError(TickertapeError):
    """The conversations could not do what was asked."""


class UnknownConversation(ConversationError):
    """There is no conversation, or no message in it, with this id for this owner."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"There is no {what} {name[:80]!r}. It may have been deleted; read the list again.")


class ConversationConflict(ConversationError):
    """The conversation is not in a state in which this can be done; ``code`` says why in one word."""

    def __init__(self, message: str, *, code: str = "conflict") -> None:
        super().__init__(message)
        self.code = code


class ConversationLimitExceeded(ConversationError):
    """Something is larger than the limits on conversations allow; ``param`` names the field."""

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param


class ConversationsUnavailable(ConversationError):
    """The conversations cannot be opened, read or written; the sentence says why and what to do."""

    def __init__(self, message: str, *, shown: str | None = None) -> None:
        super().__init__(message)
        self.shown = shown or message


class ApiError(TickertapeError):
    """An error as a caller of the API is shown it, with this HTTP status and OpenAI's error object.

    ``status`` is the HTTP status before the first byte; ``type``, ``code`` and ``param`` are OpenAI's error fields;
    ``retry_after`` is in seconds. Raised as it is, it is the server's own refusal or failure.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        type: str = "server_error",  # noqa: A002 - OpenAI's own field name
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """The request cannot be honoured as it is, OpenAI's ``invalid_request_error``. ``status`` is any 4xx."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, status=status, type="invalid_request_error", code=code, param=param)


class UpstreamError(ApiError):
    """The upstream refused, failed or cannot be reached.

    ``transient`` says that the same request, sent again at once, may be answered: nothing of an answer had come.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        type: str = "upstream_error",  # noqa: A002 - OpenAI's own field name
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(message, status=status, type=type, code=code, param=param, retry_after=retry_after)
        self.transient = transient


class AnswerUnfinished(UpstreamError):
    """The upstream ended the answer for a reason that does not mean, or is not known to mean, that it is whole."""


class ClientError(TickertapeError):
    """A reader could not read somebody's stream to its end."""


class ConnectionFailed(ClientError):
    """The stream cannot be opened, or opened again, and trying on is pointless or forbidden.

    ``status`` is the HTTP status that said so, if one did.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class IncompleteStream(ClientError):
    """The answer ended without its terminal marker. ``text`` is what had arrived."""

    def __init__(self, message: str, *, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class AnswerFailed(ClientError):
    """The answer carried an error. ``text`` had arrived before it; ``code`` and ``type`` are the sender's."""

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - OpenAI's own field name
    ) -> None:
        super().__init__(message)
        self.text = text
        self.code = code
        self.type = type


class SettingsError(TickertapeError):
    """A setting, an option or a file of ours cannot be used."""


def error_object(error: ApiError) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"message": error.message, "type": error.type, "code": error.code, "param": error.param}


def to_api_error(error: TickertapeError) -> ApiError:
    """Return the error as an API's caller sees it: a status, OpenAI's type and code, a sentence for anybody."""
    match error:
        case ApiError():
            return error
        case UnknownStream():
            return InvalidRequest(str(error), status=404, code="unknown_stream")
        case KeyReused():
            return InvalidRequest(str(error), status=422, code="idempotency_key_reused")
        case EngineUnavailable():
            return ApiError(error.shown, status=503, code="streams_unavailable")
        case NotRunning():
            return ApiError(str(error), status=503, code="not_running")
        case StreamDamaged():
            return ApiError(str(error), code="stream_damaged")
        case UnknownConversation():
            return InvalidRequest(str(error), status=404, code="unknown_conversation")
        case ConversationConflict():
            return InvalidRequest(str(error), status=409, code=error.code)
        case ConversationLimitExceeded():
            return InvalidRequest(str(error), code="limit_exceeded", param=error.param)
        case ConversationsUnavailable():
            return ApiError(error.shown, status=503, code="conversations_unavailable")
    return ApiError(str(error))
