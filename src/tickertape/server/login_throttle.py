"""Limits failed logins: a few a minute for each client address."""

from __future__ import annotations

import ipaddress
import logging
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from tickertape.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tickertape")

WINDOW = 60.0
"""Seconds after which a failure is forgotten."""

MOST = 10_000
"""Addresses that are remembered; those that failed last."""


class LoginThrottle:
    """Counts the failures of each address, in this process. ``most`` of them are taken within `WINDOW`."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Raise ApiError (429) for an address that has failed too often. No key is looked at then."""
        failures = self._recent(client)
        if len(failures) >= self._most:
            wait = max(1, math.ceil(failures[0] + WINDOW - self._clock()))
            raise ApiError(
                f"Too many keys were wrong. Try again in {wait} s.",
                status=429,
                type="rate_limit_error",
                code="too_many_logins",
                retry_after=wait,
            )

    def failed(self, client: str) -> None:
        """Count a failure, and log it."""
        failures = [*self._recent(client), self._clock()]
        self._failures[_network(client)] = failures
        self._failures.move_to_end(_network(client))
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)
        more = "; it has to wait now" if len(failures) >= self._most else ""
        logger.warning("A login from %s failed, %d within a minute%s", client, len(failures), more)

    def succeeded(self, client: str, owner: str) -> None:
        """Forget an address's failures, and log the login."""
        self._failures.pop(_network(client), None)
        logger.info("A login from %s as %s", client, owner)

    def _recent(self, client: str) -> list[float]:
        since = self._clock() - WINDOW
        return [moment for moment in self._failures.get(_network(client), ()) if moment > since]


def _network(client: str) -> str:
    """Return what stands for a client: its address, or with IPv6 the network that one customer commonly has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network(f"{client}/64", strict=False)) if address.version == 6 else client
