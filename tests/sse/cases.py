"""The cases of reading an event stream that lie in files, in one shape. See conformance/README.md."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickertape.sse import Event

ROOT = Path(__file__).parents[2]
OURS = ROOT / "conformance" / "format.json"
SHARED = ROOT.parent / "shared" / "conformance"
"""Other projects' cases; they lie beside the checkout or not at all."""


@dataclass(frozen=True)
class Case:
    """The reads and what must come of them. ``comments`` is None where the file does not say."""

    name: str
    chunks: list[bytes]
    expected: list[Event]
    retry: int | None
    last_event_id: str
    comments: list[str] | None

    def ways(self) -> list[list[bytes]]:
        """Return the reads as given, as one, and in pieces of 1, 2, 3 and 7 bytes."""
        whole = b"".join(self.chunks)
        return [self.chunks, [whole], *(pieces(whole, size) for size in (1, 2, 3, 7))]


def pieces(whole: bytes, size: int) -> list[bytes]:
    """Return the bytes cut into reads of this size."""
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def load(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file, none if it is not there."""
    cases: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return cases


def cases(path: Path) -> list[Case]:
    """Return the file's cases, without those that end at the HTTP response's head: the clients' tests have them."""
    return [_case(it) for it in load(path) if it.get("http_expect") != "fail"]


def _case(it: dict[str, Any]) -> Case:
    return Case(
        it["name"],
        [base64.b64decode(chunk) for chunk in (it["chunks_b64"] if "chunks_b64" in it else [it["input_b64"]])],
        [Event(event["data"], event["event"], event["id"]) for event in it["expected"]],
        it["retry"],
        it["last_event_id"] if "last_event_id" in it else it["last_event_id_after"],
        it.get("comments"),
    )
