"""Where Gemini found what it says: grounding and citations, in OpenAI's words.

Gemini counts in bytes of UTF-8 ("Segment: startIndex, in bytes from the start of the Part"), OpenAI in characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.parsing.citations import Citations

if TYPE_CHECKING:
    from tickertape.deltas import Delta


class Sources:
    """The sources of one answer, each said once. ``rest`` is what a grounding holds besides them."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._citations = Citations()
        self._seen: list[Any] = []
        self.rest: dict[str, Any] | None = None

    def said(self, text: str) -> None:
        """Take note of a piece of the answer's text."""
        self._text.append(text)

    def grounding(self, metadata: Any, out: list[Delta]) -> None:
        """Append the sources of ``groundingMetadata``, once for each part of the answer that one supports."""
        if not isinstance(metadata, dict) or not metadata:
            return
        chunks = [one for one in metadata.get("groundingChunks") or () if isinstance(one, dict)]
        supports = [one for one in metadata.get("groundingSupports") or () if isinstance(one, dict)]
        for number, chunk in enumerate(chunks):
            segments = [s.get("segment") or {} for s in supports if number in (s.get("groundingChunkIndices") or ())]
            for segment in segments or [{}]:
                self._source(chunk, segment, out)
        rest = {n: v for n, v in metadata.items() if n not in ("groundingChunks", "groundingSupports") and v}
        self.rest = rest or self.rest

    def cited(self, metadata: Any, out: list[Delta]) -> None:
        """Append the sources of ``citationMetadata``."""
        sources = (metadata.get("citationSources") or metadata.get("citations")) if isinstance(metadata, dict) else None
        for source in sources or ():
            if isinstance(source, dict):
                more = {n: v for n, v in source.items() if n not in ("startIndex", "endIndex", "uri")}
                self._source({"web": {**more, "uri": source.get("uri")}}, source, out)

    def _source(self, chunk: dict[str, Any], segment: dict[str, Any], out: list[Delta]) -> None:
        if (chunk, segment) in self._seen:
            return
        self._seen.append((chunk, segment))
        kind, source = next(((k, v) for k, v in chunk.items() if isinstance(v, dict)), ("", {}))
        place = self._place(segment)
        if isinstance(url := source.get("uri"), str) and url.startswith(("http://", "https://")):
            more = {name: value for name, value in source.items() if name != "uri"}
            self._citations.url(url, {**more, **place}, out)
        else:
            self._citations.cite({"type": kind or "grounding", **(source or chunk), **place}, out)

    def _place(self, segment: dict[str, Any]) -> dict[str, int]:
        """Return a segment's place in characters, empty for one that has none."""
        end = segment.get("endIndex")
        if not isinstance(end, int):
            return {}
        begin = segment.get("startIndex")
        text = "".join(self._text).encode("utf-8", "replace")
        at = [
            len(text[: max(byte, 0)].decode("utf-8", "ignore"))
            for byte in (begin if isinstance(begin, int) else 0, end)
        ]
        return {"start_index": at[0], "end_index": at[1]}
