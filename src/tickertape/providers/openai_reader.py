"""OpenAI's stream of chat completion chunks, and what servers make of it, to deltas. No socket, no clock.

Success is a ``finish_reason`` that is known to mean so, or ``[DONE]``: some servers leave out the first, many the
second. Neither means that the answer is incomplete. What a chunk says is read by `openai_chunks`, as in the clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tickertape.parsing.openai_chunks import ChunkParser
from tickertape.providers.answer_reader import AnswerReader
from tickertape.sse.decoder import MAX_EVENT_SIZE

if TYPE_CHECKING:
    from tickertape.deltas import Delta
    from tickertape.providers.thinking import Thinking
    from tickertape.providers.upstream_errors import UpstreamErrors


class ChunkReader(AnswerReader):
    """Turns OpenAI's chunks into deltas. With ``raw`` the upstream's own reasoning fields come along."""

    dialect = "openai"

    def __init__(
        self,
        errors: UpstreamErrors,
        max_event_size: int = MAX_EVENT_SIZE,
        thinking: Thinking | None = None,
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(errors, max_event_size, thinking)
        self._chunks = ChunkParser(raw=raw)
        self.end = self._chunks.end

    def _message(self, data: str, out: list[Delta]) -> None:
        if data == "[DONE]":
            self._chunks.done()
            return
        if self._chunks.read(data, out):
            self._failed(data)

    def _failed(self, data: str) -> None:
        """Say what is wrong with a chunk, unless it keeps the connection open or is the marker, spelled otherwise."""
        chunks = self._chunks
        if chunks.error is not None:
            self.error = self._errors.reported(chunks.error)
        elif data.strip().strip('"').strip() == "[DONE]":
            chunks.forgive()
            self._chunks.done()
        elif data.lstrip()[:1] == "{":
            self.error = self._errors.unusable(chunks.problem or "sent what cannot be read.")
        else:
            chunks.forgive()
            self._complain(data)

    def _last(self, out: list[Delta]) -> None:
        self._chunks.close(out)

    def _owed(self) -> list[Delta]:
        self._usage, self._chunks.usage = self._chunks.usage, None
        return super()._owed()
