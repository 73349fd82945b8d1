"""A rival: FastAPI's own server-sent events."""

from fastapi import FastAPI, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from frames import Broadcast, data, event_id, numbers

app = FastAPI()
source = Broadcast()


@app.post("/", response_class=EventSourceResponse)
@app.get("/", response_class=EventSourceResponse)
async def answer(kind: str, rate: float = 0):
    async for number in source.follow() if kind == "fan" else numbers(kind, rate):
        yield ServerSentEvent(raw_data=data(number), id=event_id(number))


@app.post("/begin")
async def begin(rate: float):
    source.begin(rate)
    return Response(status_code=204)
