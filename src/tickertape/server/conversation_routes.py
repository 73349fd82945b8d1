"""The routes of conversations: `/backend-api/…`, ChatGPT's way, and `/c/{id}`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import msgspec

from tickertape.conversations.export import as_json, as_markdown, conversation_object, summary_object
from tickertape.conversations.service import AnswerNotStarted
from tickertape.error_objects import error_object, to_api_error
from tickertape.errors import BadRequest
from tickertape.server.changes import serve_changes
from tickertape.server.conversation_requests import parse_new, parse_page, parse_request, parse_update
from tickertape.server.replay import cursor_of, resumed
from tickertape.server.requests import read_body, url_of
from tickertape.server.responses import reply, reply_failure, reply_json
from tickertape.server.routes import get_page, stream_answer

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.conversations.models import Conversation
    from tickertape.server.routes import Method, Services


async def post_message(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversation``: messages to a conversation, and the answer as a stream."""
    if await resumed(services, scope, receive, send):
        return
    settings = services.settings
    body = await read_body(scope, receive, settings.max_body)
    policy = settings.page_disconnect
    request, options = parse_request(scope, body, max_messages=settings.max_messages, disconnect=policy)
    try:
        prepared, tape = await services.conversations.ask(scope["owner"], request, options)
    except AnswerNotStarted as failure:
        error = to_api_error(failure.error)
        ids = {"tickertape": failure.prepared.ids}
        await reply_failure(send, error_object(error) | ids, error.status, error.retry_after)
        return
    await stream_answer(services, tape, 1 if prepared.continues is None else 2, scope, receive, send, prepared.ids)


async def get_conversations(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversations``: the list, the last changed first; ``q`` searches."""
    query, offset, limit = parse_page(scope)
    page = await services.conversations.list_page(scope["owner"], query, offset, limit)
    items = [summary_object(summary) for summary in page.conversations]
    await reply_json(send, {"items": items, "total": page.total, "offset": offset, "limit": limit})


async def post_conversations(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversations``: an empty conversation, before its first message."""
    conversation_id, fields = parse_new(await read_body(scope, receive, services.settings.max_body))
    summary = await services.conversations.create(scope["owner"], conversation_id, **fields)
    where = url_of(scope, f"/backend-api/conversation/{summary.id}").encode()
    await reply_json(send, summary_object(summary), 201, [(b"location", where)])


async def get_conversation(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversation/{id}``: the whole tree."""
    await reply_json(send, conversation_object(await _read(services, scope)))


async def patch_conversation(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``PATCH /backend-api/conversation/{id}``: title, model, system prompt, branch; undoes a deletion."""
    wanted = parse_update(await read_body(scope, receive, services.settings.max_body))
    summary = await services.conversations.update(scope["owner"], scope["path_params"]["id"], wanted)
    await reply_json(send, summary_object(summary))


async def delete_conversation(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``DELETE /backend-api/conversation/{id}``: hidden at once; for a while that can be undone."""
    until = await services.conversations.delete(scope["owner"], scope["path_params"]["id"])
    await reply_json(send, {"deleted": True, "until": until})


async def export_conversation(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversation/{id}/export``: a file, Markdown or JSON."""
    wanted = parse_qs(scope["query_string"].decode("latin-1")).get("format", ["markdown"])[-1]
    if wanted not in ("markdown", "json"):
        raise BadRequest(f"format must be markdown or json; it was {wanted!r}.", param="format")
    conversation = await _read(services, scope)
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


async def get_changes(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``GET /backend-api/changes``: what changes in the caller's conversations, as it happens."""
    await serve_changes(services.change_feed, services.fanout, scope["owner"], cursor_of(scope), send, receive)


async def _read(services: Services, scope: Message) -> Conversation:
    """Return the conversation that the path names."""
    return await services.conversations.get(scope["owner"], scope["path_params"]["id"])


def _disposition(title: str, end: str) -> bytes:
    """Return a Content-Disposition (RFC 6266) with a name that every file system takes."""
    name = "".join(letter if letter.isalnum() or letter in " -_" else " " for letter in title)
    name = " ".join(name.split())[:80] or "conversation"
    plain = name.encode("ascii", "ignore").decode().strip() or "conversation"
    return f"attachment; filename=\"{plain}.{end}\"; filename*=UTF-8''{quote(name)}.{end}".encode()


PATHS: dict[str, dict[str, Method]] = {
    "/c/{id}": {"GET": get_page, "HEAD": get_page},
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
