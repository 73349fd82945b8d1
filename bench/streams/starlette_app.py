"""A rival: Starlette's StreamingResponse over an application's generator."""

from frames import Broadcast, frame, numbers
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

source = Broadcast()


async def frames(events):
    async for number in events:
        yield frame(number)


async def answer(request):
    kind, rate = request.query_params["kind"], float(request.query_params.get("rate", 0))
    if kind == "begin":
        source.begin(rate)
        return Response(status_code=204)
    events = source.follow() if kind == "fan" else numbers(kind, rate)
    return StreamingResponse(frames(events), media_type="text/event-stream")


app = Starlette(routes=[Route("/", answer, methods=["POST", "GET"])])
