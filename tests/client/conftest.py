"""One way to drive both clients, so that every test is written once and holds for both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from faults.server import FaultServer
from tickertape.client import AsyncEventSource, EventSource, aask, ask
from tickertape.errors import TickertapeError
from tickertape.sse.actions import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.sse.actions import ReadyState, Wait
    from tickertape.sse.event import Event


class Enough(Exception):
    """The test has seen what it wanted."""


@dataclass
class Outcome:
    """What a reading of events came to."""

    events: list[Event] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    error: TickertapeError | None = None
    state: ReadyState | None = None
    reconnecting: bool = False
    last_event_id: str = ""
    location: str | None = None

    @property
    def data(self) -> list[str]:
        return [event.data for event in self.events]


@dataclass
class Asked:
    """What a question came to."""

    answer: Any
    pieces: list[str] = field(default_factory=list)
    error: TickertapeError | None = None


class Client:
    """Drives one of the two clients; blocking, whatever is below."""

    name: str

    def read(self, url: str, *, limit: int | None = None, waits: int | None = None, **options: Any) -> Outcome:
        """Read events until the source ends, ``limit`` events are there, or it would wait for the ``waits``-th time."""
        outcome = Outcome()

        def on_reconnect(wait: Wait) -> None:
            outcome.waits.append(wait)
            if waits is not None and len(outcome.waits) >= waits:
                outcome.reconnecting = True
                raise Enough

        options = {
            "on_reconnect": on_reconnect,
            "on_comment": outcome.comments.append,
            "on_open": lambda headers: outcome.heads.append(dict(headers)),
            "reconnection_time": 0.001,
            "policy": Policy(max_delay=0.01),
        } | options
        try:
            source = self._read(url, outcome, limit, options)
        except TickertapeError as error:
            outcome.error = error
            source = self.source
        except Enough:
            source = self.source
        outcome.state, outcome.last_event_id, outcome.location = source.state, source.last_event_id, source.location
        return outcome

    def _read(self, url: str, outcome: Outcome, limit: int | None, options: dict[str, Any]) -> Any:
        raise NotImplementedError

    def ask(self, url: str, messages: Any = None, **options: Any) -> Asked:
        """Ask and read to the end."""
        raise NotImplementedError


class SyncClient(Client):
    name = "sync"

    def _read(self, url: str, outcome: Outcome, limit: int | None, options: dict[str, Any]) -> Any:
        with EventSource(url, **options) as self.source:
            if limit == 0:
                return self.source
            for event in self.source:
                outcome.events.append(event)
                if len(outcome.events) == limit:
                    break
        return self.source

    def ask(self, url: str, messages: Any = None, **options: Any) -> Asked:
        asked = Asked(ask(url, messages, **options))
        try:
            with asked.answer as answer:
                for piece in answer:
                    asked.pieces.append(piece)
        except TickertapeError as error:
            asked.error = error
        return asked


class AsyncClient(Client):
    name = "async"

    def _read(self, url: str, outcome: Outcome, limit: int | None, options: dict[str, Any]) -> Any:
        async def run() -> None:
            async with AsyncEventSource(url, **options) as self.source:
                if limit == 0:
                    return
                async for event in self.source:
                    outcome.events.append(event)
                    if len(outcome.events) == limit:
                        break

        asyncio.run(run())
        return self.source

    def ask(self, url: str, messages: Any = None, **options: Any) -> Asked:
        asked = Asked(None)

        async def run() -> None:
            asked.answer = aask(url, messages, **options)
            async with asked.answer as answer:
                async for piece in answer:
                    asked.pieces.append(piece)

        try:
            asyncio.run(run())
        except TickertapeError as error:
            asked.error = error
        return asked


@pytest.fixture(params=[SyncClient, AsyncClient], ids=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Client:
    return request.param()


@pytest.fixture(scope="session")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
