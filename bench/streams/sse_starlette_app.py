"""A rival: sse-starlette's EventSourceResponse."""

from frames import Broadcast, data, event_id, numbers
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

source = Broadcast()


async def events(found):
    async for number in found:
        yield ServerSentEvent(data(number), id=event_id(number), sep="\n")


async def answer(request):
    kind, rate = request.query_params["kind"], float(request.query_params.get("rate", 0))
    if kind == "begin":
        source.begin(rate)
        return Response(status_code=204)
    return EventSourceResponse(events(source.follow() if kind == "fan" else numbers(kind, rate)), sep="\n")


app = Starlette(routes=[Route("/", answer, methods=["POST", "GET"])])
