"""The HTTP connections to one upstream, over aiohttp's client: every way they fail becomes an `UpstreamError`.

* Closing a response closes its socket at once: upstreams take that as the order to stop. Only after a proper end is
  the connection kept, once its last bytes have come; nobody waits for them.
* What was received before a reset is read before the reset is noticed.
* Redirects are not followed: the question and the key go to the host that was named, and nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from tickertape.client.connections import HEAD_LIMITS, hang_up, proxy_failure, through, words_of
from tickertape.providers.body_tap import BodyTap
from tickertape.providers.stall import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tickertape.errors import UpstreamError
    from tickertape.providers.address import Address
    from tickertape.providers.upstream_errors import UpstreamErrors

_READ_BUFFER = 64 * 1024
"""Bytes. With twice this unread, the socket is not read either.

And as much is read at a time: asyncio reads into 256 KiB, which the allocator takes from the system and gives back for
each read. That is a quarter of what a token costs here.
"""

_LAST_BYTES = 1.0
"""Seconds that a finished answer's connection may take to end, so that it can be used again."""

_BROKEN = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError)

_LASTING = (
    aiohttp.ClientSSLError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ClientProxyConnectionError,
)
"""Failures to connect that a moment does not mend."""


class HttpClient:
    """Sends requests to one upstream and reads what comes back."""

    def __init__(
        self, address: Address, errors: UpstreamErrors, connect_timeout: float, headers: Mapping[str, str]
    ) -> None:
        self._address, self._errors, self._connect = address, errors, connect_timeout
        self._headers = {"Accept": "text/event-stream, application/json", "User-Agent": "tickertape"}
        self._headers["Accept-Encoding"] = "identity"  # a compressor holds tokens back
        self._headers |= headers
        self._root = address.roots[0] if len(address.roots) == 1 else None
        self._session: aiohttp.ClientSession | None = None
        self._draining: set[asyncio.Task[None]] = set()

    async def send(self, method: str, path: str, body: bytes | None, limit: float) -> aiohttp.ClientResponse:
        """Return the response, its body unread, whatever its status. ``limit`` is in seconds, to the last header.

        While it is not known which of the address's roots is right, a 404 means to try the next. If none is, the
        first one's answer counts: people know its routes, and it may say that there is no such model.
        """
        roots = self._address.roots if self._root is None else (self._root,)
        first: aiohttp.ClientResponse | None = None
        for root in roots:
            try:
                response = await self._request(method, self._address.endpoint(root, path), body, limit)
            except BaseException:
                if first is not None:
                    hang_up(first)
                raise
            if response.status != 404:
                self._root = root
                if first is not None:
                    hang_up(first)
                return response
            if first is None:
                first = response
            else:
                hang_up(response)
        assert first is not None  # noqa: S101 - an address has at least one root
        return first

    async def _request(self, method: str, url: str, body: bytes | None, limit: float) -> aiohttp.ClientResponse:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(limit):
                response = await self._session_here().request(
                    method,
                    url,
                    data=body,
                    allow_redirects=False,
                    **through(self._address.proxy, url, headers),
                )
        except aiohttp.ConnectionTimeoutError:
            raise self._errors.too_slow(
                f"did not accept a connection within {self._connect:g} s. Check that it runs and the base URL is right."
            ) from None
        except TimeoutError:
            raise self._errors.too_slow(
                f"did not answer within {limit:g} s. Try again; if that is its pace, raise the timeout."
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error) from None  # the cause may hold the request with its key
        connection = response.connection
        transport = connection.transport if connection is not None else None
        if transport is not None and hasattr(transport, "max_size"):  # asyncio's own, without TLS
            transport.max_size = _READ_BUFFER
        return response

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return what has arrived, at least a byte; nothing at the end, or when the connection broke.

        Raises UpstreamError when a `StallTimer` interrupted the wait.
        """
        try:
            return await response.content.readany()
        except Stalled as stalled:
            if data := response.content._read_nowait(-1):  # it came while this process had no time to look
                return data
            raise self._errors.too_slow(str(stalled)) from None
        except _BROKEN as error:
            # aiohttp raises before it hands out what came in earlier, and has no public way to get at that.
            data = response.content._read_nowait(-1)
            if not data and isinstance(error.__cause__, ContentEncodingError):
                raise self._errors.unusable(f"sent a body that cannot be decoded: {_first_line(error)}.") from None
            return data

    async def body(self, response: aiohttp.ClientResponse, size: int, limit: float) -> bytes:
        """Return a body of up to ``size`` bytes; what is beyond, or comes after ``limit`` seconds, is left out."""
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(limit):
                while (piece := await self.read(response)) and size > 0:
                    pieces.append(piece[:size])
                    size -= len(piece)
        except TimeoutError:
            pass
        return b"".join(pieces)

    def watch(self, response: aiohttp.ClientResponse) -> Callable[[], bool]:
        """Return what says, once the body has ended, whether its connection broke.

        To be called before the body is read: where only the connection's end ends the body, aiohttp takes a reset for
        that, and keeps the difference nowhere else.
        """
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        fresh = protocol is not None and protocol._closed is None
        closed = protocol.closed if protocol is not None else None
        if closed is not None and fresh:
            closed.add_done_callback(lambda closed: closed.cancelled() or closed.exception())  # it may have no waiter

        def broke() -> bool:
            reset = closed is not None and closed.done() and not closed.cancelled() and closed.exception() is not None
            return reset or response.content.exception() is not None

        return broke

    def tap(self, response: aiohttp.ClientResponse) -> BodyTap:
        """Return what reads the body without waking a task for each piece. To be called before the body is read."""
        return BodyTap(response)

    def release(self, response: aiohttp.ClientResponse, *, ended: bool) -> None:
        """Give the connection back if the answer has ``ended`` properly; else close its socket now."""
        if not ended:
            hang_up(response)
        elif response.content.is_eof():
            response.release()
        else:
            task = asyncio.get_running_loop().create_task(_drain(response))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def close(self) -> None:
        """Close every connection."""
        for task in tuple(self._draining):
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _session_here(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._session._loop is not loop:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # 100 by default: the 101st answer would wait for the first
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect),
                read_bufsize=_READ_BUFFER,
                **HEAD_LIMITS,
            )
        return self._session

    def _failure(self, error: Exception) -> UpstreamError:
        match error:
            case aiohttp.ClientConnectorDNSError():
                what = "cannot be found: its name does not resolve. Check the base URL and the network."
            case aiohttp.ClientConnectorCertificateError():
                what = (
                    f"showed a TLS certificate that is not trusted ({error.certificate_error}). "
                    "Check the base URL, or name the right authorities in SSL_CERT_FILE."
                )
            case aiohttp.ClientConnectorSSLError():
                what = f"does not speak TLS ({error.os_error}). Check whether the base URL should begin with http://."
            case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
                what = (
                    f"cannot be reached through {self._address.proxy} ({proxy_failure(error)}). "
                    "Correct that, or exempt the upstream in NO_PROXY."
                )
            case aiohttp.ClientConnectorError():
                what = f"cannot be reached ({words_of(error.os_error)}). Check that it runs and the base URL is right."
            case aiohttp.ServerDisconnectedError() | OSError():
                what = "closed the connection before it answered. Try again; if it goes on, look at its log."
            case aiohttp.ClientResponseError(message=words) if "content-encoding" in words:
                encoding = words.partition(": ")[2].partition(". ")[0]
                what = f"encoded its answer with {encoding}, which was not asked for and cannot be decoded here."
            case _:
                what = f"answered with what is no HTTP ({_first_line(error)}). Check the base URL."
        transient = isinstance(error, aiohttp.ServerDisconnectedError | OSError)
        return self._errors.unreachable(what, transient=transient and not isinstance(error, _LASTING))


def _first_line(error: Exception) -> str:
    """Return the words of one of aiohttp's parsers without the bytes that they are about, which may be anything."""
    words = str(getattr(error, "message", "")) or str(error.__cause__ or error)
    lines = words.removeprefix("400, message:").strip().partition("\n")[0].partition(": b'")
    return lines[0].rstrip(":.") or type(error).__name__


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_LAST_BYTES):
            while await response.content.readany():
                pass
    except (TimeoutError, *_BROKEN):
        pass
    finally:
        hang_up(response)  # unless its end was read: then the connection has been given back
