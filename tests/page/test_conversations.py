"""Conversations as a person has them: found, renamed, deleted, branched, read in two places at once."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from support.conversations import tell, tree
from support.http import request

from .model import STOP
from .page import PACE, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import APIResponse, Route

    from support.server import Server

    from .conftest import NewPage
    from .model import Model
    from .page import Page

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser


class FirstReply:
    """The server's first reply that tells a conversation: it is made now, and comes later than those after it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._route: Route | None = None
        self._response: APIResponse | None = None
        page.tab.route("**/backend-api/conversation/*", self._hold)

    def _hold(self, route: Route) -> None:
        if self._route is not None:
            route.continue_()
        else:
            self._route = route
            self._response = route.fetch()

    def is_there(self) -> None:
        while self._response is None:
            self._page.tab.evaluate("0")

    def comes(self) -> None:
        assert self._route is not None
        self._route.fulfill(response=self._response)


def test_two_tabs_see_the_same_answer(paced_server: Server, new_page: NewPage) -> None:
    one = new_page(paced_server.url)
    one.ask(WORDS)
    one.has_written("word10")
    two = new_page(one.tab.url, beside=one)
    two.has_written("word30")
    assert WORDS.startswith(two.text)
    one.is_whole(WORDS)
    two.is_whole(WORDS)
    # A question asked in one is answered in both.
    two.ask("again " + WORDS)
    one.has_written("again")
    two.is_whole("again " + WORDS)
    one.is_whole("again " + WORDS)
    assert len(one.posts) + len(two.posts) == 2
    one.reload()
    expect(one.tab.locator(".question")).to_have_count(2)
    one.is_whole("again " + WORDS)


def test_two_tabs_that_ask_at_once_keep_both_questions(echo_server: Server, new_page: NewPage) -> None:
    one = new_page(echo_server.url)
    one.ask("first question")
    one.is_whole("first question")
    two = new_page(one.tab.url, beside=one)
    expect(two.answer).to_have_text("first question")
    held: list[Route] = []
    one.tab.route("**/backend-api/conversation", lambda route: held.append(route))
    one.ask("from one")
    while not held:
        one.tab.evaluate("0")
    two.ask("from two")  # neither knows of the other's
    held[0].continue_()
    for page in (one, two):
        page.is_over()
        expect(page.tab.locator(".question")).to_have_count(2)
        expect(page.tab.locator(".question .switcher")).to_contain_text("/2")
    texts = {message["content"]["parts"][0] for message in told(echo_server, one)}
    assert texts == {"first question", "from one", "from two"}


def test_what_was_read_before_an_answer_began_does_not_take_the_answer_away(
    echo_server: Server, new_page: NewPage
) -> None:
    page = new_page(echo_server.url)
    page.ask("first")
    page.is_whole("first")
    first = FirstReply(page)
    request(echo_server.url, "PATCH", f"/backend-api/conversation/{page.tab.url.rpartition('/')[2]}", {"title": "New"})
    first.is_there()
    page.ask("second")
    page.is_whole("second")
    first.comes()
    expect(page.tab).to_have_title("New · tickertape")
    page.is_whole("second")
    expect(page.tab.locator(".question")).to_have_count(2)


def test_a_late_reply_does_not_take_back_what_a_newer_one_said(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("first")
    page.is_whole("first")
    chat = page.tab.url.rpartition("/")[2]
    page.chats.get_by_role("button", name="New chat", exact=True).click()
    first = FirstReply(page)
    page.chats.locator(f"a[href='/c/{chat}']").click()
    first.is_there()
    request(echo_server.url, "PATCH", f"/backend-api/conversation/{chat}", {"title": "New"})
    expect(page.tab).to_have_title("New · tickertape")
    with page.tab.expect_response("**/backend-api/conversation/*"):
        first.comes()
    page.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.tab).to_have_title("New · tickertape")


def test_two_devices_see_the_same_answer_and_the_same_list(paced_server: Server, new_page: NewPage) -> None:
    one, two = new_page(paced_server.url), new_page(paced_server.url)
    one.ask("between two devices " + WORDS)
    expect(two.chats.locator("li a").first).to_contain_text("between two devices")
    two.chats.locator("li a").first.click()
    two.has_written("word40")
    one.is_whole("between two devices " + WORDS)
    two.is_whole("between two devices " + WORDS)
    two.ask("and back")
    one.is_whole("and back")
    expect(one.tab.locator(".question")).to_have_count(2)
    two.chats.locator("li").first.hover()
    two.chats.get_by_role("button", name="Delete “between").first.click()
    expect(one.tab.locator("#toast")).to_contain_text("This chat was deleted.")
    expect(one.tab.locator("#welcome")).to_be_visible()


