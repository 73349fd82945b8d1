"""The page as a person sees it: what can be done on it, what can be read from it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Request

PACE = 60
"""Words a second: fast enough for a test, slow enough to come between."""

RUNNING = 30_000
"""Milliseconds: how long an answer of these tests may take on a busy machine."""

NETWORK = (
    "ERR_CONNECTION",
    "ERR_INTERNET_DISCONNECTED",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE",
    "ERR_NETWORK",
    "ERR_SOCKET_NOT_CONNECTED",
    "401",
)
"""What Chromium itself writes to the console when a test takes the network or the key away."""

BLOCKED = "Service Worker registration blocked by Playwright"

WORDS = " ".join(f"word{number}" for number in range(1, 161))


class Page:
    """One tab. ``complaints`` gathers what must not happen, ``posts`` the questions that were sent."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.origin = re.sub(r"(//[^/]+).*", r"\1", url)
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self.tab = context.new_page()
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.tab.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.tab.on("request", self._request)
        self.tab.goto(url)

    @property
    def posts(self) -> list[Request]:
        return [one for one in self.requests if one.method == "POST" and one.url.endswith("/backend-api/conversation")]

    def choose(self, **settings: str) -> None:
        """Set something in the settings."""
        self.tab.get_by_role("button", name="Settings").click()
        for name, value in settings.items():
            choice = self.tab.locator(
                f"#settings [data-setting={name}] label", has=self.tab.locator(f"[value={value}]")
            )
            choice.click()
        self.tab.keyboard.press("Escape")

    def ask(self, text: str) -> None:
        """Type a question and send it with Enter."""
        self.tab.locator("#question").fill(text)
        self.tab.locator("#question").press("Enter")

    @property
    def answer(self) -> Locator:
        """The last answer's text."""
        return self.tab.locator(".prose").last

    @property
    def state(self) -> Locator:
        """The words below the last answer."""
        return self.tab.locator(".answer").last.locator(".state")

    @property
    def text(self) -> str:
        """What can be read of the last answer now, with its white space as one space."""
        return " ".join(self.tab.evaluate("[...document.querySelectorAll('.prose')].at(-1)?.innerText ?? ''").split())

    def has_written(self, words: str) -> None:
        """Wait until the last answer shows this word."""
        seen = re.compile(rf"{words}(?!\d)")
        self.tab.locator(".answer:last-child .prose", has_text=seen).wait_for(timeout=RUNNING)

    def is_over(self) -> None:
        """Wait until no answer is being written."""
        self.tab.locator("#log[aria-busy=false]:has(.answer)").wait_for(timeout=RUNNING)

    @property
    def chats(self) -> Locator:
        """The list of chats."""
        return self.tab.get_by_role("navigation", name="Chats")

    def is_whole(self, text: str) -> None:
        """The answer is there to the last word, once, and no state is shown below it."""
        from playwright.sync_api import expect  # not where the tests in Node.js run without a browser

        self.is_over()
        expect(self.answer).to_have_text(text)
        expect(self.state).to_be_empty()

    def reload(self) -> None:
        self.tab.reload()

    @contextmanager
    def expects_console(self, text: str) -> Iterator[None]:
        """What the browser itself writes to the console in here may hold this."""
        before = len(self.complaints)
        yield
        self.complaints[before:] = [complaint for complaint in self.complaints[before:] if text not in complaint]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(name in message.text for name in (*NETWORK, BLOCKED)):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        if not request.url.startswith((self.origin, "data:")):
            self.complaints.append(f"foreign request: {request.url}")
