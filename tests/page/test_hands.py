"""What a person does and sees without a mouse, without sight, in the dark, from right to left, on paper."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .model import STOP, tool
from .page import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    from .conftest import NewPage
    from .model import Model
    from .page import Page

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser

RICH = """# A title

Text with `code`, a [link](https://example.org) and \\(E = mc^2\\).

| Fruit | Colour |
|---|---|
| Lemon | yellow |

- [x] done
- [ ] open

```python
def f(x):  # a comment
    return "text"
```

> A quotation.
"""

BAD = ("serious", "critical")


def is_accessible(page: Page) -> None:
    """Axe finds nothing serious on the page as it stands."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page.tab, options={"resultTypes": ["violations"]}).response["violations"]
    serious = {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in found if one["impact"] in BAD}
    assert serious == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(serve: Serve, model: Model, new_page: NewPage, scheme: str) -> None:
    goes_on = threading.Event()
    model.answers["rich"] = [{"delta": {"reasoning_content": "Let me see."}}, RICH, goes_on, STOP]
    model.answers["tool"] = [tool("weather", '{"city": "Rome"}'), {"finish_reason": "tool_calls"}]
    model.answers["cut"] = ["Half of"]
    page = new_page(
        serve(f"--upstream={model.url}", provider="openai").url, color_scheme=scheme, reduced_motion="reduce"
    )
    expect(page.tab.get_by_label("Model")).to_have_value("scripted")
    is_accessible(page)
    page.ask("rich")
    expect(page.answer).to_contain_text("A quotation.")
    is_accessible(page)
    goes_on.set()
    page.is_over()
    page.ask("tool")
    expect(page.state).to_contain_text("The model asks for a tool to be run.")
    expect(page.tab.locator(".calls").last).to_contain_text("weather")
    page.ask("cut")
    expect(page.state).to_contain_text("The model stopped before it was done.")
    page.tab.get_by_role("button", name="The wire").click()
    expect(page.tab.locator("#wire-events .broken")).to_be_visible()
    is_accessible(page)
    page.tab.get_by_role("button", name="This chat").click()
    expect(page.tab.get_by_label("Title")).to_be_enabled()
    is_accessible(page)
    page.tab.keyboard.press("Escape")
    page.tab.get_by_role("button", name="Settings").click()
    is_accessible(page)


def test_everything_is_done_with_the_keyboard_alone(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    keys = page.tab.keyboard
    keys.type("keyboard " + WORDS)
    keys.press("Enter")
    page.has_written("word10")
    keys.press("Escape")
    expect(page.state).to_contain_text("Stopped by you.")
    press_until(page, "Shift+Tab", "Continue")
    keys.press("Enter")
    page.is_whole("keyboard " + WORDS)
    keys.press("Control+k")
    keys.type("keyboard")
    expect(page.chats.locator("mark")).to_have_text("keyboard")
    keys.press("ArrowDown")
    expect(page.chats.locator("li a").first).to_be_focused()
    press_until(page, "Tab", "Delete “keyboard")
    keys.press("Enter")
    expect(page.tab.locator("#welcome")).to_be_visible()
    press_until(page, "Tab", "Undo")
    keys.press("Enter")
    page.is_whole("keyboard " + WORDS)
    press_until(page, "Tab", "The wire")
    keys.press("Enter")
    expect(page.tab.locator("#wire")).to_be_focused()
    keys.press("Escape")
    expect(page.tab.locator("#wire")).to_be_hidden()
    expect(page.tab.locator("#activity")).to_be_focused()
    ring = page.tab.locator("#activity").evaluate(
        "(e) => getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth"
    )
    assert ring == "solid2px", "the focus can be seen"


def press_until(page: Page, key: str, name: str) -> None:
    """Press a key until what has the focus is called so; all that can have it is passed at most once."""
    said = "document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent"
    for _ in range(60):
        page.tab.keyboard.press(key)
        if (page.tab.evaluate(said) or "").startswith(name):
            return
    raise AssertionError(f"{key} does not lead to {name}")


def test_a_screen_reader_is_told_the_state_and_not_every_word(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    log, status = page.tab.get_by_role("log"), page.tab.locator("#status")
    page.ask(WORDS)
    expect(status).to_have_text("The answer is being written.")
    expect(log).to_have_attribute("aria-busy", "true")
    page.is_over()
    expect(status).to_have_text("The answer is complete.")
    expect(log).to_have_attribute("aria-busy", "false")


def test_text_from_right_to_left_is_set_from_right_to_left(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("مرحبا بالعالم\n\n- שלום עולם\n\nand English\n\n```\ncode()\n```")
    page.is_over()
    side = "(e) => getComputedStyle(e).direction"
    assert page.tab.locator(".question-text").evaluate(side) == "rtl"
    assert page.answer.locator("p").first.evaluate(side) == "rtl"
    assert page.answer.locator("li p, li").last.evaluate(side) == "rtl"
    assert page.answer.locator("p", has_text="and English").evaluate(side) == "ltr"
    assert page.answer.locator("pre").evaluate(side) == "ltr"


def test_a_model_that_thinks_is_watched_and_then_folded(serve: Serve, model: Model, new_page: NewPage) -> None:
    thought, written = threading.Event(), threading.Event()
    thinks = {"delta": {"reasoning_content": "First I think about it."}}
    model.answers["riddle"] = [thinks, thought, "The answer.", written, STOP]
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    page.ask("riddle")
    fold = page.tab.locator("details.reasoning")
    expect(fold).to_have_attribute("open", "")
    expect(fold).to_contain_text("First I think about it.")
    expect(fold.locator("summary")).to_contain_text("Thinking")
    thought.set()
    expect(page.answer).to_contain_text("The answer.")
    expect(fold).not_to_have_attribute("open", "")
    expect(fold.locator("summary")).to_contain_text("Thought for")
    written.set()
    page.is_whole("The answer.")
    page.reload()
    page.is_whole("The answer.")
    fold.locator("summary").click()
    expect(fold).to_contain_text("First I think about it.")


def test_on_paper_there_is_the_conversation_and_nothing_else(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask("Print this, please.")
    page.is_whole("Print this, please.")
    page.tab.emulate_media(media="print")
    for hidden in ("#sidebar", "footer", "header", ".tools"):
        expect(page.tab.locator(hidden).first).to_be_hidden()
    expect(page.answer).to_be_visible()


def test_long_text_that_is_pasted_grows_the_field_to_a_third_of_the_window(
    echo_server: Server, new_page: NewPage
) -> None:
    view = {"width": 800, "height": 600}
    page = new_page(echo_server.url, viewport=view, permissions=["clipboard-read", "clipboard-write"])
    field = page.tab.locator("#question")
    height = "(e) => e.getBoundingClientRect().height"
    before = field.evaluate(height)
    page.tab.evaluate("navigator.clipboard.writeText('line\\n'.repeat(2000))")
    field.press("Control+v")
    expect(field).to_have_value("line\n" * 2000)
    assert before < field.evaluate(height) <= 200
    page.tab.reload()
    expect(field).to_have_value("line\n" * 2000)
