"""Conversations over HTTP, as the page has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.http import open_stream, request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.http import Stream

CONVERSATION = "/backend-api/conversation"
CONVERSATIONS = "/backend-api/conversations"
CHANGES = "/backend-api/changes"


def question(text: str, **fields: Any) -> dict[str, Any]:
    """Return the body that asks this."""
    return {"action": "next", "messages": [{"role": "user", "content": text}], **fields}


def post_message(url: str, body: Any, headers: Mapping[str, str] | None = None) -> Stream:
    """Ask within a conversation and return the answer's stream, its first event read."""
    return open_stream(url, "POST", CONVERSATION, body, headers).until(lambda stream: len(stream.events) > 0)


def place(stream: Stream) -> dict[str, str]:
    """Return where the answer belongs, as its first event says."""
    return json.loads(stream.events[0].data)["tickertape"]


def tell(url: str, text: str, **fields: Any) -> dict[str, str]:
    """Ask, read the whole answer, and return where it belongs."""
    with post_message(url, question(text, **fields)) as stream:
        assert stream.read().events[-1].data == "[DONE]"
        return place(stream)


def tree(url: str, chat: str) -> dict[str, Any]:
    """Return a conversation."""
    reply = request(url, "GET", f"{CONVERSATION}/{chat}")
    assert reply.status == 200, reply.body
    return reply.json()


def message(url: str, where: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer that is there, with its text as ``text``."""
    found = tree(url, where["conversation_id"])["mapping"][where["message_id"]]["message"]
    return found | {"text": "".join(found["content"]["parts"])}


def finished(url: str, where: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer that is there once it is written no more; its end is announced on the feed of changes."""
    with open_stream(url, "GET", CHANGES) as feed:
        feed.until(lambda feed: len(feed.events) > 0)
        while (found := message(url, where))["state"] == "running":
            seen = len(feed.events)
            feed.until(lambda feed, seen=seen: len(feed.events) > seen)
        return found


def listed(url: str, query: str = "") -> list[dict[str, Any]]:
    """Return the list of conversations."""
    reply = request(url, "GET", f"{CONVERSATIONS}{query}")
    assert reply.status == 200, reply.body
    return reply.json()["items"]
