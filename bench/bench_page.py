"""The page in a real browser: what an answer costs it, what it weighs, and what it keeps; beside parsing all anew."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parent / "page"))
sys.path.append(str(Path(__file__).parents[1] / "tests"))
from playwright.sync_api import sync_playwright
from timeline import CATEGORIES, scripting
from upstream import ANSWER, PARAGRAPH, SIZE, STEP

from machine import CACHE, describe
from support.conversations import tell
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, CDPSession, Page

HERE = Path(__file__).parent / "page"
MARKED = "18.2.1"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CONFESSION = """\
What this does not show, first. A headless browser draws into memory, and frames come as the machine gives them.
Browser, server and model share its cores. "Scripting" is the main thread's processor time in scripts by
Chromium's trace, which itself costs some; "beyond frames" leaves out the animation frames (typing, Markdown, strip).
The rival reads the same text from the same server, types nothing, draws no strip, keeps nothing and cannot resume.
"""

WATCH = """
window.watched = { longest: 0, tasks: [] };
new PerformanceObserver((list) => watched.tasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: 'longtask', buffered: true });
const native = requestAnimationFrame.bind(window);
window.requestAnimationFrame = (work) => native((now) => {
  const began = performance.now();
  work(now);
  watched.longest = Math.max(watched.longest, performance.now() - began);
});
"""

BUSY = """
window.whole = new Promise((done) => {
  const log = document.querySelector('#log');
  const look = () => log.ariaBusy === 'true' ? (busy = true) : busy && done();
  let busy = false;
  new MutationObserver(look).observe(log, { attributeFilter: ['aria-busy'] });
});
0
"""


class Tab:
    """A page that is watched, and Chromium's own figures about it."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(bypass_csp=True, service_workers="block")
        self.context.set_default_timeout(600_000)
        self.context.add_init_script(WATCH)
        self.page: Page = self.context.new_page()
        self.cdp: CDPSession = self.context.new_cdp_session(self.page)
        self.cdp.send("Performance.enable")
        self.cdp.send("Network.enable")
        self.bytes = 0
        self.cdp.on("Network.loadingFinished", self._loaded)

    def _loaded(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])

    def traced(self, browser: Browser, work: Callable[[], None]) -> dict[str, float]:
        """Return what this work costs."""
        before = len(self.page.evaluate("watched.tasks"))
        browser.start_tracing(page=self.page, categories=CATEGORIES)
        work()
        found = scripting(json.loads(browser.stop_tracing())["traceEvents"])
        watched = self.page.evaluate("watched")
        tasks = watched["tasks"][before:]
        frame = {"longest frame": watched["longest"]} if watched["longest"] else {}
        return found | frame | {"long tasks": len(tasks), "longest task": max(tasks, default=0)}

    def kept(self) -> tuple[float, int]:
        """Megabytes of heap that are in use once what is unreachable is gone, and nodes of the document."""
        for _ in range(2):
            self.cdp.send("HeapProfiler.collectGarbage")
        metrics = self.metrics()
        return metrics["JSHeapUsedSize"] / 1e6, int(metrics["Nodes"])

    def busy(self) -> float:
        """Seconds for which the main thread has worked."""
        return self.metrics()["TaskDuration"]

    def metrics(self) -> dict[str, float]:
        return {one["name"]: one["value"] for one in self.cdp.send("Performance.getMetrics")["metrics"]}

    def ask(self, text: str) -> None:
        self.page.locator("#question").fill(text)
        self.page.evaluate(BUSY)
        self.page.locator("#question").press("Enter")
        self.page.evaluate("whole")


def ours(browser: Browser, url: str) -> dict[str, float]:
    """One answer of 50 kB on the page."""
    tab = Tab(browser)
    tab.page.goto(url)
    tab.ask("warm up the page")
    found = tab.traced(browser, lambda: tab.ask("fifty kilobytes"))
    assert len(tab.page.locator(".prose").last.inner_text()) > SIZE // 2, "the answer is not there"
    tab.context.close()
    return found


def theirs(browser: Browser, url: str) -> dict[str, float]:
    """The same answer, parsed anew with every delta."""
    return _other(browser, url, f"<script>{_marked()}</script><script>{(HERE / 'rival.js').read_text()}</script>")


def nothing(browser: Browser, url: str) -> dict[str, float]:
    """The same bytes, read and thrown away: what no page can go below."""
    return _other(browser, url, f"<script>{(HERE / 'nothing.js').read_text()}</script>")


def _other(browser: Browser, url: str, scripts: str) -> dict[str, float]:
    """A page of these scripts, of which one has `show`, which reads an answer and returns how long that was."""
    tab = Tab(browser)
    tab.page.route("**/rival", lambda route: route.fulfill(content_type="text/html", body=f"<body>{scripts}</body>"))
    tab.page.goto(f"{url}/rival")
    size = 0

    def ask() -> None:
        nonlocal size
        size = tab.page.evaluate("show('fifty kilobytes')")

    found = tab.traced(browser, ask)
    assert size > SIZE // 2, "the answer is not there"
    tab.context.close()
    return found


