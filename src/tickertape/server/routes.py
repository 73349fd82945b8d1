"""What every route does, on top of the log, the generations and the fan-out.

Handlers are plain ASGI: Starlette finds the route, nothing of it stands between a stream and its reader.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from tickertape.asgi.subscriber import Cut, deliver
from tickertape.deltas import End, State, decode_delta
from tickertape.dialects.openai_chat import Answer, ChunkView
from tickertape.errors import BadRequest, TickertapeError
from tickertape.generation import GenerationSpec
from tickertape.server.metrics import CONTENT_TYPE, collect, exposition
from tickertape.server.replay import cursor_of, dialect_of, find, replay, resumed
from tickertape.server.requests import Ask, header, parse_ask, read_body, url_of
from tickertape.server.responses import STREAM_HEADERS, location, reply, reply_error, reply_failure, reply_json, start
from tickertape.server.waiting import ended, opened, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.conversations.change_feed import ChangeFeed
    from tickertape.conversations.service import ConversationService
    from tickertape.delivery.fanout import Fanout
    from tickertape.generation import Generations
    from tickertape.providers.catalog import Catalog
    from tickertape.server.assets import Assets
    from tickertape.server.metrics import Figures, SharedFigures
    from tickertape.server.readiness import Readiness
    from tickertape.server.settings import Settings
    from tickertape.streams.contract import Engine, Stream

    Method = Callable[["Services", Message, Receive, Send], Awaitable[None]]

logger = logging.getLogger("tickertape")


class Services:
    """What the routes work with; made when the server starts."""

    def __init__(
        self,
        settings: Settings,
        log: Engine,
        catalog: Catalog,
        generations: Generations,
        fanout: Fanout,
        assets: Assets,
        conversations: ConversationService,
        change_feed: ChangeFeed,
        readiness: Readiness,
        shared_figures: SharedFigures | None = None,
    ) -> None:
        self.settings = settings
        self.log = log
        self.catalog = catalog
        self.generations = generations
        self.fanout = fanout
        self.assets = assets
        self.conversations = conversations
        self.change_feed = change_feed
        self.readiness = readiness
        self._shared_figures = shared_figures

    def figures(self) -> Figures:
        """Return the figures of all workers of this server, after the others were told those of this one."""
        own = collect(self.generations, self.fanout, self.catalog)
        if self._shared_figures is None:
            return own
        self._shared_figures.publish(own)
        return self._shared_figures.total()

    async def begin(self, ask: Ask, owner: str, continues: str | None = None) -> Stream:
        """Begin an answer, or find the one that the Idempotency-Key began.

        With ``continues`` it goes on from that stream's partial answer, which is the last of the messages. Raises
        BadRequest if the provider cannot.
        """
        provider, model = await self.catalog.find(ask.model)
        if continues is not None and not provider.prefills:
            raise BadRequest(
                f"The model {model!r} cannot go on from a partial answer; ask again instead.",
                code="cannot_continue",
                param="model",
            )
        spec = GenerationSpec(provider, ask.request(model), ask.show_usage, ask.abandon_after, continues)
        return await self.generations.begin(spec, owner=owner, key=ask.key)

    async def ask(self, scope: Message, receive: Receive, disconnect: str | None = None) -> Ask:
        """Read and check a question; ``disconnect`` is the route's own default policy."""
        settings = self.settings
        body = await read_body(scope, receive, settings.max_body)
        policy = disconnect or settings.disconnect
        return parse_ask(scope, body, max_messages=settings.max_messages, disconnect=policy)


