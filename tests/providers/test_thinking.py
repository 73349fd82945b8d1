"""Thinking inside an answer is told apart however it is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.deltas import Delta, Finish, Reasoning, Text
from tickertape.providers.base import ChatRequest
from tickertape.providers.thinking import Thinking, thinking_of


def sort(*texts: str, opened: bool = False) -> tuple[str, str]:
    """Return the thinking and the answer."""
    thinking = Thinking(opened=opened)
    out: list[Delta] = []
    for text in texts:
        out += thinking.sort([Text(text)], last=False)
    out += thinking.sort([Finish("stop")], last=True)
    assert out[-1] == Finish("stop"), "what was held back comes before the end"
    assert not any(delta == kind("") for delta in out for kind in (Text, Reasoning))
    return (
        "".join(delta.text for delta in out if isinstance(delta, Reasoning)),
        "".join(delta.text for delta in out if isinstance(delta, Text)),
    )


CASES = {
    "<think>\nHm, so.\n</think>\n\nYes.": ("Hm, so.", "Yes."),
    " \n<think>Hm</think>Yes": ("Hm", "Yes"),
    "<think></think>\n\nYes": ("", "Yes"),
    "<think>never ends": ("never ends", ""),
    "<think>a < b </ c </think >x</think>y": ("a < b </ c </think >x", "y"),
    "<think>a</think>b</think><think>c": ("a", "b</think><think>c"),
    "Use <think> tags</think>": ("", "Use <think> tags</think>"),
    "<thinking>no</thinking>": ("", "<thinking>no</thinking>"),
    "<thin": ("", "<thin"),
    "  ": ("", "  "),
    "<think>ends with </thin": ("ends with </thin", ""),
}


@pytest.mark.parametrize(("whole", "parts"), CASES.items())
def test_thinking_is_told_from_the_answer(whole: str, parts: tuple[str, str]) -> None:
    assert sort(whole) == parts
    assert sort(*whole) == parts


OPENED = {
    "Hm, so.\n</think>\n\nYes.": ("Hm, so.", "Yes."),
    "<think>Hm</think>Yes": ("Hm", "Yes"),
    "</think>Yes": ("", "Yes"),
    "\nHm </think>a</think>b": ("Hm", "a</think>b"),
    "never ends": ("never ends", ""),
    "<thin": ("<thin", ""),
}
"""Where the prompt's template has opened the thinking, and the upstream's settings say so."""


@pytest.mark.parametrize(("whole", "parts"), OPENED.items())
def test_thinking_that_the_template_has_opened_is_told_from_the_answer(whole: str, parts: tuple[str, str]) -> None:
    assert sort(whole, opened=True) == parts
    assert sort(*whole, opened=True) == parts


def test_an_upstream_that_sends_opened_thinking_in_a_field_of_its_own_is_left_alone() -> None:
    deltas: list[Delta] = [Reasoning("Hm"), Text("Yes")]
    assert Thinking(opened=True).sort(deltas, last=True) == deltas


@given(st.sampled_from(list(CASES)), st.lists(st.integers(0, 60)))
def test_it_is_the_same_however_it_is_cut(whole: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    assert sort(*(whole[a:b] for a, b in pairwise(edges))) == CASES[whole]


def test_it_is_over_with_the_first_word_of_the_answer() -> None:
    thinking = Thinking()
    assert thinking.sort([Text("Yes")], last=False) == [Text("Yes")]
    assert thinking.over


def test_whoever_wants_it_raw_gets_it_raw() -> None:
    for value in ("raw", "none"):
        assert thinking_of(ChatRequest(model="m", messages=[], parameters={"reasoning_format": value})) is None
    assert thinking_of(ChatRequest(model="m", messages=[])) is not None
