"""What every route of streams and answers does, on top of the core.

Handlers are plain ASGI: Starlette finds the route, nothing of it stands between a stream and its reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tickertape.asgi.answers import stop, stream_answer
from tickertape.asgi.endpoint import OWNER
from tickertape.asgi.replay import cursor_of, replay, resumed
from tickertape.asgi.requests import Ask, dialect_of, header, parse_ask, query, read_body
from tickertape.asgi.responses import reply_failure, reply_json
from tickertape.asgi.waiting import ended, reading
from tickertape.deltas import End, decode_delta
from tickertape.dialects import DIALECTS
from tickertape.dialects.openai_chat import StreamTranscript
from tickertape.errors import InvalidRequest
from tickertape.generation import GenerationSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tickertape.asgi.host import ApiHost
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.dialects import Dialect
    from tickertape.streams.contract import Stream

    Handler = Callable[[ApiHost, Message, Receive, Send], Awaitable[None]]


OPENAI_CHAT = DIALECTS["openai"]


async def begin(app: ApiHost, ask: Ask, owner: str, continues: str | None = None) -> Stream:
    """Begin an answer, or find the one that the Idempotency-Key began.

    With ``continues`` it goes on from that stream's partial answer, which is the last of the messages. Raises
    InvalidRequest if the provider cannot.
    """
    provider, model = await app.core.catalog.find(ask.model)
    if continues is not None and not provider.prefills:
        raise InvalidRequest(
            f"The model {model!r} cannot go on from a partial answer; ask again instead.",
            code="cannot_continue",
            param="model",
        )
    spec = GenerationSpec(provider, ask.request(model), ask.show_usage, ask.abandon_after, continues)
    return await app.core.generations.begin(spec, owner=owner, key=ask.key)


async def read_ask(app: ApiHost, scope: Message, receive: Receive, disconnect: str | None = None) -> Ask:
    """Read and check a question; ``disconnect`` is the route's own default policy."""
    options = app.options
    body = await read_body(scope, receive, options.max_body)
    return parse_ask(scope, body, max_messages=options.max_messages, disconnect=disconnect or options.disconnect)


async def post_stream(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /api/openai/stream``: ask, and read the answer as a stream."""
    dialect = dialect_of(scope)
    if not await resumed(app, scope, receive, send, dialect):
        await _answer(app, await read_ask(app, scope, receive), scope, receive, send, dialect)


async def post_completions(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/chat/completions``: the same as OpenAI's, streamed or whole."""
    dialect = OPENAI_CHAT
    if await resumed(app, scope, receive, send, dialect):
        return
    # Only who sends a key can come back for the answer.
    policy = "cancel" if header(scope, b"idempotency-key") is None else None
    ask = await read_ask(app, scope, receive, disconnect=policy)
    if ask.stream:
        await _answer(app, ask, scope, receive, send, dialect)
    else:
        await _whole_answer(app, await begin(app, ask, scope[OWNER]), scope, receive, send, dialect)


async def _whole_answer(
    app: ApiHost, stream: Stream, scope: Message, receive: Receive, send: Send, dialect: Dialect
) -> None:
    """Wait for the end, and send the answer in one piece."""
    with reading(stream):
        if not await ended(stream, receive):
            return
    end = decode_delta(stream.entries[-1])
    if isinstance(end, End) and end.error is not None:
        error = end.error | {"text": StreamTranscript(stream).text}
        await reply_failure(send, error, end.status, end.retry_after, dialect=dialect)
    else:
        await reply_json(send, dialect.answer(stream), headers=app.location(scope, stream.header.id, dialect))


async def post_streams(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/streams``: ask now, read later, by EventSource for example."""
    dialect = dialect_of(scope)
    ask = await read_ask(app, scope, receive, disconnect="continue")  # it is asked now to be read later
    stream = await begin(app, ask, scope[OWNER])
    stream_id = stream.header.id
    url = app.stream_url(scope, stream_id, dialect)
    await reply_json(send, {"id": stream_id, "url": url}, 202, app.location(scope, stream_id, dialect))


async def get_stream(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``GET /v1/streams/{id}``: the stream from a cursor on; or as JSON its snapshot, or the dialect's whole answer."""
    dialect = dialect_of(scope)
    stream_id = scope["path_params"]["id"]
    accept = header(scope, b"accept") or ""
    if "application/json" not in accept or "text/event-stream" in accept:
        await replay(app, stream_id, cursor_of(scope), scope, receive, send, dialect)
        return
    stream = await app.core.find(stream_id, scope[OWNER])
    if "dialect" in query(scope):
        await _whole_answer(app, stream, scope, receive, send, dialect)
    else:
        await reply_json(send, StreamTranscript(stream).snapshot())


async def cancel_stream(app: ApiHost, scope: Message, _receive: Receive, send: Send) -> None:
    """``POST /v1/streams/{id}/cancel``: stop the answer; again and after its end that does nothing."""
    stream = await app.core.find(scope["path_params"]["id"], scope[OWNER])
    await stop(app, stream)
    await reply_json(send, StreamTranscript(stream).snapshot())


async def continue_stream(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /v1/streams/{id}/continue``: a new answer that continues the partial one.

    The body is the question as it was; the partial answer is added here. The new stream does not repeat its text.
    """
    dialect = dialect_of(scope)
    stream = await app.core.find(scope["path_params"]["id"], scope[OWNER])
    partial = StreamTranscript(stream)
    if partial.end is None or not partial.text:
        raise InvalidRequest(
            f"Stream {stream.header.id!r} is {'still running' if partial.end is None else 'empty'}; "
            "only an answer that has ended, with some text, can be continued.",
            status=409,
            code="cannot_continue",
        )
    ask = await read_ask(app, scope, receive)
    messages = [*ask.messages, {"role": "assistant", "content": partial.text}]
    ask = msgspec.structs.replace(ask, messages=messages, model=ask.model or stream.header.model)
    await _answer(app, ask, scope, receive, send, dialect, continues=stream.header.id)


async def get_models(app: ApiHost, _scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /v1/models``: what can be asked for, the default first."""
    models = [
        {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by, "note": model.note}
        for model in await app.core.catalog.models()
    ]
    await reply_json(send, {"object": "list", "data": models})


async def _answer(
    app: ApiHost,
    ask: Ask,
    scope: Message,
    receive: Receive,
    send: Send,
    dialect: Dialect,
    continues: str | None = None,
) -> None:
    """Begin an answer and stream it."""
    stream = await begin(app, ask, scope[OWNER], continues)
    await stream_answer(app, stream, 1 if continues is None else 2, scope, receive, send, dialect)


PATHS: dict[str, dict[str, Handler]] = {
    "/api/openai/stream": {"POST": post_stream},
    "/v1/chat/completions": {"POST": post_completions},
    "/v1/models": {"GET": get_models, "HEAD": get_models},
    "/v1/streams": {"POST": post_streams},
    "/v1/streams/{id}": {"GET": get_stream, "HEAD": get_stream, "DELETE": cancel_stream},
    "/v1/streams/{id}/cancel": {"POST": cancel_stream},
    "/v1/streams/{id}/continue": {"POST": continue_stream},
}