async def post_stream(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /api/openai/stream``: ask, and read the answer as a stream."""
    if not await resumed(services, scope, receive, send):
        await _answer(services, await services.ask(scope, receive), scope, receive, send)


async def post_completions(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/chat/completions``: the same as OpenAI's, streamed or whole."""
    if await resumed(services, scope, receive, send):
        return
    # Only who sends a key can come back for the answer.
    policy = "cancel" if header(scope, b"idempotency-key") is None else None
    ask = await services.ask(scope, receive, disconnect=policy)
    if ask.stream:
        await _answer(services, ask, scope, receive, send)
        return
    tape = await services.begin(ask, scope["owner"])
    with reading(tape):
        if not await ended(tape, receive):
            return
    answer = Answer(tape)
    end = answer.end or End(State.RUNNING)
    if end.error is not None:
        await reply_failure(send, end.error | {"text": answer.text}, end.status, end.retry_after)
    else:
        await reply_json(send, answer.completion(), headers=[location(scope, tape.header.id)])


async def post_streams(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/streams``: ask now, read later, by EventSource for example."""
    ask = await services.ask(scope, receive, disconnect="continue")  # it is asked now to be read later
    tape = await services.begin(ask, scope["owner"])
    stream_id = tape.header.id
    url = url_of(scope, f"/v1/streams/{stream_id}")
    await reply_json(send, {"id": stream_id, "url": url}, 202, [location(scope, stream_id)])


async def get_stream(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``GET /v1/streams/{id}``: the stream from a cursor on, or its snapshot as JSON."""
    stream_id = scope["path_params"]["id"]
    accept = header(scope, b"accept") or ""
    if "application/json" in accept and "text/event-stream" not in accept:
        await reply_json(send, Answer(await find(services, stream_id, scope["owner"])).snapshot())
    else:
        await replay(services, stream_id, cursor_of(scope), scope, receive, send, dialect_of(scope))


async def cancel_stream(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``POST /v1/streams/{id}/cancel``: stop the answer; again and after its end that does nothing."""
    tape = await find(services, scope["path_params"]["id"], scope["owner"])
    await services.log.cancel(tape)
    try:
        async with asyncio.timeout(services.settings.patience):
            while not tape.ended:
                await tape.wait(len(tape.entries))
    except TimeoutError:
        pass  # its producer is slow to stop, or elsewhere: the snapshot says that it is still running
    await reply_json(send, Answer(tape).snapshot())


async def continue_stream(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/streams/{id}/continue``: a new answer that goes on where that one was cut off.

    The body is the question as it was; the partial answer is added here. The new stream does not repeat its text.
    """
    tape = await find(services, scope["path_params"]["id"], scope["owner"])
    partial = Answer(tape)
    if partial.end is None or not partial.text:
        raise BadRequest(
            f"Stream {tape.header.id!r} is {'still running' if partial.end is None else 'empty'}; "
            "only an answer that has ended, with some text, can be gone on from.",
            status=409,
            code="cannot_continue",
        )
    ask = await services.ask(scope, receive)
    messages = [*ask.messages, {"role": "assistant", "content": partial.text}]
    ask = msgspec.structs.replace(ask, messages=messages, model=ask.model or tape.header.model)
    await _answer(services, ask, scope, receive, send, continues=tape.header.id)


async def get_models(services: Services, _scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /v1/models``: what can be asked for, the default first."""
    models = [
        {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by, "note": model.note}
        for model in await services.catalog.models()
    ]
    await reply_json(send, {"object": "list", "data": models})


async def get_health(_services: Services, _scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /healthz``: the process is alive."""
    await reply_json(send, {"status": "ok"})


async def get_ready(services: Services, _scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /readyz``: the process takes on answers, and what is written is kept; else 503 and the reasons."""
    if services.generations.closed:
        await reply_json(send, {"status": "ending"}, 503)
    elif reasons := await services.readiness.reasons():
        await reply_json(send, {"status": "not ready", "reasons": reasons}, 503)
    else:
        await reply_json(send, {"status": "ready"})


async def get_metrics(services: Services, _scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /metrics``: figures for Prometheus, of all workers."""
    headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]
    await reply(send, 200, exposition(services.figures()), headers)


async def get_page(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /``: the page."""
    await services.assets.serve_page(scope, send)


async def get_asset(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /assets/<hash>/…``: the page's files."""
    path = scope["path_params"]["path"]
    if not await services.assets.serve_file(scope, send, path):
        raise BadRequest(f"There is no file {path!r}.", status=404, code="not_found")


async def _answer(
    services: Services, ask: Ask, scope: Message, receive: Receive, send: Send, continues: str | None = None
) -> None:
    """Begin an answer and stream it."""
    tape = await services.begin(ask, scope["owner"], continues)
    await stream_answer(services, tape, 1 if continues is None else 2, scope, receive, send)


async def stream_answer(
    services: Services,
    tape: Stream,
    opening: int,
    scope: Message,
    receive: Receive,
    send: Send,
    place: dict[str, str] | None = None,
) -> None:
    """Stream an answer from its start; an error that the upstream reports at once becomes the status.

    ``opening`` is the number of entries before the first token; ``place`` is shown in such an error.
    """
    with reading(tape):
        # Slow is not failed: then the stream begins, and the first event goes out before the first token.
        if not await opened(tape, opening, services.settings.patience, receive):
            return
        if tape.ended and len(tape.entries) == opening + 1:  # the opening and the end, no token between
            end = decode_delta(tape.entries[-1])
            if isinstance(end, End) and end.error is not None:
                error = end.error if place is None else end.error | {"tickertape": place}
                await reply_failure(send, error, end.status, end.retry_after)
                return
        await start(send, 200, [*STREAM_HEADERS, location(scope, tape.header.id)])
        streaming = deliver(services.fanout, tape, 0, ChunkView, send, receive)
    await streaming


class Endpoint:
    """A path's ASGI app: finds the method's handler, runs it with the services, answers its errors."""

    def __init__(self, methods: dict[str, Method]) -> None:
        self._methods = methods

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the handler. Its errors come before the first byte; after it a stream carries its own, or is cut."""
        method = self._methods.get(scope["method"])
        if method is None:
            allowed = ", ".join(self._methods)
            error = BadRequest(
                f"{scope['path']} answers {allowed}, not {scope['method']}.", status=405, code="method_not_allowed"
            )
            await reply_error(send, error, [(b"allow", allowed.encode())])
            return
        try:
            await method(scope["state"]["services"], scope, receive, send)
        except Cut:
            raise
        except TickertapeError as error:
            await reply_error(send, error)
        except Exception:
            logger.exception("A request failed")
            await reply_error(send, TickertapeError("The server failed to answer this; its own log says why."))


async def not_found(scope: Message, _receive: Receive, send: Send) -> None:
    """Answer a path that nothing lives at."""
    await reply_error(send, BadRequest(f"There is nothing at {scope['path']!r}.", status=404, code="not_found"))


PATHS: dict[str, dict[str, Method]] = {
    "/": {"GET": get_page, "HEAD": get_page},
    "/assets/{path:path}": {"GET": get_asset, "HEAD": get_asset},
    "/healthz": {"GET": get_health, "HEAD": get_health},
    "/readyz": {"GET": get_ready, "HEAD": get_ready},
    "/metrics": {"GET": get_metrics},
    "/api/openai/stream": {"POST": post_stream},
    "/v1/chat/completions": {"POST": post_completions},
    "/v1/models": {"GET": get_models},
    "/v1/streams": {"POST": post_streams},
    "/v1/streams/{id}": {"GET": get_stream, "DELETE": cancel_stream},
    "/v1/streams/{id}/cancel": {"POST": cancel_stream},
    "/v1/streams/{id}/continue": {"POST": continue_stream},
}
