"""Every way it can go wrong, in one tree.

::

    TickertapeError
    ├── EventTooLarge         an event stream held one event beyond the decoder's limit       (the peer's fault)
    ├── NotRunning            what was asked for was stopped
    ├── LogError              the stream log could not do what was asked
    │   ├── UnknownStream     no such stream, or not this owner's                             (the caller's fault)
    │   ├── StreamEnded       an append after the terminal event: the writer was fenced       (ours)
    │   ├── KeyReused         an Idempotency-Key came again with another body                 (the caller's)
    │   ├── LogUnavailable    disk full, I/O error, damaged or newer file                     (the machine's)
    │   └── StreamDamaged     what is stored of one stream is not what was written            (the machine's)
    ├── ConversationError     the conversations could not do what was asked
    │   ├── UnknownConversation        no such conversation or message, or not this owner's   (the caller's fault)
    │   ├── ConversationConflict       it cannot be done in the conversation's present state  (the caller's)
    │   ├── ConversationLimitExceeded  a title, system prompt or conversation is too large    (the caller's)
    │   └── ConversationsUnavailable   disk full, I/O error, damaged or newer file            (the machine's)
    ├── ProviderError         the upstream refused, failed or cannot be reached; carries the HTTP status to show
    │   ├── AnswerUnfinished  the upstream ended the answer, and said that it is not whole    (the upstream's)
    │   └── BadRequest        the request asks for something that cannot be done              (the caller's)
    ├── ClientError           what a reader of somebody's stream sees
    │   ├── ConnectionFailed  the stream cannot be (re)opened; final                          (the peer's)
    │   ├── IncompleteStream  the answer ended without its terminal marker; carries the partial text
    │   └── StreamError       the answer carried an error event; carries the partial text
    └── SettingsError         a setting, option or file of ours is unusable; the sentence says what is allowed

Messages are sentences: what was read, what is allowed, what to do.
"""

from __future__ import annotations


class TickertapeError(Exception):
    """Base of everything tickertape raises on purpose."""


class NotRunning(TickertapeError):
    """What was asked for was stopped."""


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


class LogError(TickertapeError):
    """The stream log could not do what was asked."""

    @property
    def shown(self) -> str:
        """The sentence for callers, who need not know where a server keeps its files."""
        return str(self)


class UnknownStream(LogError):
    """There is no stream with this id for this owner."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"There is no stream {stream_id!r}. It may have expired; start a new answer.")
        self.stream_id = stream_id


class StreamEnded(LogError):
    """An append came after the stream's terminal event."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"Stream {stream_id!r} has ended; nothing can be appended to it.")
        self.stream_id = stream_id


class KeyReused(LogError):
    """An Idempotency-Key that belongs to one request came with another one."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used before with another request body. "
            "Send the same body to attach to that answer, or a new key to start another."
        )
        self.key = key


class LogUnavailable(LogError):
    """The log cannot be opened, read or written; the sentence says why and what to do."""

    def __init__(self, message: str, *, shown: str | None = None) -> None:
        super().__init__(message)
        self._shown = shown or message

    @property
    def shown(self) -> str:
        """The sentence for callers, who need not know where a server keeps its files."""
        return self._shown


class Fenced(LogUnavailable):
    """Another process took this one for dead: what it sends with its old epoch is refused."""

    def __init__(self) -> None:
        super().__init__("This process stood still, was taken for dead, and its running answers were ended as lost.")


class StreamDamaged(LogError):
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


class ProviderError(TickertapeError):
    """A provider refused or failed. Shown to the caller with this HTTP status and OpenAI-shaped body.

    ``status`` is the HTTP status to answer with before the first byte; ``type`` and ``code`` are OpenAI's
    error fields; ``retry_after`` is in seconds. ``passing`` says that the same question, asked again at once, may well
    be answered: nothing of an answer had come.
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
        passing: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.passing = passing


class AnswerUnfinished(ProviderError):
    """The upstream ended the answer for a reason that does not mean, or is not known to mean, that it is whole."""


class BadRequest(ProviderError):
    """The request itself cannot be honoured; nothing was sent upstream."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, status=status, type="invalid_request_error", code=code, param=param)


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


class StreamError(ClientError):
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