def test_an_answer_is_gone_on_with_where_it_was_stopped(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    page.has_written("word20")
    page.tab.keyboard.press("Escape")
    expect(page.state).to_contain_text("Stopped by you.")
    stopped = page.text
    beyond = f"word{len(stopped.split()) + 5}"  # on a slow machine the stop comes late
    page.tab.get_by_role("button", name="Continue").click()
    page.has_written(beyond)
    page.reload()
    page.has_written(beyond)
    page.is_whole(WORDS)
    assert WORDS.startswith(stopped)
    assert len(page.posts) == 2
    expect(page.tab.locator(".answer")).to_have_count(1)


def test_a_model_that_cannot_go_on_says_so_and_leaves_what_was_written(
    serve: Serve, model: Model, new_page: NewPage
) -> None:
    model.answers["question"] = ["The first half", {"finish_reason": "length"}]
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    page.ask("question")
    expect(page.state).to_contain_text("The answer reached its length limit.")
    with page.expects_console("400"):
        page.tab.get_by_role("button", name="Continue").click()
        expect(page.tab.locator("#toast")).to_contain_text("cannot go on from a partial answer")
    expect(page.answer).to_have_text("The first half")
    expect(page.state).to_contain_text("The answer reached its length limit.")


def test_another_answer_stands_beside_the_first_and_is_there_after_a_reload(
    serve: Serve, model: Model, new_page: NewPage
) -> None:
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    for answer in ("one answer", "another answer"):
        model.answers["question"] = [answer, STOP]
        if page.posts:
            page.tab.get_by_role("button", name="Another answer").click()
        else:
            page.ask("question")
        page.is_whole(answer)
    switcher = page.tab.locator(".answer .switcher")
    expect(switcher).to_have_text("2/2")
    page.tab.get_by_role("button", name="The one before").click()
    page.is_whole("one answer")
    with page.tab.expect_response("**/backend-api/conversation/*"):
        page.reload()
    page.is_whole("one answer")
    expect(switcher).to_have_text("1/2")
    page.tab.get_by_role("button", name="The next one").click()
    page.is_whole("another answer")


def test_a_chat_is_found_by_its_text_renamed_and_opened_by_its_address(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("A question about penguins")
    page.is_whole("A question about penguins")
    address = page.tab.url
    page.chats.get_by_role("button", name="New chat", exact=True).click()
    page.ask("Something else")
    page.is_whole("Something else")
    page.tab.keyboard.press("Control+k")
    page.tab.keyboard.type("penguins")
    expect(page.chats.locator("li mark")).to_have_text("penguins")
    expect(page.chats.locator("li")).to_have_count(1)
    page.tab.keyboard.press("Enter")
    page.is_whole("A question about penguins")
    page.tab.keyboard.press("Control+k")
    page.tab.keyboard.press("Escape")
    page.chats.locator("li", has_text="penguins").hover()
    page.chats.get_by_role("button", name="Rename “A question about penguins”").click()
    page.tab.keyboard.type("Birds")
    page.tab.keyboard.press("Enter")
    expect(page.tab).to_have_title("Birds · tickertape")
    page.tab.goto(address)
    page.is_whole("A question about penguins")
    expect(page.chats.locator("[aria-current]")).to_have_text("Birds")
    page.chats.get_by_label("Search chats").fill("no such words")
    expect(page.chats).to_contain_text("Nothing found for “no such words”.")


def test_a_chat_has_a_system_prompt_and_a_model_of_its_own(serve: Serve, model: Model, new_page: NewPage) -> None:
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    page.tab.get_by_role("button", name="This chat").click()
    page.tab.get_by_label("System prompt").fill("Speak like a pirate.")
    page.tab.get_by_label("System prompt").blur()
    expect(page.tab.get_by_role("status").filter(has_text="Kept.")).to_be_visible()
    page.tab.keyboard.press("Escape")
    page.tab.get_by_label("Model").select_option("other")
    page.ask("question")
    page.is_whole("Hello")
    page.chats.get_by_role("button", name="New chat", exact=True).click()
    page.tab.get_by_label("Model").select_option("scripted")
    page.ask("question")
    page.is_whole("Hello")
    pirate = {"role": "system", "content": "Speak like a pirate."}
    question = {"role": "user", "content": "question"}
    assert model.asked == [[pirate, question], [question]]
    page.chats.locator("li a").last.click()
    expect(page.tab.get_by_label("Model")).to_have_value("other")


def test_a_chat_is_taken_home_as_a_file(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("Take **me** home")
    page.is_over()
    page.tab.get_by_role("button", name="This chat").click()
    for name, end in (("Markdown", ".md"), ("JSON", ".json")):
        with page.tab.expect_download() as download:
            page.tab.get_by_role("link", name=f"Export as {name}").click()
        assert download.value.suggested_filename.endswith(end)
        assert "Take **me** home" in download.value.path().read_text()


def test_an_address_of_a_chat_that_is_gone_says_so(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    with page.expects_console("404"):
        page.tab.goto(f"{echo_server.url}/c/{'0' * 24}")
        expect(page.tab.locator("#toast")).to_contain_text("There is no such chat here any more.")
    expect(page.tab.locator("#welcome")).to_be_visible()


HIDE = "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); " + (
    "document.dispatchEvent(new Event('visibilitychange')); }"
)


def test_the_request_can_be_asked_again_from_a_terminal(echo_server: Server, new_page: NewPage) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    page = new_page(echo_server.url, permissions=["clipboard-read", "clipboard-write"])
    page.ask("It's “quoted” $(twice) `and` \\ once")
    page.is_over()
    page.tab.get_by_role("button", name="The wire").click()
    page.tab.get_by_role("button", name="Copy as curl").click()
    expect(page.tab.locator("#wire-curl")).to_have_text("Copied")
    command = page.tab.evaluate("navigator.clipboard.readText()")
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert run.stdout.endswith("data: [DONE]\n\n"), run.stderr
    expect(page.tab.locator(".switcher").first).to_contain_text("2/2")
    expect(page.tab.locator(".question-text")).to_have_text("It's “quoted” $(twice) `and` \\ once")


def test_a_long_list_is_shown_in_parts_and_stays_open(serve: Serve, new_page: NewPage) -> None:
    server = serve()
    for number in range(60):
        tell(server.url, f"chat {number}")
    page = new_page(server.url)
    expect(page.chats.locator("li")).to_have_count(50)
    page.chats.get_by_role("button", name="Older chats").click()
    expect(page.chats.locator("li")).to_have_count(60)
    page.ask("one more")
    page.is_whole("one more")
    expect(page.chats.locator("li")).to_have_count(61)
    expect(page.chats.locator("li").last).to_contain_text("chat 0")


def test_a_visible_chat_takes_one_connection_and_a_hidden_idle_one_takes_none(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=PACE)
    page = new_page(server.url)
    has_readers(server, 1)
    page.ask(WORDS)
    page.has_written("word5")
    has_readers(server, 1)
    page.is_over()
    has_readers(server, 1)
    page.tab.evaluate(HIDE, True)
    has_readers(server, 0)
    page.tab.evaluate(HIDE, False)
    has_readers(server, 1)


def has_readers(server: Server, count: int) -> None:
    """Wait until this many streams are open; the test's timeout is the limit."""
    while b"\ntickertape_readers %d\n" % count not in request(server.url, "GET", "/metrics").body:
        pass


def told(server: Server, page: Page) -> list[dict[str, Any]]:
    """Return the messages of the chat that the page shows, as the server has them."""
    nodes = tree(server.url, page.tab.url.rpartition("/")[2])["mapping"].values()
    return [node["message"] for node in nodes if node["message"]]


def test_a_question_is_edited_with_the_keyboard_alone_and_both_versions_stay(
    echo_server: Server, new_page: NewPage
) -> None:
    page = new_page(echo_server.url)
    keys = page.tab.keyboard
    keys.type("first")
    keys.press("Shift+Enter")
    keys.type("line two")
    keys.press("Enter")
    page.is_over()
    expect(page.tab.locator(".question-text")).to_have_text("first\nline two")
    keys.press("ArrowUp")
    expect(page.tab.locator("#question")).to_have_value("first\nline two")
    page.ask("second")
    page.is_over()
    expect(page.answer).to_have_text("second")
    page.tab.get_by_role("button", name="The one before").click()
    expect(page.tab.locator(".question-text")).to_have_text("first\nline two")
    page.reload()
    expect(page.tab.locator(".question-text")).to_have_text("first\nline two")
    expect(page.tab.locator(".switcher").first).to_have_text("1/2")


def test_chats_are_listed_opened_and_deleted_with_a_way_back(serve: Serve, new_page: NewPage) -> None:
    page = new_page(serve().url)
    chats = page.tab.get_by_role("navigation", name="Chats")
    for text in ("first chat", "second chat"):
        chats.get_by_role("button", name="New chat", exact=True).click()
        expect(page.tab.locator("#welcome")).to_be_visible()
        page.ask(text)
        page.is_whole(text)
    expect(chats.locator("li a")).to_have_text(["second chat", "first chat"])
    chats.get_by_text("first chat").click()
    page.is_whole("first chat")
    page.tab.go_back()
    page.is_whole("second chat")
    chats.get_by_text("first chat").hover()
    chats.get_by_role("button", name="Delete “first chat”").click()
    expect(chats.locator("li a")).to_have_text(["second chat"])
    page.tab.get_by_role("button", name="Undo").click()
    page.is_whole("first chat")
    expect(chats.locator("li a")).to_have_count(2)


def test_a_chat_that_a_program_began_under_a_uuid_is_opened_by_its_address(
    echo_server: Server, new_page: NewPage
) -> None:
    where = tell(echo_server.url, "From a program", conversation_id=str(uuid.uuid4()))
    page = new_page(f"{echo_server.url}/c/{where['conversation_id']}")
    page.is_whole("From a program")
    page.ask("From the page")
    page.is_whole("From the page")
    assert page.tab.url.endswith(where["conversation_id"])
