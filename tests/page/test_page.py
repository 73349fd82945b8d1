"""What a person sees in a real browser, against a real server: nothing lost, repeated or falsely complete."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Route, expect

from .line import Line
from .page import PACE, RUNNING, Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server

    from .conftest import NewPage

    Serve = Callable[..., Server]

pytestmark = pytest.mark.browser

WORDS = " ".join(f"word{number}" for number in range(1, 161))
LOST = "The server restarted; this is what was written."


def is_whole(page: Page, text: str = WORDS) -> None:
    """The answer is there to the last word, once, and no state is shown below it."""
    page.is_over()
    expect(page.answer).to_have_text(text)
    expect(page.state).to_be_empty()


def test_tokens_appear_in_order(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    seen = []
    for word in range(10, 160, 10):
        page.has_written(f"word{word}")
        seen.append(page.text)
    is_whole(page)
    assert all(WORDS.startswith(text) for text in seen)
    assert len(set(seen)) > 5, "the answer came in one piece"


def test_a_reload_at_any_moment_loses_and_repeats_nothing(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url)
    page.ask(WORDS)
    moments = sorted(random.sample(range(2, 150), 6))
    for word in moments:
        page.has_written(f"word{word}")
        before = page.text
        page.reload()
        # What was there is there again at once, not typed anew.
        page.has_written(f"word{word}")
        after = page.text
        assert WORDS.startswith(before), moments
        assert WORDS.startswith(after), moments
    is_whole(page)
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
    is_whole(page)
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
    is_whole(page, text)
    assert len(page.posts) == 1
    expect(page.tab.locator("#wire-events .splice")).to_have_count(2)
    expect(page.tab.locator("#wire-events .end")).to_have_count(1)


def test_a_killed_server_leaves_its_partial_text_and_says_so(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=PACE)
    page = new_page(server.url)
    page.ask(WORDS)
    page.has_written("word40")
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
    is_whole(page)


def test_two_tabs_see_the_same_answer(paced_server: Server, new_page: NewPage) -> None:
    one = new_page(paced_server.url)
    one.ask(WORDS)
    one.has_written("word10")
    two = new_page(one.url, beside=one)
    two.has_written("word30")
    assert WORDS.startswith(two.text)
    is_whole(one)
    is_whole(two)
    # A question asked in one is answered in both.
    two.ask("again " + WORDS)
    one.has_written("again")
    is_whole(two, "again " + WORDS)
    is_whole(one, "again " + WORDS)
    assert len(one.posts) + len(two.posts) == 2
    one.reload()
    expect(one.tab.locator(".question")).to_have_count(2)
    is_whole(one, "again " + WORDS)


def test_two_tabs_that_ask_at_once_keep_both_questions(paced_server: Server, new_page: NewPage) -> None:
    one = new_page(paced_server.url)
    one.ask("first question")
    one.is_over()
    two = new_page(one.tab.url, beside=one)
    expect(two.answer).to_have_text("first question")
    one.ask("from one")
    two.ask("from two")
    for page in (one, two):
        page.is_over()
        page.reload()
        page.is_over()
    # One tab's process learns what another's has written a little later.
    one.tab.wait_for_function(
        "['from one', 'from two'].every((t) => Object.values(localStorage).some((v) => v.includes(t)))"
    )
    kept = one.tab.evaluate("Object.values(localStorage).filter((v) => v.includes('message') || v.includes('role'))")
    texts = {json.loads(value)["text"] for value in kept if "role" in json.loads(value)}
    assert texts == {"first question", "from one", "from two"}


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
        is_whole(page)
        assert len(page.posts) == 1


def test_offline_in_the_middle_and_back(paced_server: Server, new_page: NewPage) -> None:
    with Line(paced_server.port) as line:
        page = new_page(line.url)
        page.ask(WORDS)
        page.has_written("word20")
        page.context.set_offline(True)
        line.cut()  # Chromium's own switch leaves open connections open
        expect(page.state).to_contain_text("You are offline. The answer goes on without you")
        line.mend()
        page.context.set_offline(False)
        is_whole(page)
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
    is_whole(page)
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
    is_whole(page)
    assert second.value.headers["location"] == begun[0]


def test_a_question_that_cannot_be_sent_waits_and_is_sent_once(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=0)
    page = new_page(server.url)
    page.ask("hello")
    is_whole(page, "hello")
    server.kill()
    page.ask(WORDS)
    expect(page.state).to_contain_text("The server does not answer. Trying again.")
    page.tab.get_by_role("button", name="Stop").click()
    expect(page.state).to_contain_text("This was not sent")
    server.restart()
    page.tab.get_by_role("button", name="Send again").click()
    is_whole(page)


def test_a_question_to_a_server_that_is_gone_stays_in_its_field(serve: Serve, new_page: NewPage) -> None:
    server = serve(echo_rate=0)
    page = new_page(server.url)
    expect(page.tab.locator("#model")).to_have_value("echo")
    server.kill()
    page.ask(WORDS)
    expect(page.tab.locator("#toast")).to_contain_text("What you have written is still here.")
    expect(page.tab.locator("#question")).to_have_value(WORDS)
    server.restart()
    page.tab.locator("#question").press("Enter")
    is_whole(page)


def test_an_error_of_the_server_is_shown_as_it_is(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    refusal = {"error": {"message": "The model is too busy.", "type": "rate_limit_error", "code": None, "param": None}}
    page.tab.route("**/backend-api/conversation", lambda route: route.fulfill(status=422, json=refusal))
    with page.expects_console("422"):
        page.ask("hello")
        expect(page.state).to_contain_text("The answer failed. The model is too busy.")
    page.tab.unroute("**/backend-api/conversation")
    page.tab.get_by_role("button", name="Try again").click()
    is_whole(page, "hello")


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
    is_whole(page, "hello")


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
    expect(page.tab.locator(".asked")).to_have_text("first\nline two")
    keys.press("ArrowUp")
    expect(page.tab.locator("#question")).to_have_value("first\nline two")
    page.ask("second")
    page.is_over()
    expect(page.answer).to_have_text("second")
    page.tab.get_by_role("button", name="The one before").click()
    expect(page.tab.locator(".asked")).to_have_text("first\nline two")
    page.reload()
    expect(page.tab.locator(".asked")).to_have_text("first\nline two")
    expect(page.tab.locator(".switcher").first).to_have_text("1/2")


HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)> <svg onload=alert(1)>

[link](javascript:alert(1)) [data](data:text/html,<script>alert(1)</script>) <javascript:alert(1)>

![picture](https://example.org/track.png) \x1b[31mred\x1b[0m {long}

{quotes} deep

```html
<script>alert(1)</script>
```
""".replace("{long}", "x" * 50_000).replace("{quotes}", ">" * 500)


