"""Read a stream as it arrives, and record the time of each arrival."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import urllib3

from tickertape.client.pool import latin_1, strict_pool, what_was_lost
from tickertape.client.request import EXCERPT, RequestTemplate, connection_failed, excerpt
from tickertape.errors import EventTooLarge
from tickertape.sse.actions import Connect, Read, Stop
from tickertape.sse.decoder import Decoder
from tickertape.sse.reconnect import REDIRECTS, Reconnector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.sse.event import Event

LIMIT = 8 * 1024 * 1024
"""Bytes that are read at most: enough for any answer, and a flood cannot fill the memory."""


class Arrival(msgspec.Struct, frozen=True):
    """Bytes that came together, and when: seconds after the request was sent."""

    at: float
    data: bytes


class Observation(msgspec.Struct, kw_only=True):
    """One response: its head, and its bytes with the time of their arrival."""

    url: str
    """Where it was, after redirects."""
    method: str
    status: int = 0
    headers: dict[str, str] = {}
    said: str = ""
    """The message of a refusal."""
    readable: bool = False
    """The head opens an event stream."""
    redirects: int = 0
    head_at: float = 0.0
    """Seconds from the request to the head of the answer."""
    arrivals: list[Arrival] = []
    ended: bool = False
    """The body came to its end."""
    ended_at: float = 0.0
    broke: str = ""
    """How the body broke off."""
    location: str | None = None

    @property
    def body(self) -> bytes:
        """Everything that arrived."""
        return b"".join(arrival.data for arrival in self.arrivals)

    def events(self) -> list[Event]:
        """Return the events of the body, up to the first that exceeds the limit."""
        decoder, events = Decoder(LIMIT), []
        with suppress(EventTooLarge):
            for arrival in self.arrivals:
                events += decoder.feed(arrival.data)
        return events


class Observer:
    """Connects to one stream again and again, and records what arrives when. Close it when you are done."""

    def __init__(self, url: str, template: RequestTemplate, seconds: float) -> None:
        self._url = url
        self._template = template
        self._seconds = seconds
        self._pool = strict_pool()

    def observe(self, *, url: str | None = None, last_event_id: str = "", stop_after: int | None = None) -> Observation:
        """Connect and read for some seconds, or until this many events came.

        With a URL it is read with GET, else the request is sent as the caller gave it. Raises ConnectionFailed when
        there is no answer at all.
        """
        method = self._template.method if url is None else "GET"
        machine = Reconnector(url or self._url, random=random.random, method=method, last_event_id=last_event_id)
        began = time.monotonic()
        connect, redirects = machine.connect(), 0
        while True:
            response = self._send(machine, connect)
            headers = {name.lower(): value for name, value in response.headers.items()}
            action = machine.answered(response.status, headers, time.time())
            if not isinstance(action, Connect):
                break
            connect, redirects = action, redirects + 1
            response.close()
        seen = Observation(url=connect.url, method=connect.method, status=response.status, headers=headers)
        seen.redirects, seen.head_at, seen.location = redirects, time.monotonic() - began, machine.location
        seen.readable = isinstance(action, Read)
        if seen.readable:
            self._watch(response, seen, began, stop_after)
        elif response.status != 204:
            seen.said = excerpt(_few(response))
            if isinstance(action, Stop) and response.status in REDIRECTS:
                seen.said = action.error or ""
        response.close()
        return seen

    def close(self) -> None:
        """Give back the connections."""
        self._pool.clear()

    def _send(self, machine: Reconnector, connect: Connect) -> urllib3.BaseHTTPResponse:
        request = self._template.render(connect, None)
        timeout = urllib3.Timeout(connect=10.0, read=max(30.0, self._seconds))
        try:
            return self._pool.request(
                request.method,
                request.url,
                body=request.body,
                headers=latin_1(request.headers),
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=timeout,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            loss, detail = what_was_lost(error)
            raise connection_failed(Stop(f"The connection to {connect.url} {loss.value}: {detail}")) from error

    def _watch(
        self, response: urllib3.BaseHTTPResponse, seen: Observation, began: float, stop_after: int | None
    ) -> None:
        decoder, events, size = Decoder(LIMIT), 0, 0
        for arrival in self._arrivals(response, seen, began):
            seen.arrivals.append(arrival)
            size += len(arrival.data)
            with suppress(EventTooLarge):  # then the size is beyond the limit too
                events += len(decoder.feed(arrival.data))
            if size > LIMIT or (stop_after is not None and events >= stop_after):
                return

    def _arrivals(self, response: urllib3.BaseHTTPResponse, seen: Observation, began: float) -> Iterator[Arrival]:
        while (left := began + self._seconds - time.monotonic()) > 0:
            sock = getattr(response.connection, "sock", None)
            if sock is not None:
                sock.settimeout(left)
            try:
                data = response.read1(65_536)
            except urllib3.exceptions.ReadTimeoutError:
                return
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                seen.broke, seen.ended_at = str(error), time.monotonic() - began
                return
            if not data:
                seen.ended, seen.ended_at = True, time.monotonic() - began
                return
            yield Arrival(time.monotonic() - began, data)


def _few(response: urllib3.BaseHTTPResponse) -> bytes:
    try:
        return response.read(EXCERPT)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return b""
