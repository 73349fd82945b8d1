"""OpenAI's messages in Anthropic's words: system apart, pictures and tool results as content blocks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tickertape.providers.messages import Image, calls_of, parts_of, refuse_function_role, result_id, text_of

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest

Block = dict[str, Any]

_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def conversation(request: ChatRequest) -> tuple[str, list[dict[str, Any]]]:
    """Return the system prompt and the messages. Raises InvalidRequest for what Anthropic has no words for.

    System messages are joined in front, wherever they stood, as Anthropic's own OpenAI route does. Neighbours of one
    role become one message: the results of parallel calls must come together.
    """
    systems: list[str] = []
    turns: list[dict[str, Any]] = []
    ids = CallIds()
    for number, message in enumerate(request.messages):
        where = f"messages[{number}]"
        refuse_function_role(message, where)
        role = message["role"]
        if role in ("system", "developer"):
            systems.append(text_of(message, where))
            continue
        blocks = {"user": _user, "assistant": _assistant, "tool": _result}[role](message, where, ids)
        role = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    _trim(turns)
    return "\n\n".join(filter(None, systems)), turns


class CallIds:
    """Ids of tool calls as Anthropic takes them: ``^[a-zA-Z0-9_-]+$``, where other services write ``functions.f:0``.

    A call and its result get the same one, and no two calls share one.
    """

    def __init__(self) -> None:
        self._made: dict[str, str] = {}

    def __getitem__(self, id_: str) -> str:
        if id_ not in self._made:
            made = _FOREIGN.sub("_", id_) or "call"
            taken, number = set(self._made.values()), 2
            fresh = made
            while fresh in taken:
                fresh, number = f"{made}_{number}", number + 1
            self._made[id_] = fresh
        return self._made[id_]


def _user(message: dict[str, Any], where: str, _ids: CallIds) -> list[Block]:
    return [_block(part) for part in parts_of(message, where)]


def _assistant(message: dict[str, Any], where: str, ids: CallIds) -> list[Block]:
    text = text_of(message, where)
    blocks = _thinking(message.get("reasoning_details"))
    if text:
        blocks.append({"type": "text", "text": text})
    calls = calls_of(message, where)
    return blocks + [{"type": "tool_use", "id": ids[c.id], "name": c.name, "input": c.arguments} for c in calls]


def _thinking(details: Any) -> list[Block]:
    """Return the thinking that the reader gave as ``reasoning_details``: with tools, Anthropic wants it back."""
    blocks: list[Block] = []
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"type": "reasoning.text", "text": str(text), "signature": str(signature)}:
                blocks.append({"type": "thinking", "thinking": text, "signature": signature})
            case {"type": "reasoning.encrypted", "data": str(data)}:
                blocks.append({"type": "redacted_thinking", "data": data})
    return blocks


def _result(message: dict[str, Any], where: str, ids: CallIds) -> list[Block]:
    content = [_block(part) for part in parts_of(message, where)]
    return [{"type": "tool_result", "tool_use_id": ids[result_id(message, where)], "content": content}]


def _block(part: str | Image) -> Block:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": part.kind, "data": part.data}}


def _trim(turns: list[dict[str, Any]]) -> None:
    """Take the white space from the end of an answer that is to be gone on from: Anthropic refuses it."""
    if not turns or turns[-1]["role"] != "assistant":
        return
    blocks = turns[-1]["content"]
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
        if not blocks[-1]["text"]:
            del blocks[-1]
    if not blocks:
        del turns[-1]
