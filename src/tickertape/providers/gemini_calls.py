"""A function call whose arguments Gemini streams one by one: ``partialArgs`` with a JSON path each."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['([^']*)'\]|\["([^"]*)"\]""")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue", "string_value", "number_value", "bool_value")
_LONGEST = 10_000
"""Elements of a list of arguments: a path may name any."""


class PartialCall:
    """The arguments so far of the call with this ``id``."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.arguments: dict[str, Any] = {}

    def take(self, call: dict[str, Any]) -> None:
        """Take what a piece of the call adds: pieces of arguments, or all of them. Texts of one path are joined."""
        if isinstance(args := call.get("args"), dict):
            self.arguments |= args
        partial = call.get("partialArgs")
        for part in partial if isinstance(partial, list) else ():
            if isinstance(part, dict) and isinstance(part.get("jsonPath"), str):
                self._put(part["jsonPath"], next((part[name] for name in _VALUES if name in part), None))

    def _put(self, path: str, value: Any) -> None:
        steps: list[str | int] = [
            int(found[2]) if found[2] else found[1] or found[3] or found[4] or "" for found in _STEP.finditer(path)
        ]
        if value == "NULL_VALUE":
            value = None
        at: Any = self.arguments
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if following is None:
                old = _get(at, step)
                _set(at, step, old + value if isinstance(old, str) and isinstance(value, str) else value)
            else:
                inner = _get(at, step)
                if not isinstance(inner, dict | list):
                    inner = [] if isinstance(following, int) else {}
                    _set(at, step, inner)
                at = inner


def _get(at: Any, step: str | int) -> Any:
    if isinstance(at, list):
        return at[step] if isinstance(step, int) and step < len(at) else None
    return at.get(str(step))


def _set(at: Any, step: str | int, value: Any) -> None:
    if isinstance(at, dict):
        at[str(step)] = value
    elif isinstance(step, int) and step < _LONGEST:
        at += [None] * (step + 1 - len(at))
        at[step] = value
