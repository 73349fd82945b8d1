"""What every provider promises, whatever dialect its upstream speaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tickertape.errors import InvalidRequest
from tickertape.providers.parameters import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickertape.deltas import Delta


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model that can be asked for, as ``GET /v1/models`` lists it."""

    id: str
    owned_by: str
    created: int = 0
    note: str = ""
    """One sentence for the person who picks it; shown on the page."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a provider.

    ``messages`` are OpenAI's message objects, checked to have a role and content. ``parameters`` are the other
    fields of the caller's request (temperature, max_tokens, tools, …), handed to the dialect untouched.
    """

    model: str
    messages: list[dict[str, Any]]
    parameters: dict[str, Any] = {}


class Sink(Protocol):
    """Where a provider puts an answer, from the event loop's thread and from whatever callback or task it is in."""

    @property
    def behind(self) -> bool:
        """Whether to read no more from the upstream until `drained` has returned: memory stays bounded that way."""

    def push(self, deltas: list[Delta]) -> None:
        """Put deltas that are ready together. Does not raise and does not wait; ignored once the answer has ended.

        What ends the answer on this side (a stop, a limit, a log that cannot be written) cancels the task that runs
        `Provider.answer`.
        """

    async def drained(self) -> None:
        """Return once the sink is not ``behind`` any more; at once if it is not."""


class Provider(ABC):
    """Speaks one upstream dialect and tells the truth about how the answer ended."""

    name: str
    capacity: int | None = None
    """Answers that it can produce at once; more wait in line. None: as many as come."""

    retried: int | None = None
    """How often a question was asked again, before the first byte of an answer; None where that cannot be."""

    prefills: bool = False
    """Whether it goes on from a last message of the assistant, instead of answering it."""

    fields: frozenset[str] = STANDARD
    """The parameters that a request may have; `check` refuses every other."""

    def allow(self, names: Iterable[str]) -> None:
        """Take these parameters as well, as whoever runs the server wants it."""
        self.fields |= frozenset(names)

    def check(self, request: ChatRequest) -> None:
        """Raise InvalidRequest for a parameter that this provider does not take. One that is null asks for nothing."""
        for name, value in request.parameters.items():
            if name not in self.fields and value is not None:
                raise InvalidRequest(
                    f"{name[:80]!r} is not among the fields that requests to {self.name} may have; leave it out. "
                    "Whoever runs this server can allow it, with parameters in its [[upstream]].",
                    code="unsupported_parameter",
                    param=name[:80],
                )

    @abstractmethod
    async def models(self) -> list[Model]:
        """Return the models served, the default first. Raises ApiError when they cannot be had."""

    @abstractmethod
    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        """Push the answer's deltas into the sink, nothing waiting for more, and return when the upstream has ended.

        ::

            sink.push([Text("Hel")])          # a list: what is ready together
            sink.push([Text("lo"), Usage({"total_tokens": 3}), Finish("stop")])

        (all of `tickertape.deltas`). A `Finish`, with one of `FINISH_REASONS`, is pushed only if the upstream's own
        terminal marker was seen; to return without one means *incomplete*. Usage, when the upstream gave it, is pushed
        as `Usage`. Raises ApiError when the upstream
        refuses or reports an error, before or after the first delta. Cancelling its task closes the upstream call at
        once, also before the first token. While the sink is behind, the upstream is not read.
        """

    async def start(self) -> None:  # noqa: B027 - most providers have nothing to load
        """Load what takes long to load, so that the first answer need not wait. Raises SettingsError."""

    async def close(self) -> None:  # noqa: B027 - most providers hold nothing
        """Give back connections, threads and memory. Running streams are ended first by the caller."""
