"""The routes of conversations: `/backend-api/…`, ChatGPT's way."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import msgspec

from tickertape.asgi.answers import stream_answer
from tickertape.asgi.changes import serve_changes
from tickertape.asgi.conversation_requests import parse_new, parse_page, parse_request, parse_update
from tickertape.asgi.endpoint import OWNER
from tickertape.asgi.replay import cursor_of, resumed
from tickertape.asgi.requests import dialect_of, read_body, url_of
from tickertape.asgi.responses import reply, reply_failure, reply_json
from tickertape.conversations.export import as_json, as_markdown, conversation_object, summary_object
from tickertape.conversations.service import AnswerNotStarted
from tickertape.errors import InvalidRequest, error_object, to_api_error

if TYPE_CHECKING:
    from tickertape.asgi.host import ApiHost
    from tickertape.asgi.routes import Handler
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.conversations.models import Conversation


async def post_message(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversation``: messages to a conversation, and the answer as a stream."""
    dialect = dialect_of(scope)
    if await resumed(app, scope, receive, send, dialect):
        return
    defaults = app.options
    body = await read_body(scope, receive, defaults.max_body)
    policy = defaults.conversation_disconnect
    request, options = parse_request(scope, body, max_messages=defaults.max_messages, disconnect=policy)
    try:
        prepared, stream = await app.core.conversations.ask(scope[OWNER], request, options)
    except AnswerNotStarted as failure:
        error = to_api_error(failure.error)
        ids = {"tickertape": failure.prepared.ids}
        await reply_failure(send, error_object(error) | ids, error.status, error.retry_after, dialect=dialect)
        return
    opening = 1 if prepared.continues is None else 2
    await stream_answer(app, stream, opening, scope, receive, send, dialect, prepared.ids)


async def get_conversations(app: ApiHost, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversations``: the list, the last changed first; ``q`` searches."""
    query, offset, limit = parse_page(scope)
    page = await app.core.conversations.list_page(scope[OWNER], query, offset, limit)
    items = [summary_object(summary) for summary in page.conversations]
    await reply_json(send, {"items": items, "total": page.total, "offset": offset, "limit": limit})


async def post_conversations(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversations``: an empty conversation, before its first message."""
    conversation_id, fields = parse_new(await read_body(scope, receive, app.options.max_body))
    summary = await app.core.conversations.create(scope[OWNER], conversation_id, **fields)
    where = url_of(scope, f"/backend-api/conversation/{summary.id}").encode()
    await reply_json(send, summary_object(summary), 201, [(b"location", where)])


async def get_conversation(app: ApiHost, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversation/{id}``: the whole tree."""
    await reply_json(send, conversation_object(await _read(app, scope)))


async def patch_conversation(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``PATCH /backend-api/conversation/{id}``: title, model, system prompt, branch; undoes a deletion."""
    wanted = parse_update(await read_body(scope, receive, app.options.max_body))
    summary = await app.core.conversations.update(scope[OWNER], scope["path_params"]["id"], wanted)
    await reply_json(send, summary_object(summary))


async def delete_conversation(app: ApiHost, scope: Message, _receive: Receive, send: Send) -> None:
    """``DELETE /backend-api/conversation/{id}``: hidden at once; for a while that can be undone."""
    until = await app.core.conversations.delete(scope[OWNER], scope["path_params"]["id"])
    await reply_json(send, {"deleted": True, "until": until})


async def export_conversation(app: ApiHost, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversation/{id}/export``: a file, Markdown or JSON."""
    wanted = parse_qs(scope["query_string"].decode("latin-1")).get("format", ["markdown"])[-1]
    if wanted not in ("markdown", "json"):
        raise InvalidRequest(f"format must be markdown or json; it was {wanted!r}.", param="format")
    conversation = await _read(app, scope)
    if wanted == "json":
        body, kind, end = msgspec.json.format(msgspec.json.encode(as_json(conversation))), "application/json", "json"
    else:
        body, kind, end = as_markdown(conversation).encode(), "text/markdown; charset=utf-8", "md"
    headers = [
        (b"content-type", kind.encode()),
        (b"content-disposition", _disposition(conversation.summary.title, end)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await reply(send, 200, body, headers)


async def get_changes(app: ApiHost, scope: Message, receive: Receive, send: Send) -> None:
    """``GET /backend-api/changes``: what changes in the caller's conversations, as it happens."""
    await serve_changes(app.core.change_feed, app.core.fanout, scope[OWNER], cursor_of(scope), send, receive)


async def _read(app: ApiHost, scope: Message) -> Conversation:
    """Return the conversation that the path names."""
    return await app.core.conversations.get(scope[OWNER], scope["path_params"]["id"])


def _disposition(title: str, end: str) -> bytes:
    """Return a Content-Disposition (RFC 6266) with a name that every file system takes."""
    name = "".join(letter if letter.isalnum() or letter in " -_" else " " for letter in title)
    name = " ".join(name.split())[:80] or "conversation"
    plain = name.encode("ascii", "ignore").decode().strip() or "conversation"
    return f"attachment; filename=\"{plain}.{end}\"; filename*=UTF-8''{quote(name)}.{end}".encode()


PATHS: dict[str, dict[str, Handler]] = {
    "/backend-api/conversation": {"POST": post_message},
    "/backend-api/conversations": {"GET": get_conversations, "POST": post_conversations},
    "/backend-api/conversation/{id}": {
        "GET": get_conversation,
        "PATCH": patch_conversation,
        "DELETE": delete_conversation,
    },
    "/backend-api/conversation/{id}/export": {"GET": export_conversation},
    "/backend-api/changes": {"GET": get_changes},
}
