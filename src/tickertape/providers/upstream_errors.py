"""What to say about an upstream that refused, failed or cannot be reached: one sentence, the right status, no secret.

Whatever shape a reported error has, it is brought into OpenAI's four fields. The status is the one to show to *our*
caller: an upstream's own failure (500) is a bad gateway (502) to them, its refusals (4xx) are passed on.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape.errors import AnswerUnfinished, UpstreamError
from tickertape.parsing.reported_errors import ReportedError, one_line, parse_error
from tickertape.util.json_util import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tickertape.parsing.finish_reasons import Ending

_DAY = 86_400.0

_SECRET = 8
"""Characters of a key that cannot be a part of a word by chance. Local servers take any, such as "x"."""

_STATUS = {
    407: 502,
    408: 504,
    500: 502,
    503: 503,
    504: 504,
    529: 503,
}  # 529: Anthropic's "overloaded"; other 5xx are 502

_TYPES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "api_error": 500,
    "timeout_error": 504,
}
"""Anthropic's error types, and the HTTP statuses that they have before the first byte."""

_OWN_CODES = ("invalid_api_key",)
"""OpenAI's code for a wrong key, with which this server refuses its own callers' keys."""

_PASSING = (408, 500, 502, 503, 529)
_SHORT = 0.5
"""Seconds that an upstream may ask us to wait; a longer wait is the caller's to decide, and so is a limit reached."""


class UpstreamErrors(msgspec.Struct, frozen=True):
    """An upstream by the name that people know, the key that must not be shown, and where people find it."""

    name: str
    key: str | None = None
    key_name: str = "OPENAI_API_KEY"

    def refused(self, status: int, body: bytes, headers: Mapping[str, str], model: str) -> UpstreamError:
        """Return the error for an HTTP status that came in place of an answer."""
        reported = self._without_key(parse_error(_json_or_text(body)))
        retry_after = read_retry_after(headers)
        if status == 401 and self.key is None:
            what, do = "wants an API key, and none is set", f"Set {self.key_name} to a key of this upstream."
        elif status in (401, 403):
            what, do = "refused the API key", f"Check the key ({self.key_name}) and what it may use."
        elif status == 407:
            what = "is behind a proxy that wants a user name and password, or others"
            do = "Give them in the proxy's URL, as in HTTP_PROXY=http://user:password@host:3128."
        elif status == 404:
            what, do = (
                f"does not know the model {model[:80]!r} or this address",
                "Check the model's name and the base URL.",
            )
        elif status == 429:
            wait = f"in {retry_after:g} s" if retry_after else "later"
            what, do = "is limiting requests", f"Try again {wait}, or check the account's quota."
        elif status >= 500:
            what, do = "failed", "Try again; if it goes on, look at the upstream's log or status page."
        elif 300 <= status < 400:
            place = self._hidden(headers.get("Location", "nowhere"))
            what, do = "redirects to another address", f"Make that the base URL: {place}"
        else:
            what, do = "refused the request", "Change the request."
        return UpstreamError(
            f"{self.name} {what} (HTTP {status}){_quoted(reported.words)} {do}",
            status=shown_status(status),
            type=reported.type or _type_of(status),
            code=_code(reported.code or ("model_not_found" if status == 404 else f"upstream_{status}")),
            param=reported.param or ("model" if status == 404 else None),
            retry_after=retry_after,
            transient=_passes(status, retry_after),
        )

    def reported(self, value: Any) -> UpstreamError:
        """Return the error for one that is reported in the middle of an answer, or in place of one inside a 200."""
        reported = self._without_key(parse_error(value))
        code = reported.code or ""
        # OpenRouter's and Gemini's code is an HTTP status; Anthropic says it in the type.
        number = int(code[:4]) if code.isascii() and code.isdigit() else _TYPES.get(reported.type, 0)
        status = shown_status(number) if 400 <= number < 600 else 502
        return UpstreamError(
            f"{self.name} broke off with an error{_quoted(reported.words)}",
            status=status,
            type=reported.type or "upstream_error",
            code=_code(reported.code or "upstream_error"),
            param=reported.param,
        )

    def unfinished(self, ending: Ending) -> UpstreamError:
        """Return the error for an answer whose reason to end does not mean that it is whole."""
        word = self._hidden(one_line(ending.word))
        why = self._hidden(one_line(ending.why))
        kind = UpstreamError if ending.broken else AnswerUnfinished
        return kind(
            f"{self.name} ended the answer with the reason {word!r}{_quoted(why)}",
            code=word or "no_finish_reason",
        )

    def unusable(self, what: str) -> UpstreamError:
        """Return the error for an answer that is none of this dialect."""
        return UpstreamError(f"{self.name} {self._hidden(what)}", code="upstream_invalid_response")

    def unreachable(self, what: str, *, transient: bool = False) -> UpstreamError:
        """Return the error for an upstream that cannot be connected to."""
        return UpstreamError(f"{self.name} {self._hidden(what)}", code="upstream_unreachable", transient=transient)

    def too_slow(self, what: str) -> UpstreamError:
        """Return the error for a timeout."""
        return UpstreamError(f"{self.name} {what}", status=504, type="timeout", code="upstream_timeout")

    def _without_key(self, reported: ReportedError) -> ReportedError:
        return ReportedError(
            self._hidden(reported.words),
            self._hidden(reported.type),
            reported.code and self._hidden(reported.code),
            reported.param and self._hidden(reported.param),
        )

    def _hidden(self, words: str) -> str:
        if not self.key:
            return words
        if len(self.key) >= _SECRET:
            return words.replace(self.key, "[the API key]")
        return re.sub(rf"(?<![^\W_]){re.escape(self.key)}(?![^\W_])", "[the API key]", words)


def _code(code: str) -> str:
    """Return the code for our caller: the server's own refusals of a key have theirs to themselves."""
    return f"upstream_{code}" if code in _OWN_CODES else code


def _passes(status: int, retry_after: float | None) -> bool:
    """Return whether a refusal may well be over in a moment."""
    if status == 429:
        return retry_after is not None and retry_after <= _SHORT
    return status in _PASSING and (retry_after or 0) <= _SHORT


def shown_status(status: int) -> int:
    """Return what our caller gets to see for an upstream's status."""
    if 400 <= status < 500 and status not in _STATUS:
        return status
    return _STATUS.get(status, 502)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as seconds or as a date (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", value):
        return min(max(float(value), 0.0), _DAY)
    try:
        return min(max(parsedate_to_datetime(value).timestamp() - time(), 0.0), _DAY)
    except ValueError:
        return None


def _type_of(status: int) -> str:
    if status in (401, 403):
        return "authentication_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if 400 <= status < 500 else "upstream_error"


def _json_or_text(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    return "" if text.lstrip()[:1] == "<" else loads(text)  # a web server's error page says nothing of use


def _quoted(words: str) -> str:
    if not words:
        return "."
    return f": {words}" if words[-1] in ".!?…" else f": {words}."
