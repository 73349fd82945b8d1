"""The page below a path, and with an upstream that refuses its key: as a person sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.in_process import InProcess
from tickertape.providers.echo import Echo
from tickertape.providers.openai import OpenAI
from tickertape.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .page import Page

pytestmark = pytest.mark.browser


def test_below_a_path_the_page_asks_goes_back_reloads_and_signs_in(
    new_page: Callable[..., Page], tmp_path: Path
) -> None:
    with InProcess(tmp_path, Echo(0), root_path="/chat", api_keys=("secret",)) as server:
        page = new_page(f"{server.url}/chat/", service_workers="allow")
        page.tab.locator("#login-key").fill("secret")
        page.tab.keyboard.press("Enter")
        page.tab.locator("#login").wait_for(state="hidden")
        page.ask("one two three")
        page.tab.wait_for_url(f"{server.url}/chat/c/*")
        page.tab.locator(".answer", has_text="one two three").wait_for()
        assert all(request.url.startswith(f"{server.url}/chat/") for request in page.requests)
        page.tab.reload()
        page.tab.locator(".answer", has_text="one two three").wait_for()
        scope = page.tab.evaluate("navigator.serviceWorker.ready.then(({ scope }) => scope)")
        assert scope == f"{server.url}/chat/"
        page.tab.locator("a.name").first.click()
        page.tab.wait_for_url(f"{server.url}/chat/")
        page.tab.go_back()
        page.tab.wait_for_url(f"{server.url}/chat/c/*")
        page.tab.locator(".answer", has_text="one two three").wait_for()


def test_an_upstream_that_refuses_its_key_is_told_and_nobody_is_asked_for_one(
    new_page: Callable[..., Page], tmp_path: Path
) -> None:
    with Upstream() as upstream:
        provider = OpenAI(upstream.url("openai"), "sk-x", models=["bad-key"])
        with InProcess(tmp_path, provider) as server:
            page = new_page(server.url)
            page.ask("hi")
            page.tab.get_by_text("refused the API key").first.wait_for()
            assert not page.tab.locator("#login").is_visible()
