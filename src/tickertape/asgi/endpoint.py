"""One path of the API: its methods, the authenticated owner, and the response to an error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from tickertape.asgi.requests import DIALECT
from tickertape.asgi.responses import reply_error
from tickertape.asgi.subscriber import Cut
from tickertape.dialects import DEFAULT
from tickertape.errors import ApiError, InvalidRequest, TickertapeError

if TYPE_CHECKING:
    from tickertape.asgi.responses import Headers
    from tickertape.asgi.types import App, Message, Receive, Send

logger = logging.getLogger("tickertape")

Owner = Callable[[Request], "str | Awaitable[str | None] | None"]
"""Says whose a request's streams are."""

OWNER = "tickertape.owner"
"""The key in the scope under which handlers find the owner."""

MAX_OWNER = 255
"""Characters of an owner's name; it stands in every row that is theirs."""


class Endpoint:
    """A path's ASGI app: finds the method's handler and the owner, runs it, answers its errors."""

    def __init__(self, methods: Mapping[str, App], owner: Owner | None = None) -> None:
        self._methods = methods
        self._owner = owner

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the handler. Its errors come before the first byte; after it a stream carries its own, or is cut."""
        method = self._methods.get(scope["method"])
        if method is None:
            allowed = ", ".join(self._methods)
            error = InvalidRequest(
                f"{scope['path']} answers {allowed}, not {scope['method']}.", status=405, code="method_not_allowed"
            )
            await reply_error(send, error, [(b"allow", allowed.encode())])
            return
        try:
            if self._owner is not None:
                scope[OWNER] = await _owner_of(self._owner, scope)
            await method(scope, receive, send)
        except Cut:
            raise
        except _Refused as refusal:
            await reply_error(send, refusal.error, refusal.headers)
        except TickertapeError as error:
            await reply_error(send, error, dialect=scope.get(DIALECT, DEFAULT))
        except Exception:
            logger.exception("A request failed")
            fault = TickertapeError("The server failed to answer this; its own log says why.")
            await reply_error(send, fault, dialect=scope.get(DIALECT, DEFAULT))


class _Refused(Exception):
    """The owner may not ask: the error to answer with, and headers that go with it."""

    def __init__(self, error: TickertapeError, headers: Headers) -> None:
        super().__init__(str(error))
        self.error = error
        self.headers = headers


async def _owner_of(owner: Owner, scope: Message) -> str:
    """Return who asks. Raises _Refused for somebody who may not, TypeError and ValueError for a name that is none."""
    try:
        found: Any = owner(Request(scope))  # without `receive`: the body is read once, and not here
        if isawaitable(found):
            found = await found
    except TickertapeError:
        raise
    except Exception as error:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or not 400 <= status < 600:
            raise
        kind = "authentication_error" if status in (401, 403) else "invalid_request_error"
        message = str(getattr(error, "detail", "") or "This request was refused.")
        refusal = ApiError(message, status=status, type=kind, code="refused")
        headers = (getattr(error, "headers", None) or {}).items()
        raise _Refused(refusal, [(name.lower().encode(), value.encode()) for name, value in headers]) from error
    if found is None:
        raise ApiError(
            "This needs somebody who is signed in.", status=401, type="authentication_error", code="not_signed_in"
        )
    if not isinstance(found, str):
        raise TypeError(f"owner must return a str or None; it returned {found!r:.80}.")
    if not 0 < len(found) <= MAX_OWNER or not found.isprintable():  # '' is what frameworks call everybody and nobody
        raise ValueError(
            f"owner must return 1 to {MAX_OWNER} printable characters, or None; it returned {found!r:.80}."
        )
    return found


async def not_found(scope: Message, _receive: Receive, send: Send) -> None:
    """Answer a path that nothing lives at."""
    await reply_error(send, InvalidRequest(f"There is nothing at {scope['path']!r}.", status=404, code="not_found"))
