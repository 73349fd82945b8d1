"""A relay as it is commonly written: httpx to the upstream, Starlette's StreamingResponse to the caller."""

import os

import httpx2
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ["UPSTREAM"]
client = httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None))


async def relay(request):
    body = await request.body()
    asked = client.build_request(
        "POST", UPSTREAM + request.url.path, content=body, headers={"content-type": "application/json"}
    )
    answer = await client.send(asked, stream=True)

    async def pieces():
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await answer.aclose()

    return StreamingResponse(pieces(), answer.status_code, media_type="text/event-stream")


app = Starlette(routes=[Route("/{path:path}", relay, methods=["POST"])])
