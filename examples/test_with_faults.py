"""Does a program notice that an answer was cut off? Run with pytest."""

import openai
import pytest

from tickertape.testing.upstream import Upstream


def answer(base_url: str, model: str) -> str:
    """Return the answer, or raise if there is none that is whole: this is the program under test."""
    text, finish = "", None
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        for chunk in client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], stream=True
        ):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    if finish is None:
        raise ValueError("The answer was cut off.")
    return text


def test_a_whole_answer_is_returned() -> None:
    with Upstream(words=["Hel", "lo"]) as upstream:
        assert answer(upstream.url("openai"), "healthy") == "Hello"


@pytest.mark.parametrize("fault", ["clean-eof", "reset", "error-message", "too-many"])
def test_anything_else_is_noticed(fault: str) -> None:
    with Upstream() as upstream, pytest.raises((ValueError, openai.APIError)):
        answer(upstream.url("openai"), fault)
