"""When, where and how to connect again: WHATWG HTML 9.2.2 and 9.2.3 as one pure machine.

The machine reads no clock, draws no random number and touches no socket: `now` and `random` are arguments, and
what is to be done comes back as an action. A client is a loop that performs it::

    CONNECTING ── Connect ──> answered(200, text/event-stream) ──> OPEN ── feed(bytes)… ──> lost(…)
        ^                       │ redirect: Connect again                                     │
        └────── connect() ── WAITING <─────────────── Wait ───────────────────────────────────┤
                                                      Stop ──> CLOSED <───────────────────────┘

What an answer means (`verdict`)::

    200 and text/event-stream                READ    "announce the connection"
    204                                      END     the server's way to say: do not come back
    301, 302, 307, 308                       FOLLOW  with method and body kept
    303                                      FOLLOW  with GET: RFC 9110 15.4.4 says "see other", not "send again"
    408, 425, 429, 500, 502, 503, 504        RETRY   with `recover`, once the stream was open before
    anything else, any other content type    REFUSE  "fail the connection"

What the loss of a connection means (`lost`)::

                                             may be sent again           may not
    ENDED        the body came to its end    wait, connect               stop quietly
    BROKEN       reset, truncated, no head   wait, connect               stop with an error
    SILENT       nothing for read_timeout    wait, connect               stop with an error
    UNREACHABLE  nothing was sent            wait, connect               (cannot be: nothing was sent)
    FUTILE       bad certificate             stop with an error          stop with an error

A request may be sent again if its method is idempotent, or the server named the stream in the ``Location`` of
its answer (then that is read with GET), or the caller said so (`Policy.repost`). Nothing else re-sends a POST.

The delay is the reconnection time. When connection after connection brings no event it grows: the n-th
waits a random time between the reconnection time and 2ⁿ times it, at most `Policy.max_delay`; never less than
``Retry-After`` asks.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from tickertape.sse.actions import Connect, Loss, Policy, Read, ReadyState, Stop, Verdict, Wait
from tickertape.sse.decoder import MAX_EVENT_SIZE, Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickertape.sse.event import Event

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 9.2.2: sending them twice asks for nothing more than sending them once."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that speak of the moment, not of the request: a proxy's 502 during a deploy, a limit that resets."""

HEALTHY_AFTER = 10.0
"""Seconds. A connection that stayed open so long was no failure even if the stream had nothing to say."""


def is_event_stream(content_type: str) -> bool:
    """Tell whether this is the type ``text/event-stream``, whatever its parameters (MIME sniffing 4.4)."""
    return content_type.partition(";")[0].strip("\t\n\r ").lower() == "text/event-stream"


def verdict(status: int, content_type: str, *, reconnecting: bool, recover: bool) -> Verdict:
    """Return what an answer with this head means; the first table above."""
    match status:
        case 200 if is_event_stream(content_type):
            return Verdict.READ
        case 204:
            return Verdict.END
        case _ if status in REDIRECTS:
            return Verdict.FOLLOW
        case _ if status in RETRYABLE and recover and reconnecting:
            return Verdict.RETRY
        case _:
            return Verdict.REFUSE


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that ``Retry-After`` asks for, be it seconds or an HTTP date; 0 if it is absent or neither.

    A date is meant by the clock in the server's ``Date``; ``now``, in seconds since 1970, stands in for it.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:16])
    at = _timestamp(value)
    return 0.0 if at is None else max(0.0, at - (_timestamp(headers.get("date", "")) or now))


def backoff(base: float, retries: int, ceiling: float, random: float) -> float:
    """Return the delay before the next connection after ``retries`` in a row that brought nothing."""
    # A stream may ask for `retry: 0`. Failures still have to spread out, so they grow from half a second.
    longest = min(ceiling, max(base, 0.5) * 2.0 ** min(retries, 32)) if retries else base
    return base + random * max(0.0, longest - base)


