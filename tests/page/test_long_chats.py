"""A chat of a hundred questions: it stands on the page from its end up to where someone looks."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.conversations import tell, tree
from support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator

    from conftest import Serve

    from .conftest import NewPage
    from .page import Page

pytestmark = pytest.mark.browser

TURNS = 100
AT_ONCE = 60 + 20
"""Messages on the page at most, while nobody scrolls up."""


def said(number: int) -> str:
    return f"Number {number:03}."


@pytest.fixture(scope="module")
def long_chat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Make a chat with that many answers once; return the data that holds it, and its id."""
    data = tmp_path_factory.mktemp("long")
    with Server(data) as server:
        where: dict[str, str] = {}
        for number in range(TURNS):
            onto = (
                {"parent_message_id": where["message_id"], "conversation_id": where["conversation_id"]} if where else {}
            )
            where = tell(server.url, said(number), **onto)
        assert server.terminate() == -signal.SIGTERM
    return data, where["conversation_id"]


@pytest.fixture
def page(long_chat: tuple[Path, str], tmp_path: Path, serve: Serve, new_page: NewPage) -> Page:
    """A chat with that many answers, of the test's own; the test may have its own conditions awaited."""
    data, chat = long_chat
    shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock"))
    opened = new_page(f"{serve().url}/c/{chat}", bypass_csp=True, viewport={"width": 1280, "height": 600})
    opened.is_whole(said(TURNS - 1))
    return opened


def messages(page: Page) -> Locator:
    return page.tab.locator("#log > article")


def numbers(page: Page) -> list[int]:
    """What the questions on the page say, from top to bottom."""
    texts = page.tab.locator(".question-text").all_inner_texts()
    return [int(text.removeprefix("Number ").removesuffix(".")) for text in texts]


def is_at_its_end(page: Page) -> None:
    """Wait until the newest line is in view, which is so with the next frame."""
    rest = "((e) => e.scrollHeight - e.scrollTop - e.clientHeight)(document.querySelector('#scroller'))"
    page.tab.wait_for_function(f"{rest} <= 2")


def found(page: Page) -> str:
    """What is set off on the page, which has to be in view."""
    return page.tab.evaluate("""() => {
      const [range] = CSS.highlights.get('search') ?? [];
      if (!range) return '';
      const { left, top, width, height } = range.getBoundingClientRect();
      const there = document.elementFromPoint(left + width / 2, top + height / 2);
      const { commonAncestorContainer: node } = range;
      return (node.nodeType === 3 ? node.parentElement : node).contains(there) ? range.toString() : '';
    }""")


def told(url: str, role: str) -> dict[str, str]:
    """What someone said in the chat that is there, and the message's id."""
    origin, chat = url.split("/c/")
    given = [node["message"] for node in tree(origin, chat)["mapping"].values() if node["message"]]
    return {"".join(one["content"]["parts"]): one["id"] for one in given if one["author"]["role"] == role}


def to_the_top(page: Page) -> None:
    """Scroll up until there is no more above."""
    scroller, earlier = page.tab.locator("#scroller"), page.tab.locator("#earlier")
    scroller.hover()
    while earlier.is_visible():
        before = messages(page).count()
        page.tab.mouse.wheel(0, -20_000)
        page.tab.wait_for_function(
            "(before) => document.querySelectorAll('#log > article').length > before"
            " || document.querySelector('#earlier').hidden",
            arg=before,
        )


def test_a_long_chat_opens_at_its_end_with_what_is_near(page: Page) -> None:
    assert messages(page).count() <= AT_ONCE
    shown = numbers(page)
    assert shown == list(range(shown[0], TURNS))
    is_at_its_end(page)


