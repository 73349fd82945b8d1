"""The sources that a text cites, in OpenAI's shape where there is one: each once, and numbered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tickertape.deltas import Annotation, Citation

if TYPE_CHECKING:
    from tickertape.deltas import Delta


class Citations:
    """Numbers the citations of one answer. A source that is listed with every chunk is passed on once."""

    def __init__(self) -> None:
        self._annotations = 0
        self._citations = 0
        self._listed: dict[str, dict[str, Any]] = {}

    def annotation(self, given: Any, out: list[Delta]) -> None:
        """Append an annotation as OpenAI has them: its clients rely on all four fields of ``url_citation``."""
        if not isinstance(given, dict):
            self.cite({"type": "annotation", "value": given}, out)
            return
        made = {name: value for name, value in given.items() if name != "index"}
        kind = made.get("type") or "url_citation"
        inner = made.get("url_citation", made if kind == "url_citation" else None)
        if kind == "url_citation" and isinstance(inner, dict):
            inner = {name: value for name, value in inner.items() if name not in ("type", "url_citation")}
            rest = {"start_index": 0, "end_index": 0, "title": "", "url": ""}
            own = {n: v for n, v in made.items() if n not in inner} if "url_citation" in made else {}
            made = {**own, "url_citation": rest | {n: v for n, v in inner.items() if v is not None}}
        out.append(Annotation({"index": self._annotations, **made, "type": kind}))
        self._annotations += 1

    def url(self, url: str, more: dict[str, Any], out: list[Delta]) -> None:
        """Append a citation of a page, with what else is known of it."""
        self.annotation({"type": "url_citation", "url_citation": {**more, "url": url}}, out)

    def cite(self, given: dict[str, Any], out: list[Delta]) -> None:
        """Append a citation that OpenAI has no shape for, in its provider's words."""
        made = {name: value for name, value in given.items() if name != "index"}
        if "index" in given:
            made["number"] = given["index"]
        out.append(Citation({"index": self._citations, "type": "citation", **made}))
        self._citations += 1

    def listed(self, citations: Any, results: Any, out: list[Delta]) -> None:
        """Append the sources of Perplexity's and xAI's lists that are new: URLs, and what a search found there."""
        found: dict[str, dict[str, Any]] = {}
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and isinstance(url := result.get("url"), str):
                found[url] = {name: value for name, value in result.items() if name not in ("url", "type")}
        urls = citations if isinstance(citations, list) else [citations] if citations else []
        for citation in urls:
            if isinstance(citation, str):
                found.setdefault(citation, {})
            elif isinstance(citation, dict) and isinstance(url := citation.get("url"), str):
                found.setdefault(url, {}).update({n: v for n, v in citation.items() if n not in ("url", "type")})
            elif citation:
                self._other(citation, out)
        for result in results if isinstance(results, list) else [results] if results else ():
            if not (isinstance(result, dict) and isinstance(result.get("url"), str)):
                self._other(result, out)
        for url, more in found.items():
            if url not in self._listed or (more and more != self._listed[url]):
                self._listed[url] = more
                self.url(url, more, out)

    def _other(self, given: Any, out: list[Delta]) -> None:
        key = repr(given)
        if key not in self._listed:
            self._listed[key] = {}
            self.cite(given if isinstance(given, dict) else {"type": "citation", "value": given}, out)
