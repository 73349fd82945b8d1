"""What a person sees and feels: hostile text, a telephone, the scroll, the pace, the weight of the page."""

from __future__ import annotations

import gzip
import re
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

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser


HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)> <svg onload=alert(1)>

[link](javascript:alert(1)) [data](data:text/html,<script>alert(1)</script>) <javascript:alert(1)>

![picture](https://example.org/track.png) \x1b[31mred\x1b[0m {long}

{quotes} deep

```html
<script>alert(1)</script>
```
""".replace("{long}", "x" * 1_000_000).replace("{quotes}", ">" * 500)


def test_hostile_output_is_harmless(serve: Serve, model: Model, new_page: NewPage) -> None:
    model.answers["attack"] = [{"delta": {"reasoning_content": HOSTILE}}, HOSTILE, tool(HOSTILE, HOSTILE), STOP]
    page = new_page(serve(f"--upstream={model.url}", provider="openai").url)
    page.ask("attack")
    page.is_over()
    expect(page.answer).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.tab.locator(".answer").locator("script, img, svg:not(.icon), iframe, object").count() == 0
    links = page.tab.locator(".prose a").evaluate_all("links => links.map((link) => link.href)")
    assert links == ["https://example.org/track.png"]


RICH = """# Heading that is rather long for a telephone

| Fruit | Colour | Taste | Season | Keeps |
|---|---|---|---|---|
| Strawberry | red | sweet and a little sharp | late spring | three days |

```python
print("a line of code that is much wider than any telephone could ever show in one line, even held sideways")
```

Averyveryverylongwordwithoutanyspacesthatnotelephonecouldeverhopetoshowinoneline_andthensomemore.

1. one
   - two
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_has_no_horizontal_scroll(echo_server: Server, new_page: NewPage, scheme: str) -> None:
    view = {"width": 360, "height": 740}
    page = new_page(echo_server.url, viewport=view, color_scheme=scheme, has_touch=True, is_mobile=True)
    wide = (
        "[...document.querySelectorAll('html, body, #scroller, #composer')].filter((e) => e.scrollWidth > innerWidth)"
    )
    assert page.tab.evaluate(f"{wide}.length") == 0
    page.tab.locator("#question").fill(RICH)
    page.tab.get_by_role("button", name="Send").tap()
    page.is_over()
    expect(page.answer.locator("table")).to_be_visible()
    assert page.tab.evaluate(f"{wide}.length") == 0
    small = """[...document.querySelectorAll('button, select, .choice span, a.name')]
      .filter((e) => e.checkVisibility() && !e.closest('.code, #activity') && e.id !== 'activity')
      .map((e) => [e.id || e.className || e.textContent, e.getBoundingClientRect()])
      .filter(([, box]) => box.width && (box.width < 44 || box.height < 40)).map(([name]) => name)"""
    assert page.tab.evaluate(small) == []
    light = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(250, 247, 240)") == (scheme == "light")


def test_reading_further_up_is_not_disturbed_by_new_text(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url, viewport={"width": 800, "height": 400})
    lines = "\n\n".join(WORDS.split())
    page.ask(lines)
    page.has_written("word40")
    scroller = page.tab.locator("#scroller")
    end = "(e) => e.scrollHeight - e.scrollTop - e.clientHeight"
    assert scroller.evaluate(end) <= 2, "the newest line is in view"
    scroller.hover()
    page.tab.mouse.wheel(0, -400)
    newest = page.tab.get_by_role("button", name="Newest")
    expect(newest).to_be_visible()
    before = scroller.evaluate("(e) => e.scrollTop")
    page.has_written("word60")
    assert scroller.evaluate("(e) => e.scrollTop") == before
    newest.click()
    expect(newest).to_be_hidden()
    page.has_written("word80")
    assert scroller.evaluate(end) <= 2


def test_who_leaves_the_end_in_small_steps_is_not_taken_back_and_its_key_leads_there(
    paced_server: Server, new_page: NewPage
) -> None:
    page = new_page(paced_server.url, viewport={"width": 800, "height": 400})
    page.ask("\n\n".join(WORDS.split()))
    page.has_written("word20")
    scroller = page.tab.locator("#scroller")
    scroller.hover()
    for _ in range(10):
        page.tab.mouse.wheel(0, -2)  # as a touchpad does
    expect(page.tab.get_by_role("button", name="Newest")).to_be_visible()
    before = scroller.evaluate("(e) => e.scrollTop")
    page.has_written("word60")
    assert scroller.evaluate("(e) => e.scrollTop") == before
    scroller.press("End")
    page.has_written("word90")
    assert scroller.evaluate("(e) => e.scrollHeight - e.scrollTop - e.clientHeight") <= 2


WATCH_LAG = """
const frames = [];
let came = 0, queue = [], worst = 0, last = performance.now(), longest = 0;
const Native = EventSource;
window.EventSource = class extends Native {
  set onmessage(listener) {
    super.onmessage = (event) => {
      const text = event.data === '[DONE]' ? '' : JSON.parse(event.data).choices?.[0]?.delta?.content ?? '';
      came += text.trimEnd().length ? text.length : 0;
      queue.push([came, performance.now()]);
      listener.call(this, event);
    };
  }
};
(function look(now) {
  longest = Math.max(longest, performance.now() - last);
  last = performance.now();
  const shown = document.querySelector('.prose')?.textContent.length ?? 0;
  while (queue.length && queue[0][0] <= shown + 1) worst = Math.max(worst, last - queue.shift()[1]);
  window.lag = { worst, longest, steps: frames.push(shown) };
  requestAnimationFrame(look);
})();
"""


def test_the_page_is_never_400_ms_behind_the_wire(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.tab.add_init_script(WATCH_LAG)
    page.choose(transport="eventsource")
    page.reload()
    page.ask(WORDS)
    page.is_whole(WORDS)
    lag = page.tab.evaluate("window.lag")
    # A frame that the busy machine did not give cannot be typed in.
    assert 0 < lag["worst"] <= 400 + lag["longest"], lag


def test_with_reduced_motion_nothing_is_typed(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url, reduced_motion="reduce")
    page.ask(WORDS)
    page.has_written("word50")
    assert re.fullmatch(r"(word\d+ ?)+", page.text), "only whole words: none is typed letter by letter"
    page.is_whole(WORDS)


def test_the_first_load_is_small_and_asks_nobody_else(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    expect(page.tab.locator("#model")).to_have_value("echo")
    sizes = {}
    for request in page.requests:
        if request.url.endswith("/backend-api/changes"):
            continue  # it has no end
        response = request.response()
        assert response is not None
        assert response.ok, request.url
        sizes[request.url.rsplit("/", 1)[-1]] = len(gzip.compress(response.body(), 9))
    assert "app.js" in sizes
    assert sum(sizes.values()) <= 38_000, sizes
