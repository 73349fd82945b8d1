"""The routes of conversations: `/backend-api/…`, ChatGPT's way, and `/c/{id}`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import msgspec

from tickertape.conversations.export import as_json, as_markdown, item, whole
from tickertape.errors import BadRequest
from tickertape.server.conversation_requests import parse_change, parse_new, parse_page, parse_turn
from tickertape.server.conversations import AnswerNotStarted
from tickertape.server.replay import cursor_of, resumed
from tickertape.server.requests import read_body, url_of
from tickertape.server.responses import as_shown, error_object, reply, reply_failure, reply_json
from tickertape.server.routes import get_page, stream_answer

if TYPE_CHECKING:
    from tickertape.asgi.types import Message, Receive, Send
    from tickertape.conversations import Conversation
    from tickertape.server.routes import Method, Services


async def post_turn(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversation``: one turn of a conversation, and its answer as a stream."""
    if await resumed(services, scope, receive, send):
        return
    settings = services.settings
    body = await read_body(scope, receive, settings.max_body)
    policy = settings.page_disconnect
    question, wishes = parse_turn(scope, body, max_messages=settings.max_messages, disconnect=policy)
    try:
        turn, tape = await services.conversations.ask(scope["owner"], question, wishes)
    except AnswerNotStarted as unanswered:
        error = as_shown(unanswered.error)
        place = {"tickertape": unanswered.turn.place}
        await reply_failure(send, error_object(error) | place, error.status, error.retry_after)
        return
    await stream_answer(services, tape, 1 if turn.continues is None else 2, scope, receive, send, turn.place)


async def get_conversations(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversations``: the list, the last changed first; ``q`` searches."""
    owner, conversations = scope["owner"], services.conversations
    words, offset, limit = parse_page(scope)
    await conversations.catch_up(owner)
    listed = await conversations.chats.read(lambda store: store.list_page(owner, words, offset, limit))
    items = [item(chat) for chat in listed.chats]
    await reply_json(send, {"items": items, "total": listed.total, "offset": offset, "limit": limit})


async def post_conversations(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``POST /backend-api/conversations``: an empty conversation, before its first message."""
    chats, owner = services.conversations.chats, scope["owner"]
    body = await read_body(scope, receive, services.settings.max_body)
    chat_id, fields = parse_new(body, chats.limits)
    chat = await chats.write(lambda store: store.create(owner, chat_id, **fields))
    await reply_json(
        send, item(chat), 201, [(b"location", url_of(scope, f"/backend-api/conversation/{chat.id}").encode())]
    )


async def get_conversation(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``GET /backend-api/conversation/{id}``: the whole tree."""
    await reply_json(send, whole(await _read(services, scope)))


async def patch_conversation(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``PATCH /backend-api/conversation/{id}``: title, model, system prompt, branch; takes a deletion back."""
    chats, owner, chat_id = services.conversations.chats, scope["owner"], scope["path_params"]["id"]
    changes = parse_change(await read_body(scope, receive, services.settings.max_body), chats.limits)
    restore = changes.pop("deleted", None) is False
    chat = await chats.write(lambda store: store.update(owner, chat_id, changes, restore=restore))
    await reply_json(send, item(chat))


async def delete_conversation(services: Services, scope: Message, _receive: Receive, send: Send) -> None:
    """``DELETE /backend-api/conversation/{id}``: gone at once; for a while it can be taken back."""
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
        (b"content-disposition", _disposition(conversation.chat.title, end)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await reply(send, 200, body, headers)


async def get_changes(services: Services, scope: Message, receive: Receive, send: Send) -> None:
    """``GET /backend-api/changes``: what changes in the caller's conversations, as it happens."""
    await services.changes.serve(scope["owner"], cursor_of(scope), send, receive)


async def _read(services: Services, scope: Message) -> Conversation:
    """Return the conversation that the path names, with what was answered taken over."""
    conversations, owner, chat_id = services.conversations, scope["owner"], scope["path_params"]["id"]
    await conversations.catch_up(owner)
    return await conversations.chats.read(lambda store: store.get(owner, chat_id))


def _disposition(title: str, end: str) -> bytes:
    """Return a Content-Disposition (RFC 6266) with a name that no system takes amiss."""
    name = "".join(letter if letter.isalnum() or letter in " -_" else " " for letter in title)
    name = " ".join(name.split())[:80] or "conversation"
    plain = name.encode("ascii", "ignore").decode().strip() or "conversation"
    return f"attachment; filename=\"{plain}.{end}\"; filename*=UTF-8''{quote(name)}.{end}".encode()


PATHS: dict[str, dict[str, Method]] = {
    "/c/{id}": {"GET": get_page, "HEAD": get_page},
    "/backend-api/conversation": {"POST": post_turn},
    "/backend-api/conversations": {"GET": get_conversations, "POST": post_conversations},
    "/backend-api/conversation/{id}": {
        "GET": get_conversation,
        "PATCH": patch_conversation,
        "DELETE": delete_conversation,
    },
    "/backend-api/conversation/{id}/export": {"GET": export_conversation},
    "/backend-api/changes": {"GET": get_changes},
}
