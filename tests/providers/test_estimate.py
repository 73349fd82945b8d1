"""Token counts that nobody gave."""

from tickertape.deltas import Finish, Reasoning, Text, Usage
from tickertape.providers.base import ChatRequest
from tickertape.providers.estimate import Estimate

ASK = ChatRequest(
    model="m", messages=[{"role": "user", "content": "12345678"}, {"role": "user", "content": [{"text": "1234"}, 7]}]
)


def test_counts_are_estimated_from_bytes_and_marked() -> None:
    estimate = Estimate(ASK)
    estimate.see([Text("12345"), Reasoning("é" * 4), Finish("stop")])
    counts = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "estimated": True}
    assert estimate.owed() == [Usage(counts)]


def test_nothing_is_owed_when_the_upstream_told() -> None:
    estimate = Estimate(ASK)
    estimate.see([Usage({"total_tokens": 1})])
    assert estimate.owed() == []
