"""What a person sees while an answer is written, in a real browser: nothing lost, repeated or falsely complete."""

from __future__ import annotations

import random
import re
import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .page import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    from .conftest import NewPage

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser


def test_tokens_appear_in_order(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    seen = []
    for word in range(10, 160, 10):
        page.has_written(f"word{word}")
        seen.append(page.text)
    page.is_whole(WORDS)
    assert all(WORDS.startswith(text) for text in seen)
    assert len(set(seen)) > 5, "the answer came in one piece"


def test_a_reload_at_any_moment_loses_and_repeats_nothing(serve: Serve, new_page: NewPage) -> None:
    text = " ".join(f"word{number}" for number in range(1, 301))
    page = new_page(serve(echo_rate=25).url)
    page.ask(text)
    moments = sorted(random.sample(range(2, 290), 20))
    for word in moments:
        page.has_written(f"word{word}")
        before = page.text
        page.reload()
        # What was there is there again at once, not typed anew.
        page.has_written(f"word{word}")
        after = page.text
        assert text.startswith(before), moments
        assert text.startswith(after), moments
    page.is_whole(text)
    assert len(page.posts) == 1, "a reload must never ask again"


def test_stop_keeps_what_is_written(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    page.has_written("word20")
    page.tab.keyboard.press("Escape")
    expect(page.state).to_contain_text("Stopped by you.")
    page.is_over()
    stopped = page.text
    assert WORDS.startswith(stopped)
    assert "word20" in stopped
    assert "word150" not in stopped
    page.reload()
    expect(page.state).to_contain_text("Stopped by you.")
    assert page.text == stopped


def test_what_has_to_wait_for_an_answer_says_so(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    page.has_written("word3")
    page.tab.get_by_role("button", name="Edit").click()
    expect(page.tab.get_by_text("One answer at a time.")).to_be_visible()
    expect(page.tab.locator("#question")).to_have_value("")
    page.is_whole(WORDS)


def test_stop_before_the_first_word(serve: Serve, new_page: NewPage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        upstream = f"--upstream=http://127.0.0.1:{silent.getsockname()[1]}/v1"
        page = new_page(serve(upstream, "--model=silent", provider="openai").url)
        page.ask("slow question")
        expect(page.state).to_contain_text(re.compile(r"Thinking, [12] s"))
        page.tab.get_by_role("button", name="Stop").click()
        expect(page.state).to_contain_text("Stopped by you before the first word.")
        page.is_over()


def test_eventsource_reads_the_same_answer_and_survives_a_reload(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.choose(transport="eventsource")
    page.ask(WORDS)
    page.has_written("word30")
    page.reload()
    page.is_whole(WORDS)
    assert [request for request in page.requests if request.resource_type == "eventsource"]
    assert len(page.posts) == 1


def test_the_transport_can_be_switched_in_the_middle(serve: Serve, new_page: NewPage) -> None:
    page = new_page(serve(echo_rate=20).url)
    page.tab.get_by_role("button", name="The wire").click()
    text = " ".join(WORDS.split()[:100])
    page.ask(text)
    for word, transport in ((10, "EventSource"), (30, "fetch")):
        page.has_written(f"word{word}")
        page.tab.locator("#wire .choice").get_by_text(transport).click()
    page.is_whole(text)
    assert len(page.posts) == 1
    expect(page.tab.locator("#wire-events .reconnect")).to_have_count(2)
    expect(page.tab.locator("#wire-events .end")).to_have_count(1)
