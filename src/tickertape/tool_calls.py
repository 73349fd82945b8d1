"""Tool calls arrive in pieces: merged here, for answers that are shown whole and for clients."""

from __future__ import annotations

from typing import Any


def merge_tool_call(calls: list[dict[str, Any]], piece: Any) -> None:
    """Merge one element of a delta's ``tool_calls`` into the calls so far.

    OpenAI: pieces belong together by their ``index``; id, type and name come once, the arguments in pieces. A piece
    without an index goes on with the last call, unless it brings an id. What is not of its type counts as absent.
    """
    if not isinstance(piece, dict):
        return
    index = piece.get("index")
    if not isinstance(index, int):  # Gemini's OpenAI route leaves it out and sends calls whole
        index = len(calls) if piece.get("id") or not calls else calls[-1]["index"]
    call = next((call for call in calls if call["index"] == index), None)
    if call is None:
        call = {"index": index, "id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        calls.append(call)
    function = piece.get("function")
    function = function if isinstance(function, dict) else {}
    call["id"] = _text(piece.get("id")) or call["id"]
    call["type"] = _text(piece.get("type")) or call["type"]
    call["function"]["name"] = _text(function.get("name")) or call["function"]["name"]
    call["function"]["arguments"] += _text(function.get("arguments"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
