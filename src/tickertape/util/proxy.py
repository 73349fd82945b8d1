"""The proxy that the environment names for a URL: one reading of it, for the server's upstreams and for both clients.

The variables have no standard. What curl, Python, Go and requests agree on is taken; where they differ, what lets a
request go where its author meant it to:

* ``HTTPS_PROXY`` counts for https, ``HTTP_PROXY`` for http, and ``ALL_PROXY`` where the one is not set. The lower-case
  name comes first; set to nothing, it means no proxy. Where a CGI server sets ``REQUEST_METHOD``, ``HTTP_PROXY`` is a
  header of the caller's, and does not count.
* ``NO_PROXY`` is a list by commas or spaces of names, which stand for all names below them too, with or without a
  leading ``.`` or ``*.``; addresses; networks such as ``10.0.0.0/8``; each with ``:port`` if it is meant for one port;
  and ``*`` for everything. Names are not resolved.
* This machine is never behind a proxy: whatever the environment says, it would ask the proxy's host for itself.

Without any of them, the settings of macOS or Windows count, as Python reads them.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = {"http": 80, "https": 443}

_ENTRY = re.compile(r"\[(?P<six>[^]]*)\](?::(?P<six_port>\d+))?|(?P<host>[^:]*):(?P<port>\d+)|(?P<plain>.*)")
"""An entry of ``NO_PROXY``; an address of IPv6 may stand without its brackets."""


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy: its URL without user and password, those apart, and where it was named."""

    url: str
    variable: str
    user: str = ""
    password: str = ""

    @property
    def authorization(self) -> str | None:
        """The value of ``Proxy-Authorization`` (RFC 7617), if there is a user."""
        if not self.user:
            return None
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __str__(self) -> str:
        """Say it without the password."""
        return f"the proxy {self.url} that {self.variable} names"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL, None if its host is to be connected to. Raises SettingsError for one of no use."""
    environ, parts = os.environ, urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    if not host or _is_this_machine(host):
        return None
    found = _named(parts.scheme, host, environ)
    if found is None or not found[1] or _exempt(host, port, _first(("no_proxy", "NO_PROXY"), environ)[1]):
        return None
    return _read(*found)


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the first of the variables that is set, and its value."""
    return next(((name, environ[name].strip()) for name in names if name in environ), ("", ""))


def _named(scheme: str, host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that counts for a scheme, and its value; else what the operating system is set to."""
    names = [f"{scheme}_proxy"]
    if scheme != "http" or "REQUEST_METHOD" not in environ:
        names.append(f"{scheme.upper()}_PROXY")
    variable, value = _first((*names, "all_proxy", "ALL_PROXY"), environ)
    if variable:
        return variable, value
    system = getproxies().get(scheme)
    return None if system is None or proxy_bypass(host) else ("the system's setting", system)


def _exempt(host: str, port: int, listed: str) -> bool:
    return any(_matches(entry, host, port) for entry in re.split(r"[,\s]+", listed) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of ``NO_PROXY`` means this host and port."""
    if entry == "*":
        return True
    found = _ENTRY.fullmatch(entry)
    assert found is not None  # noqa: S101 - the last alternative takes everything
    wanted = found["six_port"] or found["port"]
    if wanted and int(wanted) != port:
        return False
    name = found["six"] or found["host"] or found["plain"] or ""
    address = _address(host)
    if address is not None:
        try:
            return address in ip_network(name, strict=False)
        except ValueError:
            return False
    name = _ascii(name.removeprefix("*").strip("."))
    return bool(name) and f".{_ascii(host)}".endswith(f".{name}")


def _read(variable: str, value: str) -> Proxy:
    """Return the proxy that a variable's value is the URL of; a host and port alone are one of http."""
    shown = value.rpartition("@")[2]
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme.startswith("socks"):
        raise SettingsError(
            f"{variable} names a SOCKS proxy ({parts.scheme}://{shown.partition('://')[2] or shown}), and only HTTP "
            "proxies can be used. Name one in HTTPS_PROXY, or exempt the host in NO_PROXY."
        )
    if not host or parts.scheme not in _PORTS or " " in parts.netloc or not parts.netloc.isprintable():
        raise SettingsError(
            f"{variable} is not the URL of a proxy: {shown!r}. It should be like http://host:3128, or empty for none."
        )
    bracketed = f"[{host}]" if ":" in host else host
    return Proxy(
        f"{parts.scheme}://{bracketed}:{port or _PORTS[parts.scheme]}",
        variable,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _ascii(name: str) -> str:
    """Return a name as DNS has it, so that both ways to write one are the same."""
    try:
        return name.lower().encode("idna").decode()
    except UnicodeError:
        return name.lower()
