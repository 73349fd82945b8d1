"""Requests to the routes of conversations: bodies and queries, checked, with a sentence for what is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from tickertape.asgi.requests import parse_key, parse_messages, parse_object, parse_policy
from tickertape.conversations.models import AnswerOptions, ConversationUpdate, MessageRequest, NewMessage, new_id
from tickertape.errors import InvalidRequest

if TYPE_CHECKING:
    from tickertape.asgi.types import Message

ACTIONS = ("next", "variant", "continue")
MOST = 100
"""Conversations that one request lists at most."""

_SETTABLE = ("title", "model", "system")

_ID = re.compile(r"[0-9a-f-]{24,36}")
_OURS = frozenset(
    {
        "action",
        "conversation_id",
        "message_id",
        "messages",
        "model",
        "parent_message_id",
        "stream",
        "stream_options",
    }
)


def parse_request(
    scope: Message, body: bytes, *, max_messages: int, disconnect: str
) -> tuple[MessageRequest, AnswerOptions]:
    """Return the checked request. Raises InvalidRequest that names the field, what was read and what is allowed."""
    fields = parse_object(body)
    action = fields.get("action", "next")
    if action not in ACTIONS:
        raise InvalidRequest(f"action must be one of {', '.join(ACTIONS)}; it was {action!r}.", param="action")
    parent = id_of(fields, "parent_message_id") if "parent_message_id" in fields else msgspec.UNSET
    conversation = id_of(fields, "conversation_id")
    if action != "next":
        if conversation is None or not isinstance(parent, str):
            raise InvalidRequest(
                f"action {action} needs conversation_id and parent_message_id.", param="parent_message_id"
            )
        if fields.get("messages"):
            raise InvalidRequest(f"action {action} takes no messages.", param="messages")
    options = fields.get("stream_options") or {}
    if not isinstance(options, dict):
        raise InvalidRequest(f"stream_options must be an object; it was {options!r}.", param="stream_options")
    key = parse_key(scope, body)
    request = MessageRequest(
        action=action,
        conversation=conversation or new_id(),
        parent=parent,
        messages=_messages(fields, max_messages) if action == "next" else [],
        message=id_of(fields, "message_id") or new_id(),
        model=text_of(fields, "model"),
        key=key.value if key else None,
        digest=key.digest if key else b"",
    )
    return request, AnswerOptions(
        parameters={name: value for name, value in fields.items() if name not in _OURS},
        show_usage=bool(options.get("include_usage")),
        abandon_after=parse_policy(scope, disconnect),
    )


def id_of(fields: dict[str, Any], name: str) -> str | None:
    """Return an id of the caller's, None if there is none."""
    value = fields.get(name)
    if value is not None and not (isinstance(value, str) and _ID.fullmatch(value)):
        raise InvalidRequest(f"{name} must be 24 to 36 characters of 0-9, a-f and -; it was {value!r}.", param=name)
    return value


def text_of(fields: dict[str, Any], name: str) -> str | None:
    """Return a string, None if there is none."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string; it was {value!r}.", param=name)
    return value


def _messages(fields: dict[str, Any], most: int) -> list[NewMessage]:
    messages = parse_messages(fields.get("messages"), most)
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, where: str) -> NewMessage:
    """Return a message in OpenAI's shape, or in that of ChatGPT's own page."""
    if not isinstance(message, dict):
        raise InvalidRequest(f"{where} must be an object with role and content.", param=where)
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else message.get("role")
    if role != "user":
        raise InvalidRequest(
            f"{where}.role must be user; it was {role!r}. The server knows what was said before, and the "
            "conversation has its system prompt.",
            param=f"{where}.role",
        )
    text = _text(message.get("content"))
    if text is None or not text.strip():
        raise InvalidRequest(f"{where}.content must be text, and not empty.", param=f"{where}.content")
    return NewMessage(text, id_of(message, "id") or new_id())


def _text(content: Any) -> str | None:
    """Return the text of a string, of OpenAI's text parts, or of ``{"content_type": "text", "parts": […]}``."""
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, dict) else content
    if not isinstance(parts, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    strings = [text for text in texts if isinstance(text, str)]
    return "\n".join(strings) if len(strings) == len(texts) else None


def parse_new(body: bytes) -> tuple[str | None, dict[str, str | None]]:
    """Return the id of a new conversation, and its title, model and system prompt, None where there is none."""
    fields = {name: value for name, value in parse_object(body).items() if value is not None}
    conversation_id = id_of(fields, "id")
    fields.pop("id", None)
    _check_names(fields, _SETTABLE)
    return conversation_id, {name: text_of(fields, name) for name in _SETTABLE}


def parse_update(body: bytes) -> ConversationUpdate:
    """Return the changes that a body asks for: of title, model, system, current_node, deleted."""
    fields = parse_object(body)
    _check_names(fields, (*_SETTABLE, "current_node", "deleted"))
    values: dict[str, Any] = {name: text_of(fields, name) for name in _SETTABLE if name in fields}
    if "title" in values:
        values["title"] = values["title"] or ""
    if "current_node" in fields:
        values["current"] = id_of(fields, "current_node")
    if fields.get("deleted", False) is not False:
        raise InvalidRequest("deleted can be set to false, which undoes a deletion; DELETE deletes.", param="deleted")
    return ConversationUpdate(**values, restore="deleted" in fields)


def _check_names(fields: dict[str, Any], allowed: tuple[str, ...]) -> None:
    unknown = fields.keys() - set(allowed)
    if unknown:
        raise InvalidRequest(f"{min(unknown)[:80]!r} cannot be set; {', '.join(allowed)} can.", param=min(unknown)[:80])


def parse_page(scope: Message) -> tuple[str, int, int]:
    """Return the search, offset and limit of a query for the list."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    return query.get("q", [""])[-1][:500], _number(query, "offset", 0, 10**9), _number(query, "limit", 50, MOST)


def _number(query: dict[str, list[str]], name: str, default: int, most: int) -> int:
    value = query.get(name, [str(default)])[-1]
    if not (value.isascii() and value.isdigit() and len(value) < 12 and int(value) <= most):
        raise InvalidRequest(f"{name} must be a whole number from 0 to {most:,}; it was {value!r}.", param=name)
    return int(value)
