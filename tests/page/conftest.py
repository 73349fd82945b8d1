"""A real Chromium, and pages in it that watch themselves."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from support.server import Server

from .model import Model
from .page import PACE, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext

    NewPage = Callable[..., Page]

OWN_WINDOW = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "SpareRendererForSitePerProcess"]
"""Features of Chromium's own window, which every context has though nobody sees it: pages below the address field, and
a process in reserve. They take two fifths of the processor time that a test of the page costs."""

PLAYWRIGHTS = [
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
]
"""What Playwright switches off by the same argument, of which Chromium takes the last one only."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    f"--disable-features={','.join([*PLAYWRIGHTS, *OWN_WINDOW])}",
]

WATCH = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI}`);
});
"""


# For a module, not the session: while Playwright's synchronous API runs, asyncio tests in the same process cannot.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("There is no chromium here.")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def paced_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a whole module: the echo model, slow enough to come between its words."""
    with Server(tmp_path_factory.mktemp("paced"), echo_rate=PACE) as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Open pages of a server; those of one ``context`` share their storage.

    Afterwards none may have reported an error, broken the policy or asked anybody but its own server.
    """
    contexts: list[BrowserContext] = []
    pages: list[Page] = []

    def open_page(url: str, beside: Page | None = None, **settings: object) -> Page:
        if beside is None:
            # Most tests are about the page itself, and look into what it asks for; a worker would stand in between.
            context = browser.new_context(**{"service_workers": "block"} | settings)
            context.set_default_timeout(15_000)
            context.add_init_script(WATCH)
            contexts.append(context)
        else:
            context = beside.context
        page = Page(context, url)
        pages.append(page)
        return page

    yield open_page
    complaints = [complaint for page in pages for complaint in page.complaints]
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def model() -> Iterator[Model]:
    """A model whose answers the test writes; serve it with ``provider="openai"`` and its options."""
    with Model() as running:
        yield running
