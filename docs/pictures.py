"""Takes the pictures of these documents from the running program: ``make pictures``."""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from PIL import Image
from playwright.sync_api import sync_playwright

from page.model import STOP, Model
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

DOCS = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
VIEWS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 760}}
COLOURS = 128

WINDOW = "How do I average the last values of a stream?"
CODE = """Keep a **ring** of the last values and their running sum; each new value then costs the same, however long \
the window is:

```python
from collections import deque

class MovingAverage:
    def __init__(self, size):
        self.values = deque(maxlen=size)
        self.total = 0.0

    def push(self, value):
        if len(self.values) == self.values.maxlen:
            self.total -= self.values[0]  # the oldest leaves
        self.values.append(value)
        self.total += value
        return self.total / len(self.values)
```

| window | cost per value | memory |
|---:|---|---:|
| 10 | constant | 10 floats |
| 10 000 | constant | 10 000 floats |

It also works while the ring is filling, because it divides by the number of values that are there."""
POEM = """The harbour lamps go out by one and one,
the tide comes in and says what it has done,
and something that was never said by day
is written on the water, and away."""
RIDDLE = "Which weighs more: a kilogram of feathers, or of iron?"
THOUGHTS = """A kilogram is a mass, and both are a kilogram. On a scale in air the feathers displace more of it, so \
they would read a very little lighter. The question means the plain answer, but the buoyancy is worth a sentence."""
OLD = ["Poem about a harbour", "Plan a week in Lisbon", "Explain Server-Sent Events", "Names for a grey cat"]


def tokens(text: str) -> list[str]:
    """Return a text in pieces as a model would."""
    return re.findall(r"\s*\S{1,6}|\s+", text)


class Scenes:
    """What there is to be seen. Each leaves the page as it is to be shown."""

    def __init__(self, model: Model) -> None:
        self.goes_on = threading.Event()
        stops = CODE.index("            self.total -=")
        model.answers = {
            WINDOW: [*tokens(CODE[:stops]), self.goes_on, *tokens(CODE[stops:]), STOP],
            RIDDLE: [{"delta": {"reasoning_content": one}} for one in tokens(THOUGHTS)] + [self.goes_on, "Both.", STOP],
            "Write me a poem about the sea at night.": [*tokens(POEM), self.goes_on, STOP],
            "What is the fastest sorting algorithm?": [*tokens("That depends on what is known about the data. If"), {}],
        }

    def empty(self, tab: Page) -> None:
        """Ask nothing yet."""
        tab.locator("#model-note:has(b)").wait_for()

    def thinking(self, tab: Page) -> None:
        """Watch a model think aloud."""
        self._ask(tab, RIDDLE, "worth a sentence.")
        tab.locator("summary", has_text="Thinking, 4 s").wait_for()

    def code(self, tab: Page) -> None:
        """Watch code being written."""
        self._ask(tab, WINDOW, "maxlen:")

    def stopped(self, tab: Page) -> None:
        """Stop an answer."""
        self._ask(tab, "Write me a poem about the sea at night.", "and away.")
        tab.locator("#send.stop").click()
        tab.locator(".state", has_text="Stopped by you.").wait_for()

    def failed(self, tab: Page) -> None:
        """See a model stop before it is done."""
        self._ask(tab, "What is the fastest sorting algorithm?", "data. If")
        tab.locator(".state", has_text="before it was done").wait_for()

    def wire(self, tab: Page) -> None:
        """Open the wire, and one event in it."""
        self.code(tab)
        tab.locator("#activity").click()
        tab.locator("#wire-events summary").last.click()

    def _ask(self, tab: Page, question: str, until: str) -> None:
        tab.locator("#question").fill(question)
        tab.locator("#send").click()
        tab.get_by_text(until).first.wait_for()


def take(browser: Browser, url: str, name: str, scheme: str, scene: Callable[[Page], None]) -> None:
    """Show a scene and keep its picture."""
    phone = name.startswith("phone")
    context = browser.new_context(
        viewport=VIEWS[name.partition("-")[0]], color_scheme=scheme, has_touch=phone, is_mobile=phone
    )
    tab = context.new_page()
    tab.goto(url)
    tab.locator("#chats li").first.wait_for(state="attached")
    scene(tab)
    tab.wait_for_timeout(700)  # for what is typed, and what fades in
    picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    picture.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(DOCS / f"{name}.png", optimize=True)
    if "/c/" in tab.url:
        tab.keyboard.press("Escape")
        tab.request.delete(tab.url.replace("/c/", "/backend-api/conversation/"))
    context.close()


def main() -> None:
    """Take all pictures, or those whose names are given."""
    with tempfile.TemporaryDirectory() as data, Model("example-model") as model, sync_playwright() as playwright:
        scenes = Scenes(model)
        with Server(Path(data), f"--upstream={model.url}", provider="openai") as server:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            tab = browser.new_page()
            for title in reversed(OLD):
                tab.goto(server.url)
                tab.locator("#question").fill(title)
                tab.locator("#send").click()
                tab.locator("#log[aria-busy=false] .prose", has_text="Hello").wait_for()
            tab.close()
            model.pace = 0.03
            for view in VIEWS:
                for scheme in ("light", "dark"):
                    for scene in ("empty", "thinking", "code", "stopped", "failed", "wire"):
                        name = f"{view}-{scheme}-{scene}"
                        if all(word in name for word in sys.argv[1:]):
                            take(browser, server.url, name, scheme, getattr(scenes, scene))
            scenes.goes_on.set()
            browser.close()


if __name__ == "__main__":
    main()
