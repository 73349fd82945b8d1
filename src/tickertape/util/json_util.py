"""JSON that somebody else wrote: whatever it is, it becomes a value or an error that is foreseen."""

from __future__ import annotations

import json
from typing import Any

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `msgspec` raises for what it cannot read. Bytes that are no UTF-8, and JSON that is nested deeper than anybody
means it, have errors of their own; its ValidationError is a DecodeError."""


def loads(text: str | bytes) -> Any:
    """Decode with Python's parser, which takes half surrogate pairs and NaN; what is no JSON stays as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
