"""A conversation in other forms: JSON in the shape of ChatGPT's page, and Markdown to be read by people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tickertape.conversations.models import RUNNING

if TYPE_CHECKING:
    from tickertape.conversations.models import Conversation, ConversationSummary, Message

_STATES = {
    RUNNING: "Still being written.",
    "cancelled": "Stopped.",
    "failed": "Failed.",
    "incomplete": "Cut off: the model stopped before it was done.",
    "lost": "Cut off: the server stopped while it was written.",
}
_REASONS = {"length": "Cut off at the length limit.", "content_filter": "Cut off by the provider's filter."}


def summary_object(summary: ConversationSummary) -> dict[str, Any]:
    """Return a conversation as the list shows it."""
    return _head(summary) | {"running": summary.running, "message_id": summary.match, "snippet": summary.snippet}


def _head(summary: ConversationSummary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "title": summary.title,
        "create_time": summary.created,
        "update_time": summary.updated,
        "model": summary.model,
    }


def conversation_object(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation with its tree."""
    summary = conversation.summary
    nodes: dict[str, dict[str, Any]] = {
        message.id: {"id": message.id, "parent": message.parent, "children": [], "message": _message(message)}
        for message in conversation.messages
    }
    for message in conversation.messages:
        if message.parent is not None:
            nodes[message.parent]["children"].append(message.id)
    return _head(summary) | {"system": summary.system, "current_node": summary.current, "mapping": nodes}


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "author": {"role": message.role},
        "content": {"content_type": "text", "parts": [message.content]},
        "create_time": message.created,
        "model": message.model,
        "state": message.state,
        "finish_reason": message.finish_reason,
        "error": message.error,
        "reasoning": message.reasoning,
        "tool_calls": message.tool_calls,
        "details": message.details,
        "usage": message.usage,
        "streams": message.streams,
        "seconds": message.seconds,
    }


def as_json(conversation: Conversation) -> dict[str, Any]:
    """Return the export as JSON: everything."""
    return {"format": "tickertape conversation", "version": 1, **conversation_object(conversation)}


def as_markdown(conversation: Conversation) -> str:
    """Return the branch that is shown, as a document."""
    summary = conversation.summary
    day = datetime.fromtimestamp(summary.created, UTC).strftime("%Y-%m-%d")
    parts = [f"# {summary.title or 'Untitled'}", f"*{day}{', ' + summary.model if summary.model else ''}*"]
    if summary.system:
        parts += ["## System prompt", summary.system]
    for message in branch(conversation):
        parts.append("## You" if message.role == "user" else f"## {message.model or 'Assistant'}")
        parts += [message.content] if message.content else []
        note = _STATES.get(message.state) or _REASONS.get(message.finish_reason or "")
        parts += [f"*{note}*"] if note else []
    return "\n\n".join(parts) + "\n"


def branch(conversation: Conversation) -> list[Message]:
    """Return the messages from the root down to the current one."""
    messages = {message.id: message for message in conversation.messages}
    found: list[Message] = []
    at = conversation.summary.current
    while at is not None:
        found.append(messages[at])
        at = messages[at].parent
    return found[::-1]
