"""The JavaScript decoder and client in a real Chromium, on every case and scenario, beside its own EventSource."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from page.node import HERE, node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

REFUSES_A_CHARSET = ("wpt_format: format-utf-8", "mime: charset=windows-1252 opens and is decoded as UTF-8")
"""Where Chromium's own EventSource differs from the standard: it refuses any ``charset`` but utf-8. Ours reads it as
UTF-8, as the standard says."""

DROPS_WHAT_IT_HAS = "short Content-Length body reconnects"
"""Where fetch differs from EventSource: when a connection breaks, Chromium's response stream drops what has arrived and
was not read yet. Our client then asks for it again, with the last ID that it did see; a stream without IDs loses it,
as in this scenario, now and then."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """A server of cases and scenarios, shared by the tests of this module."""
    with subprocess.Popen([node(), HERE / "support" / "serve.js"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        yield it.stdout.readline().decode().strip()
        it.kill()


@pytest.fixture(scope="module")
def tab(browser: Browser, origin: str) -> Iterator[Page]:
    """One load of one page."""
    page = browser.new_page()
    page.goto(origin)
    yield page
    page.close()


def run(tab: Page, function: str, *arguments: str) -> Any:
    return tab.evaluate(
        "async ([name, args]) => (await import('/support/browser.js'))[name](...args)", [function, arguments]
    )


def scenarios(tab: Page, which: str) -> dict[str, list[str]]:
    """Return what is wrong, by scenario."""
    seen = run(tab, "behaviour", which)
    if not seen["count"]:
        pytest.skip("the behaviour scenarios lie beside the checkout, and are not there")
    wrong: dict[str, list[str]] = seen["wrong"]
    return wrong


def test_the_decoder_reads_every_case_however_it_is_cut(tab: Page):
    seen = run(tab, "decoder")
    assert seen["wrong"] == []
    assert seen["count"] > 100


def test_the_client_hears_every_case_as_the_standard_says(tab: Page):
    assert run(tab, "bodies", "ours")["wrong"] == []


def test_chromiums_own_event_source_hears_every_case_but_one(tab: Page):
    assert set(run(tab, "bodies", "native")["wrong"]) <= {REFUSES_A_CHARSET[0]}


@pytest.mark.parametrize("which", ["ours", "lenient"])
def test_the_client_passes_every_scenario(tab: Page, which: str):
    wrong = scenarios(tab, which)
    lost = wrong.pop(DROPS_WHAT_IT_HAS, [])
    assert wrong == {}
    assert not lost or lost[0].startswith('events [{"event":"message","data":"y"')


def test_chromiums_own_event_source_passes_every_scenario_but_one(tab: Page):
    assert set(scenarios(tab, "native")) <= {REFUSES_A_CHARSET[1]}


def test_an_answer_cut_after_any_byte_is_delivered_whole(tab: Page):
    seen = run(tab, "cuts")
    assert seen["wrong"] == []
    assert seen["count"] > 300
