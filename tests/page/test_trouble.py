"""What a person sees when something breaks: a line, a server, a storage. It is said, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Route, expect

from .line import Line
from .page import PACE, RUNNING, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    from .conftest import NewPage

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser


LOST = "The server restarted; this is what was written."

HALF = "ERR_CONTENT_LENGTH_MISMATCH"
"""What Chromium writes of a reply when its server is killed between the head and the body."""

OFFLINE = 10_000  # milliseconds, for which it is so: that is tried here, and no way to wait for something


def test_a_killed_server_leaves_its_partial_text_and_says_so(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=PACE)
    page = new_page(server.url)
    page.ask(WORDS)
    page.has_written("word40")
    with page.expects_console(HALF):
        server.kill()
        expect(page.state).to_contain_text("The connection dropped. Picking up where it left off.")
    server.restart()
    expect(page.state).to_contain_text(LOST, timeout=RUNNING)
    partial = page.text
    assert WORDS.startswith(partial)
    assert "word40" in partial
    page.reload()
    expect(page.state).to_contain_text(LOST)
    assert page.text == partial
    page.tab.get_by_role("button", name="Try again").click()
    page.is_whole(WORDS)


@pytest.mark.parametrize("transport", ["fetch", "eventsource"])
def test_a_line_that_is_cut_again_and_again(serve: Serve, new_page: NewPage, transport: str) -> None:
    with Line(serve(echo_rate=PACE / 2).port) as line:
        page = new_page(line.url)
        page.choose(transport=transport)
        page.ask(WORDS)
        for word in (10, 40):
            page.has_written(f"word{word}")
            line.cut()
            expect(page.state).to_contain_text("The connection dropped. Picking up where it left off.")
            assert WORDS.startswith(page.text)
            line.mend()
        page.is_whole(WORDS)
        assert len(page.posts) == 1


def test_offline_for_ten_seconds_and_back(paced_server: Server, new_page: NewPage) -> None:
    with Line(paced_server.port) as line:
        page = new_page(line.url)
        page.ask(WORDS)
        page.has_written("word20")
        page.context.set_offline(True)
        line.cut()  # Chromium's own switch leaves open connections open
        expect(page.state).to_contain_text("You are offline. The answer goes on without you")
        page.tab.wait_for_timeout(OFFLINE)
        expect(page.state).to_contain_text("You are offline. The answer goes on without you")
        line.mend()
        page.context.set_offline(False)
        page.is_whole(WORDS)
        assert len(page.posts) == 1


def test_a_post_cut_before_its_answer_never_asks_twice(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    begun: list[str] = []

    def cut_first(route: Route) -> None:
        if begun:
            route.continue_()
            return
        begun.append(route.fetch().headers["location"])  # the server has answered, but nobody hears of it
        route.abort("connectionreset")

    page.tab.route("**/backend-api/conversation", cut_first)
    with page.tab.expect_response(lambda response: response.url.endswith("/backend-api/conversation")) as second:
        page.ask(WORDS)
    page.is_whole(WORDS)
    assert second.value.headers["location"] == begun[0]
    assert len({request.headers["idempotency-key"] for request in page.posts}) == 1


def test_a_reload_before_the_answer_began_never_asks_twice(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    begun: list[str] = []

    def hold_first(route: Route) -> None:
        if begun:
            route.continue_()
        else:
            begun.append(route.fetch().headers["location"])  # and the page hears nothing

    page.tab.route("**/backend-api/conversation", hold_first)
    page.ask(WORDS)
    expect(page.state).to_contain_text("Thinking")
    while not begun:
        page.tab.evaluate("0")
    with page.tab.expect_response(lambda response: response.url.endswith("/backend-api/conversation")) as second:
        page.reload()
    page.is_whole(WORDS)
    assert second.value.headers["location"] == begun[0]


def test_a_question_that_cannot_be_sent_waits_and_is_sent_once(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=0)
    page = new_page(server.url)
    page.ask("hello")
    page.is_whole("hello")
    with page.expects_console(HALF):
        server.kill()
        page.ask(WORDS)
        expect(page.state).to_contain_text("The server does not answer. Trying again.")
    page.tab.get_by_role("button", name="Stop").click()
    expect(page.state).to_contain_text("This was not sent")
    server.restart()
    page.tab.get_by_role("button", name="Send again").click()
    page.is_whole(WORDS)


def test_a_question_to_a_server_that_is_gone_stays_in_its_field(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=0)
    page = new_page(server.url)
    expect(page.tab.locator("#model")).to_have_value("echo")
    with page.expects_console(HALF):
        server.kill()
        page.ask(WORDS)
        expect(page.tab.locator("#toast")).to_contain_text("What you have written is still here.")
    expect(page.tab.locator("#question")).to_have_value(WORDS)
    server.restart()
    page.tab.locator("#question").press("Enter")
    page.is_whole(WORDS)


def test_an_error_of_the_server_is_shown_as_it_is(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    refusal = {"error": {"message": "The model is too busy.", "type": "rate_limit_error", "code": None, "param": None}}
    page.tab.route("**/backend-api/conversation", lambda route: route.fulfill(status=422, json=refusal))
    with page.expects_console("422"):
        page.ask("hello")
        expect(page.state).to_contain_text("The answer failed. The model is too busy.")
    page.tab.unroute("**/backend-api/conversation")
    page.tab.get_by_role("button", name="Try again").click()
    page.is_whole("hello")


def test_a_server_with_a_key_asks_for_it(serve: Serve, new_page: NewPage) -> None:
    page = new_page(serve("--api-key=right key", echo_rate=0).url)
    dialog = page.tab.get_by_role("dialog", name="This server wants a key")
    dialog.get_by_label("Key").fill("wrong key")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog.get_by_role("alert")).not_to_be_empty()
    dialog.get_by_label("Key").fill("right key")
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_hidden()
    expect(page.tab.locator("#model")).to_have_value("echo")
    page.ask("hello")
    page.is_whole("hello")


def test_a_full_storage_does_not_stop_the_conversation(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.tab.evaluate(
        "() => (Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') })"
    )
    page.ask(WORDS)
    page.is_whole(WORDS)
    expect(page.tab.locator("#toast")).to_contain_text("This browser keeps no more copies")
    page.ask("second")
    page.is_whole("second")
    expect(page.tab.locator(".question")).to_have_count(2)


def test_what_was_read_can_be_read_without_the_server(serve: Serve, new_page: NewPage) -> None:
    server = serve()
    page = new_page(server.url, service_workers="allow")
    page.ask("Remember **this**")
    page.is_whole("Remember this")
    page.chats.get_by_role("button", name="New chat", exact=True).click()
    page.ask("And that")
    page.is_whole("And that")
    page.tab.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    page.tab.wait_for_function("caches.match('/').then(Boolean)")
    with page.tab.expect_response("**/backend-api/conversations?*"):
        page.reload()  # now the worker stands between
    page.is_whole("And that")
    with page.expects_console(HALF):
        server.kill()
        page.reload()
        page.is_whole("And that")
        expect(page.chats).to_contain_text("The server does not answer.")
    page.chats.locator("li a").last.click()
    page.is_whole("Remember this")
    page.chats.get_by_label("Search chats").fill("that")
    expect(page.chats.locator("li")).to_have_count(1)
    server.restart()
    page.reload()
    expect(page.chats.locator("li")).to_have_count(2)
    expect(page.chats).not_to_contain_text("The server does not answer.")
