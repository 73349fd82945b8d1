"""Where an upstream is: its base URL checked, its endpoints, and the proxy on the way there."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import msgspec

from tickertape.errors import SettingsError
from tickertape.util.proxy import Proxy, proxy_for


class Address(msgspec.Struct, frozen=True):
    """A checked base URL. ``roots`` are the URLs to try as its root, ``host`` is what people call it."""

    roots: tuple[str, ...]
    host: str
    proxy: Proxy | None
    query: str = ""

    def endpoint(self, root: str, path: str) -> str:
        """Return the URL of an endpoint below one of the roots."""
        if not self.query:
            return f"{root}{path}"
        return f"{root}{path}{'&' if '?' in path else '?'}{self.query}"


def read_address(base_url: str, below: str = "/v1") -> Address:
    """Return the address that a base URL names. Raises SettingsError, in one sentence, for what is none.

    A URL without a path is tried with ``below`` first: OpenAI-compatible servers have their routes at ``/v1``, and
    people give the address that the server printed. A query (Azure's ``api-version``) is kept for every endpoint.
    """
    try:
        url = urlsplit(base_url.strip())
        host, port = url.hostname or "", url.port
        if not host.isprintable() or " " in url.netloc:
            raise ValueError
        host.encode("idna")
    except ValueError:
        raise SettingsError(f"The upstream URL {_shown(base_url)!r} is not a valid URL.") from None
    if url.username is not None:
        raise SettingsError("The upstream URL must not hold a user name or password. Give the key as the API key.")
    if url.scheme not in ("http", "https") or not host:
        raise SettingsError(
            f"The upstream URL must be like https://host/v1, with http or https and a host; it was {base_url!r}."
        )
    path = url.path.rstrip("/")
    for route in ("/chat/completions", "/messages", "/api/chat"):
        if path.endswith(route):
            raise SettingsError(f"The upstream URL must end before {route}; it was {base_url!r}.")
    root = urlunsplit((url.scheme, url.netloc, path, "", ""))
    return Address(
        roots=(root,) if path else (root + below, root),
        host=url.netloc if port else host,
        proxy=proxy_for(root),
        query=url.query,
    )


def _shown(base_url: str) -> str:
    """Return the URL without what stands before an @: it may be a password."""
    return base_url.rpartition("@")[2]