def test_earlier_messages_come_when_one_scrolls_up_and_what_is_read_stays_where_it_is(page: Page) -> None:
    first = page.tab.locator(".question-text").first
    said = first.inner_text()
    page.tab.evaluate(
        """(said) => {
          const find = () => [...document.querySelectorAll('.question-text')].find((one) => one.innerText === said);
          const [scroller, log] = [document.querySelector('#scroller'), document.querySelector('#log')];
          find().scrollIntoView();
          const top = find().getBoundingClientRect().top;
          new MutationObserver(() => {
            window.announced = log.ariaLive !== 'off';
            requestAnimationFrame(() => (window.moved = find().getBoundingClientRect().top - top));
          }).observe(log, { childList: true });
        }""",
        said,
    )
    page.tab.wait_for_function("'moved' in window")
    assert abs(page.tab.evaluate("moved")) <= 1
    assert page.tab.evaluate("announced") is False, "a screen reader would read out what is old"
    to_the_top(page)
    assert numbers(page) == list(range(TURNS))
    expect(page.tab.locator("#log[aria-live]")).to_have_count(0)


def test_earlier_messages_come_with_the_button_too(page: Page) -> None:
    before = numbers(page)[0]
    earlier = page.tab.get_by_role("button", name="Earlier messages")
    earlier.evaluate("(button) => button.click()")  # nobody reaches it with a mouse before they have come by themselves
    assert numbers(page)[0] == before - 10
    earlier.focus()
    while earlier.is_visible():
        page.tab.keyboard.press("Enter")
    expect(messages(page).first).to_be_focused()


def test_what_is_far_above_is_let_go_when_the_chat_goes_on(page: Page, new_page: NewPage) -> None:
    to_the_top(page)
    assert messages(page).count() == 2 * TURNS
    page.tab.get_by_role("button", name="Newest").click()
    other = new_page(page.url, beside=page)
    other.is_whole(said(TURNS - 1))
    for number in range(TURNS, TURNS + 11):
        other.ask(said(number))
        other.is_whole(said(number))
    page.is_whole(said(TURNS + 10))
    for tab in (page, other):
        assert messages(tab).count() <= AT_ONCE
        assert numbers(tab)[-1] == TURNS + 10
        tab.tab.bring_to_front()  # behind another one it draws no frames
        is_at_its_end(tab)


def test_who_reads_far_above_keeps_it_while_the_chat_goes_on(page: Page, new_page: NewPage) -> None:
    to_the_top(page)
    page.tab.locator("#scroller").evaluate("(e) => e.scrollTo(0, 0)")
    other = new_page(page.url, beside=page)
    other.is_over()
    other.ask(said(700))
    other.is_whole(said(700))
    expect(page.tab.locator(".question-text").last).to_have_text(said(700))
    assert numbers(page)[0] == 0
    assert page.tab.locator("#scroller").evaluate("(e) => e.scrollTop") == 0


@pytest.mark.parametrize("after", [said(5), None], ids=["within it", "at its beginning"])
def test_what_is_turned_to_far_above_comes_where_the_other_was(page: Page, after: str | None) -> None:
    to_the_top(page)
    onto = told(page.url, "assistant")[after] if after else None
    tell(page.origin, "Short.", conversation_id=page.url.rpartition("/")[2], parent_message_id=onto)
    expect(page.tab.locator(".question-text").last).to_have_text("Short.")
    page.is_whole("Short.")
    back, forth = (page.tab.locator(f".question [aria-label='{name}']") for name in ("The one before", "The next one"))
    place = back.bounding_box()
    back.click()
    expect(messages(page)).to_have_count(2 * TURNS)
    assert numbers(page) == list(range(TURNS))
    assert place == back.bounding_box()
    expect(forth).to_be_focused()
    place = forth.bounding_box()
    page.tab.keyboard.press("Enter")
    page.is_whole("Short.")
    back.focus()
    page.tab.keyboard.press("Enter")
    expect(messages(page)).to_have_count(2 * TURNS)
    assert place == forth.bounding_box()
    expect(page.tab.get_by_role("button", name="Newest")).to_be_visible()


def test_on_paper_a_long_chat_is_whole(page: Page) -> None:
    page.tab.pdf()
    assert numbers(page)[0] == 0
    assert page.tab.locator("#earlier").is_hidden()


