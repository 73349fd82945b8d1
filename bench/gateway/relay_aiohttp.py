"""A relay with aiohttp on both sides, piece by piece."""

import os
import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

UPSTREAM = os.environ["UPSTREAM"]


async def relay(request):
    body = await request.read()
    async with request.app["client"].post(
        UPSTREAM + request.path, data=body, headers={"content-type": "application/json"}
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        return response


async def client(app):
    async with ClientSession(timeout=ClientTimeout(total=None), connector=TCPConnector(limit=0)) as session:
        app["client"] = session
        yield


app = web.Application()
app.router.add_post("/{path:.*}", relay)
app.cleanup_ctx.append(client)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