def test_hostile_output_is_harmless(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.ask(HOSTILE)
    page.is_over()
    expect(page.answer).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.tab.locator(".prose").locator("script, img, svg, iframe, object").count() == 0
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
      .filter((e) => e.checkVisibility() && !e.closest('.code, #tape') && e.id !== 'tape')
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
    is_whole(page)
    lag = page.tab.evaluate("window.lag")
    # A frame that the busy machine did not give cannot be typed in.
    assert 0 < lag["worst"] <= 400 + lag["longest"], lag


def test_with_reduced_motion_nothing_is_typed(paced_server: Server, new_page: NewPage) -> None:
    page = new_page(paced_server.url, reduced_motion="reduce")
    page.ask(WORDS)
    page.has_written("word50")
    assert re.fullmatch(r"(word\d+ ?)+", page.text), "only whole words: none is typed letter by letter"
    is_whole(page)


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
    assert sum(sizes.values()) <= 40_000, sizes


def test_a_full_storage_does_not_stop_the_conversation(echo_server: Server, new_page: NewPage) -> None:
    page = new_page(echo_server.url)
    page.tab.evaluate(
        "() => (Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') })"
    )
    page.ask(WORDS)
    is_whole(page)
    expect(page.tab.locator("#toast")).to_contain_text("This browser keeps no more copies")
    page.ask("second")
    is_whole(page, "second")
    expect(page.tab.locator(".question")).to_have_count(2)


def test_chats_are_listed_opened_and_deleted_with_a_way_back(serve: Serve, new_page: NewPage) -> None:
    page = new_page(serve().url)
    chats = page.tab.get_by_role("navigation", name="Chats")
    for text in ("first chat", "second chat"):
        chats.get_by_role("button", name="New chat").click()
        expect(page.tab.locator("#welcome")).to_be_visible()
        page.ask(text)
        is_whole(page, text)
    expect(chats.locator("li a")).to_have_text(["second chat", "first chat"])
    chats.get_by_text("first chat").click()
    is_whole(page, "first chat")
    page.tab.go_back()
    is_whole(page, "second chat")
    chats.get_by_text("first chat").hover()
    chats.get_by_role("button", name="Delete “first chat”").click()
    expect(chats.locator("li a")).to_have_text(["second chat"])
    page.tab.get_by_role("button", name="Undo").click()
    is_whole(page, "first chat")
    expect(chats.locator("li a")).to_have_count(2)
