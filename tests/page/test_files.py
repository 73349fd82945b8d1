"""The page's files keep the house's rules: plain modules whose imports go down, nothing inline, nobody else's hosts."""

from __future__ import annotations

import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "src" / "tickertape" / "page"
MODULES = {path.name: path.read_text() for path in PAGE.glob("*.js")}
INDEX = (PAGE / "index.html").read_text()
STATIC = re.compile(r"^(?:import|export)\b[^;]*?from '\./([\w-]+\.js)'", re.MULTILINE)
DYNAMIC = re.compile(r"import\('\./([\w-]+\.js)'\)")
APART = {"theme.js", "service-worker.js"}
"""theme.js is no module, to run before the first paint; service-worker.js is the browser's to run."""

PURE = "sse reconnect chunks chat message-reducer wire-log status-text markdown inline"
STATE = "api local-store settings router event-source transport answer-reader session chat-list remote-changes"
FLOORS = [{f"{name}.js" for name in names.split()} for names in (PURE, STATE)]
"""The floors of ARCHITECTURE.md, the lowest first; all other modules are views."""

BROWSER = re.compile(
    r"\b(document|window|localStorage|sessionStorage|location|navigator|matchMedia|fetch|setTimeout)\b[.(]"
)


def reached(roots: set[str], without: set[str] | None = None) -> set[str]:
    """Return these modules and all that they import statically."""
    found: set[str] = set()
    todo = set(roots)
    while todo:
        found |= todo
        todo = {name for module in todo for name in STATIC.findall(MODULES[module])} - found - (without or set())
    return found


def code_of(name: str) -> str:
    """Return a module without its comments."""
    return re.sub(r"/\*.*?\*/|(?:^|\s)//[^\n]*", "", MODULES[name], flags=re.DOTALL | re.MULTILINE)


def test_no_module_imports_itself_by_way_of_others() -> None:
    imports = {name: {*STATIC.findall(source), *DYNAMIC.findall(source)} for name, source in MODULES.items()}
    list(TopologicalSorter(imports).static_order())  # raises CycleError with the circle


def test_imports_go_down_from_views_to_state_to_pure_modules() -> None:
    below: set[str] = set()
    for floor in FLOORS:
        below |= floor
        assert {name: reached({name}) - below for name in floor if reached({name}) - below} == {}


@pytest.mark.parametrize("name", sorted(FLOORS[0]))
def test_a_pure_module_uses_nothing_of_the_browser(name: str) -> None:
    assert BROWSER.findall(code_of(name)) == []


def test_the_page_names_every_module_that_it_loads_so_that_they_come_at_once() -> None:
    first = reached({"app.js"})
    preloaded = set(re.findall(r'rel="modulepreload" href="/assets/HASH/([\w-]+\.js)"', INDEX))
    assert preloaded == first - {"app.js"}
    later = reached(set(DYNAMIC.findall(MODULES["app.js"])), first) - first
    named = re.search(r'data-lazy-modules="([^"]*)"', INDEX)
    assert named is not None
    assert {f"{name}.js" for name in named[1].split()} == later
    assert set(MODULES) == first | later | APART, "a module that nothing loads"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_checked_and_makes_no_html_of_strings(name: str) -> None:
    assert MODULES[name].startswith("// @ts-check\n") or name == "theme.js"
    code = code_of(name)
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in code, forbidden


def test_the_page_has_nothing_inline_and_names_no_other_host() -> None:
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", INDEX)
    for path in PAGE.iterdir():
        hosts = set(re.findall(r"(?:src|href|url\(|from)\W*(https?://[\w.]+)", path.read_text()))
        assert not hosts, path.name


def test_the_page_can_be_installed_with_icons_that_are_there() -> None:
    manifest = json.loads((PAGE / "manifest.webmanifest").read_text())
    assert (manifest["display"], manifest["start_url"], manifest["scope"]) == ("standalone", "../../", "../../")
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        assert (PAGE / icon["src"]).read_text().startswith("<svg")
    assert 'rel="manifest"' in INDEX
    assert 'rel="icon"' in INDEX
