"""What stands beside an answer's text on the page: images, sources, a refusal, calls, tools that the provider ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .model import STOP, tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    from .conftest import NewPage
    from .model import Model
    from .page import Page

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
REMOTE = "https://example.org/remote.png"
REFUSAL = "I cannot show the rest."


def image(url: str) -> dict[str, object]:
    """Return a step that sends an image."""
    return {"delta": {"images": [{"type": "image_url", "image_url": {"url": url}}]}}


def source(url: str, title: str) -> dict[str, object]:
    """Return a step that cites a page."""
    cited = {"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": 0, "end_index": 4}}
    return {"delta": {"annotations": [cited]}}


STEPS = [
    "Here is a picture of a cat, and where it comes from.",
    image(f"data:image/png;base64,{PNG}"),
    image(REMOTE),
    image("javascript:alert(1)"),
    source("https://example.org/cats", "Cats of the world"),
    source("http://example.org/untitled", ""),
    source("javascript:alert(1)", "A hostile source"),
    tool("look_up", '{"animal": "cat"}'),
    {"delta": {"refusal": f"\n\n{REFUSAL}"}},
    STOP,
]


def is_shown(page: Page) -> None:
    """See what a person sees."""
    answer = page.tab.locator(".answer").last
    expect(answer.locator(".prose")).to_contain_text("Here is a picture of a cat")
    expect(answer.locator(".prose")).to_contain_text(REFUSAL)
    picture = answer.get_by_role("img", name="Image of the answer")
    expect(picture).to_be_visible()
    assert picture.evaluate("(img) => [img.complete, img.naturalWidth]") == [True, 10]
    assert answer.locator("img").count() == 1
    links = {one.inner_text(): one.get_attribute("href") for one in answer.locator(".extras a").all()}
    assert links == {
        "Image": REMOTE,
        "Cats of the world": "https://example.org/cats",
        "http://example.org/untitled": "http://example.org/untitled",
    }
    expect(answer.get_by_role("listitem").filter(has_text="A hostile source")).to_be_visible()
    expect(answer.get_by_text("An image that this page does not show")).to_be_visible()
    expect(answer).to_contain_text("look_up")


def test_images_sources_and_a_refusal_are_shown_nothing_is_loaded_from_elsewhere_and_a_reload_keeps_them(
    serve: Serve, model: Model, new_page: NewPage
) -> None:
    model.answers |= {"cat": STEPS, "draw": [image(f"data:image/png;base64,{PNG}"), STOP]}
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    page.ask("cat")
    page.is_over()
    is_shown(page)
    page.reload()
    is_shown(page)
    page.ask("draw")
    page.is_over()
    answer = page.tab.locator(".answer").last
    expect(answer.get_by_role("img", name="Image of the answer")).to_be_visible()
    expect(answer.locator(".state")).to_be_empty()
