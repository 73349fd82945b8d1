"""Provider × fault: every cell is true, and docs/truth.md says the same."""

from __future__ import annotations

import asyncio
import json

import pytest

from tickertape.providers.dialects import DIALECTS
from tickertape.testing.answer import BROKEN
from tickertape.testing.contents import CALLS, LOGPROB, PICTURE, REFUSED, SIGNED, SOURCE
from tickertape.testing.faults import COMPLETED, FAILED, FAULTS, INCOMPLETE

from .cells import KEY, Cell, all_cells
from .document import expected, ours, read, show, status

KEYS = [(dialect, fault) for dialect in DIALECTS for fault in FAULTS]
NAMES = [f"{dialect}-{fault}" for dialect, fault in KEYS]


@pytest.fixture(scope="module")
def cells() -> dict[tuple[str, str], Cell]:
    return asyncio.run(all_cells())


@pytest.mark.parametrize("key", KEYS, ids=NAMES)
def test_every_cell_is_true(cells: dict[tuple[str, str], Cell], key: tuple[str, str]) -> None:
    dialect, name = key
    fault, cell = FAULTS[name], cells[key]
    assert cell.end.state == fault.state_in(dialect), show(cell, fault)
    assert cell.text == expected(fault, fault.kept)
    assert status(cell) == fault.status
    assert (cell.end.error is None) == (cell.end.state == "completed")
    assert KEY not in json.dumps(cell.end.error)


def test_an_error_in_the_middle_keeps_the_words_of_the_upstream(cells: dict[tuple[str, str], Cell]) -> None:
    for dialect in DIALECTS:
        for name in (fault.name for fault in FAILED if fault.name.startswith("error-")):
            error = cells[dialect, name].end.error
            assert error is not None
            assert BROKEN in error["message"], (dialect, name)


def test_every_refusal_names_the_upstream_and_says_what_to_do(cells: dict[tuple[str, str], Cell]) -> None:
    for (dialect, name), cell in cells.items():
        if cell.end.state == "failed" and FAULTS[name].status >= 400:
            assert cell.end.error is not None
            assert cell.end.error["message"].startswith("127.0.0.1:"), (dialect, name)
            assert cell.end.error["message"].endswith((".", "https://elsewhere.example/v1")), (dialect, name)


def test_how_long_to_wait_is_kept(cells: dict[tuple[str, str], Cell]) -> None:
    assert [cells[dialect, "too-many"].end.retry_after for dialect in DIALECTS] == [7.0] * 4


def test_a_passing_failure_is_asked_again_and_a_lasting_one_is_not(cells: dict[tuple[str, str], Cell]) -> None:
    again = {"recovers", "closed-first", "reset-first", "half-head", "server-error", "unavailable", "overloaded"}
    for (_dialect, name), cell in cells.items():
        assert cell.retried == (2 if name in again else 0), name


def test_token_counts_are_the_upstreams_or_marked_as_estimated(cells: dict[tuple[str, str], Cell]) -> None:
    for dialect in DIALECTS:
        told = cells[dialect, "healthy"].usage
        assert told is not None
        assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (9, 7, 16)
        assert "estimated" not in told
        guessed = cells[dialect, "bare-marker"].usage
        assert guessed is not None
        assert guessed["completion_tokens"] > 0


def test_thinking_and_tool_calls_come_in_openais_words(cells: dict[tuple[str, str], Cell]) -> None:
    for dialect in DIALECTS:
        assert cells[dialect, "thinking"].reasoning == "Hm."
        calls = cells[dialect, "tool-call"].calls
        names = [call["function"].get("name") for call in calls]
        assert names[0] == "look"
        assert json.loads("".join(call["function"].get("arguments", "") for call in calls)) == {"at": "é"}
        assert cells[dialect, "tool-call"].end.finish_reason == "tool_calls"
        assert cells[dialect, "too-long"].end.finish_reason == "length"


BESIDE = {
    "signed-thinking": ({"ollama"}, [signature for _words, signature in SIGNED]),
    "refusal": ({"anthropic", "gemini", "ollama"}, [REFUSED]),  # of these, two have a reason to end and no words
    "citations": ({"ollama"}, [SOURCE]),
    "image": ({"anthropic"}, [PICTURE]),
    "logprobs": ({"anthropic"}, [str(LOGPROB)]),
}
"""Faults whose answer holds something beside its text: dialects without a word for it, and what must be found."""


@pytest.mark.parametrize("name", BESIDE)
def test_what_an_answer_holds_beside_its_text_is_kept(cells: dict[tuple[str, str], Cell], name: str) -> None:
    without, wanted = BESIDE[name]
    for dialect in DIALECTS:
        cell = cells[dialect, name]
        kept = json.dumps([cell.message, cell.logprobs])
        assert all(one in kept for one in wanted) == (dialect not in without), dialect
    ends = {dialect: cells[dialect, "refusal"].end.finish_reason for dialect in DIALECTS}
    assert ends == {"openai": "stop", "anthropic": "content_filter", "gemini": "content_filter", "ollama": "stop"}


@pytest.mark.parametrize("name", ["calls-no-index", "calls-one-index", "arguments-object"])
def test_tool_calls_are_told_apart_and_have_arguments_as_text(cells: dict[tuple[str, str], Cell], name: str) -> None:
    wanted = CALLS[: 1 if name == "arguments-object" else 2]
    for dialect in DIALECTS:
        made = [call["function"] for call in cells[dialect, name].calls]
        assert [(one["name"], json.loads(one["arguments"])) for one in made] == list(wanted), dialect
        assert [call["index"] for call in cells[dialect, name].calls] == list(range(len(wanted)))


def test_there_are_more_than_25_faults_of_every_kind() -> None:
    assert len(FAULTS) == len(COMPLETED) + len(INCOMPLETE) + len(FAILED) > 50


def test_the_document_says_what_happens(cells: dict[tuple[str, str], Cell]) -> None:
    table, _rivals = read()
    assert table == ours(cells), "docs/truth.md is out of date; `make truth` writes it anew"


def test_the_document_shows_every_fault_against_the_rivals() -> None:
    _ours, rivals = read()
    for name in FAULTS:
        assert f"| `{name}` |" in rivals, f"{name} was not tried on the rivals; `make truth` does that"
