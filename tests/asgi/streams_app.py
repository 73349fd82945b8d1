"""An app with streams of its own, for a server in a process: words come until it is told to stop."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastapi import FastAPI

from tickertape import ANYONE, Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

streams = Streams(f"sqlite:///{os.environ['STREAMS_DB']}", owner=ANYONE, grace=0.2)
app = FastAPI(lifespan=streams.lifespan)
app.mount("/streams", streams.app)


async def words() -> AsyncIterator[str]:
    while True:
        yield "word "
        await asyncio.sleep(0.02)


@app.post("/words")
async def begin() -> Response:
    return streams.response(words())