def resolve(base: str, reference: str) -> str | None:
    """Return the URL that a reference means beside a base; None if that is no URL of a web server."""
    try:
        url = urljoin(base, reference)
        scheme, host, _port = origin(url)
    except ValueError:
        return None
    return url if scheme in ("http", "https") and host else None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a URL: what credentials are for."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class Reconnector:
    """Decides for one source of events; see the module's two tables.

    Call `connect`, perform what comes back, report it with `answered`, `feed` and `lost`, and perform what those
    return until it is a `Stop`. ``random`` returns a number from 0 to 1. ``last_event_id`` is what the next request
    names; ``location`` is the URL that the server gave the stream in answer to a request that may not be sent
    twice, else None. ``keep_ignored`` is the decoder's.
    """

    def __init__(
        self,
        url: str,
        *,
        random: Callable[[], float],
        method: str = "GET",
        policy: Policy | None = None,
        last_event_id: str = "",
        on_comment: Callable[[str], object] | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
        keep_ignored: bool = False,
    ) -> None:
        if resolve(url, "") is None:
            raise ValueError(f"A stream's URL starts with http:// or https:// and a host; this was {url!r}.")
        self.state = ReadyState.CONNECTING
        self.policy = policy or Policy()
        self.location: str | None = None
        self.last_event_id = last_event_id
        self.reconnection_time = self.policy.reconnection_time
        self.was_open = False
        self._reached = False  # a connection was made, and lost
        self._random = random
        self._on_comment = on_comment
        self._max_event_size = max_event_size
        self._keep_ignored = keep_ignored
        self._decoder = Decoder(max_event_size)
        self._origin = origin(url)
        self._url, self._method, self._with_body = url, method.upper(), True  # what a reconnect asks for
        self._now_url, self._now_method, self._now_body = url, self._method, True  # what is being asked, redirected
        self._permanent = True  # every redirect so far was
        self._redirects = 0
        self._retries = 0
        self._progress = False
        self._opened_at = 0.0

    def connect(self) -> Connect:
        """Return the request to send now."""
        self.state = ReadyState.CONNECTING
        self._now_url, self._now_method, self._now_body = self._url, self._method, self._with_body
        self._permanent, self._redirects, self._progress = True, 0, False
        return self._request()

    def answered(self, status: int, headers: Mapping[str, str], now: float) -> Connect | Read | Wait | Stop:
        """Take the head of the answer. ``headers`` finds names in lower case; ``now`` is in seconds since 1970."""
        content_type = headers.get("content-type", "")
        match verdict(status, content_type, reconnecting=self.was_open, recover=self.policy.recover):
            case Verdict.READ:
                return self._open(headers, now)
            case Verdict.END:
                return self._stop()
            case Verdict.FOLLOW:
                return self._follow(status, headers.get("location"))
            case Verdict.RETRY:
                return self._wait(f"{self._now_url} answered {status}", retry_after(headers, now), status=status)
            case Verdict.REFUSE if status == 200:
                what = f"the content type {content_type!r}" if content_type else "no content type"
                return self._stop(f"{self._now_url} answered with {what}, not text/event-stream", 200)
            case Verdict.REFUSE:
                return self._stop(f"{self._now_url} answered {status}", status)

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that these bytes of the body complete. Raises EventTooLarge, which is final."""
        decoder = self._decoder
        events = decoder.feed(chunk)
        # "Set the event source's reconnection time": at once, not at dispatch.
        if decoder.retry is not None:
            self.reconnection_time = decoder.retry / 1000
        if events or decoder.last_event_id != self.last_event_id:
            self.last_event_id = decoder.last_event_id
            self._progress = True
        return events

    def end_body(self) -> list[Event]:
        """Return what the end of a body leaves: no event, but perhaps an ignored line that is kept. Call `lost` next.

        Raises EventTooLarge if the body ended in such an event: another connection would bring it again.
        """
        return self._decoder.close() if self.state is ReadyState.OPEN else []

    def lost(self, loss: Loss, detail: str, now: float) -> Wait | Stop:
        """Take the end of a connection, or the failure to make one; the second table above."""
        if self.state is ReadyState.OPEN and now - self._opened_at >= HEALTHY_AFTER:
            self._progress = True
        self._reached = self._reached or loss not in (Loss.UNREACHABLE, Loss.FUTILE)
        reason = f"The connection to {self._now_url} {loss.value}" + (f": {detail}" if detail else "")
        match loss:
            case Loss.FUTILE:
                return self._stop(reason)
            case Loss.UNREACHABLE if self._reached or self.was_open or self.policy.await_server:
                return self._wait(reason)
            case Loss.UNREACHABLE:
                return self._stop(reason)
            case _ if self._repeatable:
                return self._wait(reason, ended=loss is Loss.ENDED)
            case Loss.ENDED:
                return self._stop()
            case _:
                once = f"A {self._method} is sent only once, as it may do its work twice"
                return self._stop(f"{reason}. {once}, and the server named no Location to read on from")

    def close(self) -> None:
        """Take note that the caller has had enough."""
        self.state = ReadyState.CLOSED

    @property
    def _repeatable(self) -> bool:
        return self._method in IDEMPOTENT or self.policy.repost

    def _request(self) -> Connect:
        return Connect(
            self._now_method,
            self._now_url,
            self.last_event_id.encode("utf-8", "replace"),
            self._now_body,
            origin(self._now_url) == self._origin,
        )

    def _open(self, headers: Mapping[str, str], now: float) -> Read:
        self.state, self.was_open = ReadyState.OPEN, True
        self._opened_at = now
        if self._permanent:
            self._url = self._now_url
        location = headers.get("location")
        place = resolve(self._now_url, location) if location else None
        if self._now_method not in IDEMPOTENT and place:
            self._read_from(place)
        elif self._now_method != self._method:  # a 303 led from a POST to what it made
            self._read_from(self._now_url)
        # "Initialize the last event ID buffer": a block of the new body that names no id keeps the old one.
        self._decoder = Decoder(
            self._max_event_size,
            self._on_comment,
            last_event_id=self.last_event_id,
            keep_ignored=self._keep_ignored,
        )
        return Read(self.policy.read_timeout)

    def _read_from(self, location: str) -> None:
        self.location = self._url = location
        self._method, self._with_body = "GET", False

    def _follow(self, status: int, location: str | None) -> Connect | Stop:
        self._redirects += 1
        if not location:
            return self._stop(f"{self._now_url} answered {status}, a redirect, without a Location to go to", status)
        if self._redirects > self.policy.max_redirects:
            return self._stop(f"{self._now_url} is redirect {self._redirects} in a row; the limit is one less", status)
        target = resolve(self._now_url, location)
        if target is None:
            return self._stop(f"{self._now_url} redirects to {location!r}, which is no http or https URL", status)
        self._permanent = self._permanent and status in (301, 308)
        self._now_url = target
        if status == 303 and self._now_method not in ("GET", "HEAD"):
            self._now_method, self._now_body = "GET", False
        return self._request()

    def _wait(self, reason: str, least: float = 0.0, *, ended: bool = False, status: int | None = None) -> Wait | Stop:
        if self._progress:
            self._retries = 0
        limit = self.policy.max_retries
        if limit is not None and self._retries >= limit:
            if ended and limit == 0:
                return self._stop()
            return self._stop(
                f"{reason}. That was connection {self._retries + 1} in a row without an event; enough", status
            )
        longest = max(self.policy.max_delay, self.reconnection_time)
        delay = max(least, backoff(self.reconnection_time, self._retries, longest, self._random()))
        if delay > self.policy.max_wait:
            return self._stop(
                f"{reason}. The next try is wanted in {delay:.15g} s, and max_wait is {self.policy.max_wait:g} s",
                status,
            )
        self._retries += 1
        self.state = ReadyState.WAITING
        return Wait(delay, reason, self._retries)

    def _stop(self, error: str | None = None, status: int | None = None) -> Stop:
        self.state = ReadyState.CLOSED
        return Stop(error, status)


def _timestamp(http_date: str) -> float | None:
    if not http_date:
        return None
    from email.utils import parsedate_to_datetime  # only here: it costs 10 ms to import

    try:
        date = parsedate_to_datetime(http_date)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
