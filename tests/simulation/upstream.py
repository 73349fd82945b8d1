"""The model behind the server: what it answers is a function of the question's name and the seed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tickertape.deltas import Finish, Text
from tickertape.errors import ApiError
from tickertape.providers.base import Model, Provider

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest, Sink

    from .server import Server
    from .world import World


LONG_ANSWER = "long"
"""How the names of questions begin whose answers are long."""


def piece(name: str, number: int) -> str:
    """Return the answer's text, piece by piece."""
    return f"{name}.{number} "


class Call:
    """One call of the upstream, as it saw it itself.

    ``said`` is how it ended by itself: finish, eof or error; ``pieces`` how many it has sent.
    """

    def __init__(self, server: Server, began: float) -> None:
        self.server, self.began = server, began
        self.said = ""
        self.pieces = 0
        self.closed: float | None = None


class Upstream(Provider):
    """Answers at its own pace, and ends as its answer is meant to: finished, cut off, failed, or after a long wait."""

    name = "simulated"
    prefills = True

    def __init__(self, world: World, server: Server, calls: dict[str, list[Call]], capacity: int | None) -> None:
        self.capacity = capacity
        self._world, self._server, self._calls = world, server, calls

    async def models(self) -> list[Model]:
        return [Model(id="simulated", owned_by="test")]

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        name = request.messages[0]["content"]
        call = Call(self._server, self._world.now)
        self._calls.setdefault(name, []).append(call)
        random = self._world.randomness(f"answer {name}")
        size = random.choice((0, 1, 5, 20, 60, 200))
        end = random.choice(("finish", "finish", "finish", "eof", "error", "hang"))
        pause = random.choice((0.1, 2.0, 8.0, 15.0)) / (size + 1)
        if name.startswith(LONG_ANSWER):
            size, end, pause = 60, "finish", 2.0  # 17 s or so
        self._world.log(self._server.name, f"asks the model {name}: {size} pieces, then {end}")
        number = 0
        try:
            while number < size:
                await asyncio.sleep(random.choice((0.0, 0.001, pause, pause * 2 * random.random())))
                count = min(random.choice((1, 1, 1, 3, 12)), size - number)
                sink.push([Text(piece(name, number + one)) for one in range(count)])
                number = call.pieces = number + count
            if end == "hang":
                await asyncio.sleep(20 * random.random())
            elif end == "error":
                await asyncio.sleep(random.choice((0, 0.3, 2)))
            call.said = {"finish": "finish", "error": "error"}.get(end, "eof")
            if end == "error":
                raise ApiError("The upstream broke.", status=500, type="server_error")
            if end == "finish":
                sink.push([Finish("stop")])
        finally:
            call.closed = self._world.now
            self._world.log(self._server.name, f"has done with the model {name}: {call.said or 'closed early'}")
