"""The page's files, read once, served from memory.

All assets live under ``/assets/<hash of the folder>/`` and never change there; only ``/`` is asked for again. The page
may load nothing but its own scripts and styles, talk to nobody else, and make no HTML out of strings; the one string
that may become a script's address is that of its worker, which keeps the page for reading without a server.

The files are written for people: half of a module is comments and types. They are left out of what is served, as are
indentations. No line of code is changed: tests run the modules' own tests on what is served.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from tickertape.asgi.requests import header, url_of
from tickertape.asgi.responses import Headers, reply

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from tickertape.asgi.types import Message, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types tickertape"
)
_ASSET_POLICY = "default-src 'none'; sandbox"
_WORKER = "service-worker.js"
_WORKER_POLICY = "default-src 'none'; connect-src 'self'"

_PAGES = 16
"""Paths for which the page is kept made; a server has one or two."""

_COMMENTS = {
    "js": (
        (r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n", re.DOTALL | re.MULTILINE),  # a block of its own
        (r"/\*\* [^*\n]*\*/ ?", 0),  # a type before an expression
        (r"^[ \t]*//.*\n", re.MULTILINE),
        (r"[ \t]+// [^'\"`\n]*$", re.MULTILINE),  # after code; not within a string, whose end would follow
    ),
    "css": ((r"/\*.*?\*/", re.DOTALL),),
    "html": ((r"<!--.*?-->", re.DOTALL),),
}

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "webmanifest": b"application/manifest+json",
    "json": b"application/json",
    "txt": b"text/plain; charset=utf-8",
}


class Asset(NamedTuple):
    """A file's bytes, as they are and compressed, and its headers."""

    body: bytes
    compressed: bytes
    headers: Headers


class Assets:
    """The folder ``page`` of this package.

    ``index`` is its page, ``files`` everything else by name, as served; ``hash`` names this version of them.
    """

    def __init__(self) -> None:
        contents = {path: file.read_bytes() for path, file in _walk(files("tickertape") / "page", "")}
        digest = hashlib.sha256()
        for path in sorted(contents):
            digest.update(f"{path}\0{len(contents[path])}\0".encode() + contents[path])
        self.hash = digest.hexdigest()[:12]
        index = contents.pop("index.html").replace(b"HASH", self.hash.encode())
        self.index = _asset("index.html", index, b"no-cache", POLICY)
        self._pages = {"": self.index}  # by the path below which they are
        self.files = {
            path: _asset(path, body, b"public, max-age=31536000, immutable", _ASSET_POLICY)
            for path, body in contents.items()
        }

    def page(self, root_path: str) -> Asset:
        """Return the page with the addresses of its files below this path."""
        found = self._pages.get(root_path)
        if found is None:
            body = self.index.body.replace(b'="/', f'="{root_path}/'.encode())
            found = _asset("index.html", body, b"no-cache", POLICY)
            if len(self._pages) < _PAGES:
                self._pages[root_path] = found
        return found

    async def serve_page(self, scope: Message, send: Send) -> None:
        """Answer ``GET /``."""
        root_path = scope.get("root_path", "")
        etag = f'"{self.hash}{root_path}"'
        if header(scope, b"if-none-match") == etag:
            await reply(send, 304, b"", [(b"etag", etag.encode())])
        else:
            await _reply(scope, send, self.page(root_path), [(b"etag", etag.encode())])

    async def serve_file(self, scope: Message, send: Send, path: str) -> bool:
        """Answer ``GET /assets/<hash>/<path>``; say whether there is such a file."""
        folder, _slash, name = path.partition("/")
        asset = self.files.get(name)
        if asset is None or folder != self.hash:
            return False
        headers = [(b"service-worker-allowed", url_of(scope, "/").encode())] if name == _WORKER else []
        await _reply(scope, send, asset, headers)
        return True


async def _reply(scope: Message, send: Send, asset: Asset, headers: Headers) -> None:
    if "gzip" in (header(scope, b"accept-encoding") or ""):
        await reply(send, 200, asset.compressed, [*asset.headers, (b"content-encoding", b"gzip"), *headers])
    else:
        await reply(send, 200, asset.body, [*asset.headers, *headers])


def _asset(path: str, source: bytes, cache: bytes, policy: str) -> Asset:
    kind = path.rpartition(".")[2]
    body = _without_comments(source.decode(), kind).encode() if kind in _COMMENTS else source
    policy = _WORKER_POLICY if path == _WORKER else policy
    headers = [
        (b"content-type", _TYPES.get(kind, b"application/octet-stream")),
        (b"cache-control", cache),
        (b"content-security-policy", policy.encode()),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"vary", b"accept-encoding"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if kind == "html":
        headers += [(b"cross-origin-opener-policy", b"same-origin"), (b"referrer-policy", b"no-referrer")]
    return Asset(body, gzip.compress(body, 9, mtime=0), headers)


def _without_comments(text: str, kind: str) -> str:
    for pattern, flags in _COMMENTS[kind]:
        text = re.sub(pattern, "", text, flags=flags)
    return re.sub(r"\n\s*", "\n", text)


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            found.append((prefix + entry.name, entry))
    return found