def test_a_search_leads_to_the_message_that_it_found(page: Page) -> None:
    page.tab.keyboard.press("Control+k")
    page.tab.keyboard.type("007.")
    expect(page.chats.locator("li mark").first).to_have_text("007.")
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_function("CSS.highlights.has('search')")
    assert found(page) == "007."
    article = page.tab.locator("article:focus")
    expect(article).to_contain_text(said(7))
    # The chat may go on elsewhere: what is read stays, and stays set off.
    tell(page.origin, said(TURNS), conversation_id=page.url.rpartition("/")[2])
    expect(page.tab.locator(".question-text").last).to_have_text(said(TURNS))
    assert found(page) == "007."
    # The same from another chat, by going back, and by the address.
    address = page.tab.url
    page.chats.get_by_role("button", name="New chat", exact=True).click()
    expect(messages(page)).to_have_count(0)
    assert not page.tab.evaluate("CSS.highlights.has('search')")
    page.tab.go_back()
    page.tab.wait_for_function("CSS.highlights.has('search')")
    assert found(page) == "007."
    page.tab.goto("about:blank")
    page.tab.goto(address)
    expect(article).to_contain_text(said(7))
    expect(article).to_be_in_viewport()
    # Whoever goes on asking is at the end again, and stays there.
    page.ask(said(101))
    page.is_whole(said(101))
    is_at_its_end(page)
    assert page.tab.url == address.partition("#")[0]


def test_a_search_leads_to_a_branch_that_is_not_shown(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("Something about penguins")
    page.is_whole("Something about penguins")
    page.tab.get_by_role("button", name="Edit").click()
    page.tab.locator("#question").fill("Something about walruses")
    page.tab.locator("#question").press("Enter")
    page.is_whole("Something about walruses")
    page.chats.get_by_label("Search chats").fill("penguins")
    expect(page.chats.locator("li mark")).to_have_text("penguins")
    page.tab.keyboard.press("Enter")
    page.is_whole("Something about penguins")
    assert found(page) == "penguins"


def test_the_list_keeps_the_focus_when_a_search_finds_another_message_of_the_same_chat(page: Page) -> None:
    page.chats.get_by_label("Search chats").fill("Number")
    link = page.chats.locator(f"li a[href^='/c/{page.url.rpartition('/')[2]}']")
    expect(link.locator("mark")).to_be_visible()
    link.focus()
    tell(page.origin, said(800), conversation_id=page.url.rpartition("/")[2])
    expect(link).to_contain_text(said(800))
    expect(link).to_be_focused()


LINES = [f"line_{number} = call({number})" for number in range(200)]
LONG = {
    "code": "```python\n" + "\n".join([*LINES, "self.zebra(1)", *LINES]) + "\n```",
    "a paragraph": "  \n".join([*LINES[:20], "self.zebra(1)", *LINES]),
    "a long line": f"```\n{'wide ' * 200} self.zebra(1) {'wide ' * 200}\n```",
    "a wide table": f"| a | b |\n|---|---|\n| {'wide ' * 10} {'wide' * 90} | self.zebra(1) |",
}


@pytest.mark.parametrize("where", LONG)
def test_what_a_search_found_is_in_view_wherever_it_stands(echo_server: Server, new_page: NewPage, where: str) -> None:
    chat = tell(echo_server.url, LONG[where])["conversation_id"]
    page = new_page(f"{echo_server.url}/c/{chat}", bypass_csp=True)
    page.is_over()
    page.chats.get_by_label("Search chats").fill("self.zebra(1)")
    link = page.chats.locator("li a:has(mark)").first
    expect(link.locator("mark")).to_have_text("self.zebra(1)")
    for role, name in (("user", "Question"), ("assistant", "Answer")):
        page.tab.evaluate("(id) => location.hash = id", told(page.url, role)[LONG[where]])
        expect(page.tab.get_by_role("article", name=name)).to_be_focused()
        if where == "code" and name == "Answer":
            page.tab.locator(".t-keyword").first.wait_for()
        assert found(page) == "self.zebra(1)"