def weight(browser: Browser, url: str) -> tuple[int, int]:
    """Bytes over the wire of the empty page, and with all that its first answer needs."""
    tab = Tab(browser)
    with tab.page.expect_response("**/backend-api/conversations?*"):
        tab.page.goto(url, wait_until="load")
    tab.page.evaluate("new Promise((done) => requestIdleCallback(done))")
    first = tab.bytes
    tab.page.locator("#question").press("x")
    tab.page.locator("#details-open").click()
    tab.page.locator("#details-system:enabled").wait_for()
    tab.context.close()
    return first, tab.bytes


def memory(browser: Browser, url: str, count: int, chats: int) -> list[tuple[float, int]]:
    """What is kept after a fifth of the answers, two fifths, …; asked in so many chats."""
    tab = Tab(browser)
    tab.page.goto(url)
    found = []
    for number in range(count):
        if number % (count // chats) == 0:
            tab.page.get_by_role("button", name="New chat", exact=True).click()
        tab.ask(f"Question {number}: " + "some words that are said again, " * 30)
        if (number + 1) % (count // 5) == 0:
            found.append(tab.kept())
    tab.context.close()
    return found


def opened(browser: Browser, url: str, count: int) -> tuple[float, float]:
    """Seconds until a chat with so many answers stands on the page, and for which the main thread works."""
    where: dict[str, str] = {}
    for number in range(count):
        onto = {"conversation_id": where["conversation_id"], "parent_message_id": where["message_id"]} if where else {}
        where = tell(url, PARAGRAPH.format(n=number), **onto)
    tab = Tab(browser)
    began = time.perf_counter()
    tab.page.goto(f"{url}/c/{where['conversation_id']}")
    tab.page.locator("#log[aria-busy=false] .answer").last.wait_for()
    tab.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    seconds = time.perf_counter() - began
    tab.page.evaluate("new Promise((done) => requestIdleCallback(done))")
    busy = tab.busy()
    tab.context.close()
    return seconds, busy


def _marked() -> str:
    """The rival, from npm; fetched once."""
    home = CACHE / f"marked-{MARKED}"
    if not home.exists():
        home.mkdir(parents=True)
        subprocess.run(["npm", "pack", f"marked@{MARKED}", "--silent"], cwd=home, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "-xzf", f"marked-{MARKED}.tgz"], cwd=home, check=True)
    return (home / "package" / "lib" / "marked.umd.js").read_text()


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, a faster stream, fewer answers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1000, 4000], help="deltas a second (1000 4000)")
    options = parser.parse_args()
    rounds, rates, answers = (1, [4000], 50) if options.quick else (options.rounds, options.rates, 500)
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {rate: _answering(stack, data, rate) for rate in rates}
        echo = stack.enter_context(Server(data / "echo"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        stack.callback(browser.close)
        print(f"{describe()}, Chromium {browser.version}, marked {MARKED}\n\n{CONFESSION}")
        runs: dict[tuple[str, float], list[dict[str, float]]] = {}
        for _ in range(rounds):
            for rate, server in servers.items():
                runs.setdefault(("tickertape", rate), []).append(ours(browser, server.url))
                runs.setdefault(("read and thrown away", rate), []).append(nothing(browser, server.url))
            runs.setdefault(("marked, each delta", rates[0]), []).append(theirs(browser, servers[rates[0]].url))
        print(f"{len(ANSWER):,} characters in deltas of {STEP}; milliseconds, medians of {rounds}\n")
        columns = ["scripting", "beyond frames", "longest frame", "layout", "long tasks", "longest task"]
        print("| | deltas/s | " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) + 1) + "|")
        for (name, rate), found in runs.items():
            cells = [_median(found, column) for column in columns]
            print(f"| {name} | {rate:,.0f} | {' | '.join(cells)} |")
        first, all_of_it = weight(browser, echo.url)
        print(f"\nThe first load is {first:,} bytes; with all that a first answer needs {all_of_it:,}.\n")
        seconds, busy = opened(browser, echo.url, answers)
        print(f"A chat with {answers} answers is opened in {seconds:.1f} s; the main thread works for {busy:.1f} s.\n")
        for chats in (1, answers // 10):
            kept = [f"{heap:.1f} ({nodes:,})" for heap, nodes in memory(browser, echo.url, answers, chats)]
            print(f"{answers} answers of 1 kB in {chats} chats, MB of heap (nodes) after each fifth: {', '.join(kept)}")


def _answering(stack: ExitStack, data: Path, rate: float) -> Server:
    """Start a server whose model answers with so many deltas a second."""
    model = subprocess.Popen([sys.executable, HERE / "upstream.py", str(rate)], stdout=subprocess.PIPE, text=True)
    stack.callback(model.wait)
    stack.callback(model.kill)
    assert model.stdout is not None
    upstream = f"--upstream=http://127.0.0.1:{model.stdout.readline().strip()}/v1"
    return stack.enter_context(Server(data / str(rate), upstream, provider="openai"))


def _median(found: list[dict[str, float]], column: str) -> str:
    values = [run[column] for run in found if column in run]
    return f"{statistics.median(values):,.0f}" if values else "–"


if __name__ == "__main__":
    main()
