"""The page's files."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from support.http import request

if TYPE_CHECKING:
    from support.server import Server


def test_the_page_may_load_nothing_but_its_own(echo_server: Server) -> None:
    page = request(echo_server.url, "GET", "/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    assert b"HASH" not in page.body
    assert not re.search(rb"<script(?![^>]*\ssrc=)", page.body), "an inline script"
    assert not re.search(rb"\son\w+=|\sstyle=|<style", page.body), "an inline handler or style"
    assert not re.search(rb"(?:src|href)=\"(?:https?:)?//", page.body), "something from elsewhere"


def test_every_asset_that_the_page_names_is_there_for_ever(echo_server: Server) -> None:
    page = request(echo_server.url, "GET", "/").body.decode()
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
    assert len(named) >= 2
    for path in named:
        asset = request(echo_server.url, "GET", path)
        assert asset.status == 200
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["x-content-type-options"] == "nosniff"
    assert request(echo_server.url, "GET", "/assets/0123/app.js").status == 404
    for path in ("..%2f..%2fpyproject.toml", "../server/app.py", "%2e%2e/errors.py"):
        assert request(echo_server.url, "GET", f"/assets/{path}").status == 404


def test_assets_are_compressed_for_who_can_read_that(echo_server: Server) -> None:
    plain = request(echo_server.url, "GET", "/")
    packed = request(echo_server.url, "GET", "/", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


def test_an_unchanged_page_is_not_sent_again(echo_server: Server) -> None:
    etag = request(echo_server.url, "GET", "/").headers["etag"]
    again = request(echo_server.url, "GET", "/", headers={"If-None-Match": etag})
    assert (again.status, again.body) == (304, b"")
    assert "content-length" not in again.headers, "it would be that of the page"


def test_head_says_what_get_would(echo_server: Server) -> None:
    head, get = request(echo_server.url, "HEAD", "/"), request(echo_server.url, "GET", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
