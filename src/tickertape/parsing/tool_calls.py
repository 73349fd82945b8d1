"""Tool calls arrive in pieces, and each server cuts them in its own way: made OpenAI's, and merged to whole calls."""

from __future__ import annotations

import json
import secrets
from typing import Any

import msgspec

_INPUT = {"function": "arguments", "custom": "input"}
"""Where each type of call keeps what is written piece by piece."""


class _Call(msgspec.Struct):
    index: int
    id: str | None
    type: str
    identified: bool
    """Whether the id is the upstream's."""
    name: str = ""
    written: str = ""  # the arguments so far


class ToolCallPieces:
    """Makes the pieces of an answer's tool calls OpenAI's, in order.

    OpenAI's pieces belong together by their ``index``; id, type and name come once, the arguments as text in pieces.
    What servers make of it: no index, or the same for all calls; ids and names that are null or said again with each
    piece; arguments as an object. So: another id under a taken index is another call; a piece without an index goes on
    with the last call, unless it brings a new id, or a name after that call's arguments were whole. What leaves here
    always has an index; the first piece of a call has an id, a type, a name and a text for its arguments.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def piece(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a piece as OpenAI would have sent it; fields of the provider's own are kept."""
        type_ = "custom" if given.get("type") == "custom" or isinstance(given.get("custom"), dict) else "function"
        inner = given.get(type_)
        inner = inner if isinstance(inner, dict) else {"name": given.get("name"), "arguments": given.get("arguments")}
        name, text = _words(inner.get("name")), _arguments(inner.get(_INPUT[type_]))
        call = self._find(_number(given.get("index")), _words(given.get("id")), name)
        fresh = call is None
        if call is None:
            call = self._begin(given, type_)
        said: dict[str, Any] = {}
        if name and name != call.name:  # a name said again is no more of it
            said["name"] = name.removeprefix(call.name)
            call.name = name if name.startswith(call.name) else call.name + name
        elif fresh:
            said["name"] = name
        if text or fresh:
            said[_INPUT[call.type]] = text
            call.written += text
        known = ("name", "arguments", "input")
        said |= {key: value for key, value in inner.items() if key not in known and value is not None}
        made: dict[str, Any] = {"index": call.index}
        if fresh:
            made |= {"id": call.id, "type": call.type}
        if said:
            made[call.type] = said
        own = ("index", "id", "type", "function", "custom", "name", "arguments")
        return made | {key: value for key, value in given.items() if key not in own and value is not None}

    def _begin(self, given: dict[str, Any], type_: str) -> _Call:
        id_ = _words(given.get("id"))
        call = _Call(len(self._calls), id_ or f"call_{secrets.token_hex(12)}", type_, bool(id_))
        self._calls.append(call)
        index = _number(given.get("index"))
        if index is not None:
            self._by_index[index] = call
        return call

    def _find(self, index: int | None, id_: str, name: str) -> _Call | None:
        """Return the call that a piece belongs to; None if it begins another one."""
        if id_ and (known := next((call for call in self._calls if call.id == id_), None)):
            return known
        if index is not None:
            call = self._by_index.get(index)
            return None if call is None or (id_ and call.identified) else call
        last = self._calls[-1] if self._calls else None
        if last is None or id_ or (name and last.name and (name != last.name or _is_json(last.written))):
            return None
        return last


def merge_tool_call(calls: list[dict[str, Any]], piece: Any) -> None:
    """Merge a piece, as `ToolCallPieces` makes it, into the whole calls so far, which keep their ``index``."""
    if not isinstance(piece, dict):
        return
    index = piece.get("index")
    call = next((call for call in calls if call["index"] == index), None)
    if call is None:
        type_ = piece.get("type") or "function"
        call = {"index": index, "id": None, "type": type_, type_: {"name": "", _INPUT.get(type_, "arguments"): ""}}
        calls.append(call)
    for key, value in piece.items():
        if key not in _INPUT:
            call[key] = value
        elif isinstance(value, dict):
            inner = call.setdefault(key, {})
            for name, more in value.items():
                joins = name in ("name", "arguments", "input") and isinstance(more, str)
                inner[name] = inner.get(name, "") + more if joins else more


def _arguments(value: Any) -> str:
    """Return the arguments as text: some servers send the object that it stands for."""
    if isinstance(value, str) or value is None:
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None or isinstance(value, bool) else str(value)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
