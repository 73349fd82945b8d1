"""Allowed hosts, public URL and trusted proxies: under which names, origin and prefix the server is reached.

A server on loopback is reachable from every web page that its user opens: a page whose own name is made to point here
(DNS rebinding) sends that name as `Host`, and may add any header, for to the browser it talks to its own server. So
what a request says of itself is taken for nothing more than a claim:

* every name that it gives, in `Host` and in a proxy's `X-Forwarded-Host`, must be a known one;
* ``X-Forwarded-*`` count from trusted proxies alone, and none is trusted unless it is named. Loopback is no exception:
  the browser of whoever runs the server is there too.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from tickertape.asgi.requests import header
from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from tickertape.asgi.types import Message
    from tickertape.server.settings import Settings

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_OURS = ("/v1", "/api", "/backend-api", "/assets", "/c", "/healthz", "/readyz", "/metrics")
_PORTS = {"http": 80, "https": 443}


def checked(settings: Settings) -> Settings:
    """Return the settings with names, origins and prefix in the form that requests are compared with.

    Raises SettingsError, in one sentence, for what none of them can be.
    """
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise SettingsError(
                f"--trusted-proxy is an address or a network, like 127.0.0.1 or 10.0.0.0/8; it was {network!r}."
            ) from None
    return msgspec.structs.replace(
        settings,
        allow_hosts=tuple(map(_host, settings.allow_hosts)),
        allow_origins=tuple(map(_origin, settings.allow_origins)),
        root_path=_root_path(settings.root_path),
    )


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that is bound to this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Say whether this is an IP address. No foreign page has one for its name and reaches this server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """Return a Host header's name, without port and brackets."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name.removesuffix(".")


class TrustedProxies:
    """Takes what trusted proxies say of a request into its scope."""

    def __init__(self, settings: Settings) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(one, strict=False) for one in settings.trusted_proxies]
        self._root_path = settings.root_path

    def apply(self, scope: Message) -> list[str]:
        """Set ``scheme``, ``client``, ``root_path`` and ``path``; return the hosts that the request names.

        ``path`` begins with ``root_path`` then, as ASGI wants it, whether a proxy has taken the prefix off or not.
        """
        # Without a Host it is a program's, like a load balancer's HTTP/1.0; of several, each must be a known one.
        hosts = [str(value, "utf-8", "replace").lower() for name, value in scope["headers"] if name == b"host"]
        prefix = self._root_path
        client = scope.get("client")
        if self._trusted and client and self._trusts(client[0]):
            forwarded = _first(scope, b"x-forwarded-host").lower()
            hosts += [forwarded] if forwarded else []
            protocol = _first(scope, b"x-forwarded-proto").lower()
            scope["scheme"] = protocol if protocol in _PORTS else scope["scheme"]
            given = _first(scope, b"x-forwarded-prefix").rstrip("/")
            prefix = given if _PREFIX.fullmatch(given) else prefix
            scope["client"] = (self._client(scope, client[0]), 0)
        if prefix:
            path = scope["path"]
            within = path if path == prefix or path.startswith(f"{prefix}/") else prefix + path
            scope["root_path"], scope["path"] = prefix, within
        return hosts

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def _client(self, scope: Message, peer: str) -> str:
        """Return the last address that no trusted proxy has: whatever stands before it, the client may have made up."""
        addresses = [one.strip() for one in (header(scope, b"x-forwarded-for") or "").split(",") if one.strip()]
        return next((one for one in reversed(addresses) if not self._trusts(one)), addresses[0] if addresses else peer)


def _first(scope: Message, name: bytes) -> str:
    return (header(scope, name) or "").partition(",")[0].strip()


def _host(name: str) -> str:
    host = name.strip().lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9._-]+|\[?[0-9a-f:.]+\]?", host):
        raise SettingsError(f"--allow-host is a name without scheme and port, like example.org; it was {name!r}.")
    return host.strip("[]")


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise SettingsError(
            f"--allow-origin is a scheme, a name and perhaps a port, like https://example.org; it was {url!r}."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")


def _root_path(path: str) -> str:
    root = path.strip().rstrip("/")
    if root and not _PREFIX.fullmatch(root):
        raise SettingsError(f"--root-path is a path like /chat; it was {path!r}.")
    if any(root == ours or root.startswith(f"{ours}/") for ours in _OURS):
        raise SettingsError(
            f"--root-path cannot be {path!r}: this server has routes of its own below {', '.join(_OURS)}."
        )
    return root
