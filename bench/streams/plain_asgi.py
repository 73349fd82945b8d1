"""A rival: an ASGI callable with nothing in between; one source writes to all readers directly."""

import asyncio

from frames import frame, numbers, query

HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
READERS = set()
TASKS = set()


async def app(scope, receive, send):
    asked = query(scope)
    kind, rate = asked["kind"], float(asked.get("rate", 0))
    if kind == "begin":
        TASKS.add(asyncio.create_task(broadcast(rate)))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    if kind == "fan":
        READERS.add(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        READERS.discard(send)
        return
    async for number in numbers(kind, rate):
        await send({"type": "http.response.body", "body": frame(number), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def broadcast(rate):
    async for number in numbers("paced", rate):
        message = {"type": "http.response.body", "body": frame(number), "more_body": True}
        for send in tuple(READERS):
            await send(message)
