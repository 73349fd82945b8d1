"""The shapes of ASGI, as the server's files speak of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

Message = dict[str, Any]
"""A scope, or what `Send` takes and `Receive` returns."""

Sending = Coroutine[object, object, None]
Send = Callable[[Message], Sending]
"""A coroutine function, not only something awaitable: the fan-out drives it by hand."""

Receive = Callable[[], Awaitable[Message]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
