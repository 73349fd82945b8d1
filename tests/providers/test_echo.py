"""The echo model: exact, on schedule, fair."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.pushed import OneAtATime, batches
from tickertape.deltas import Delta, Finish, Text, Usage
from tickertape.errors import InvalidRequest, SettingsError
from tickertape.providers.base import ChatRequest
from tickertape.providers.echo import BATCH, Echo
from tickertape.util.timer_wheel import TimerWheel, timer_wheel


def asking(content: object) -> ChatRequest:
    return ChatRequest(model="echo", messages=[{"role": "user", "content": content}])


async def answer(echo: Echo, request: ChatRequest) -> list[list[Delta]]:
    return [batch async for batch in batches(echo, request)]


def text(batches: list[list[Delta]]) -> str:
    return "".join(delta.text for batch in batches for delta in batch if isinstance(delta, Text))


@given(st.text() | st.text(alphabet=" \n\tab\u00a0\u2028é😀"))
@settings(max_examples=300)
def test_the_answer_is_exactly_the_message(message: str) -> None:
    batches = asyncio.run(answer(Echo(), asking(message)))
    assert text(batches) == message
    assert [type(delta) for delta in batches[-1][-2:]] == [Finish, Usage]
    assert all(delta.text for batch in batches for delta in batch if isinstance(delta, Text))


@given(st.text(alphabet=" \nab", max_size=12))
@settings(max_examples=30, deadline=None)
def test_pacing_changes_nothing_in_the_answer(message: str) -> None:
    assert text(asyncio.run(answer(Echo(rate=5000), asking(message)))) == message


async def test_words_take_the_white_space_before_them() -> None:
    [[*deltas]] = await answer(Echo(), asking("  Hello,\n big world \n"))
    assert deltas == [
        Text("  Hello,"),
        Text("\n big"),
        Text(" world"),
        Text(" \n"),
        Finish("stop"),
        Usage({"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}),
    ]


async def test_the_text_parts_of_a_list_are_joined() -> None:
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": " two"},
    ]
    assert text(await answer(Echo(), asking(parts))) == "one two"


async def test_the_last_user_message_is_the_one_that_counts() -> None:
    messages = [
        {"role": role, "content": role + str(n)} for n, role in enumerate(["user", "assistant", "user", "tool"])
    ]
    assert text(await answer(Echo(), ChatRequest(model="echo", messages=messages))) == "user2"


async def test_without_a_user_message_there_is_one_sentence_of_what_to_do() -> None:
    with pytest.raises(InvalidRequest, match="holds none") as caught:
        await answer(Echo(), ChatRequest(model="echo", messages=[{"role": "system", "content": "x"}]))
    assert (caught.value.status, caught.value.param) == (400, "messages")


async def test_empty_and_absent_content_is_an_empty_answer() -> None:
    for content in ("", None, []):
        [[finish, usage]] = await answer(Echo(), asking(content))
        assert finish == Finish("stop")
        assert isinstance(usage, Usage)
        assert usage.usage["completion_tokens"] == 0


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(SettingsError, match="tokens a second"):
        Echo(rate)


async def test_unpaced_batches_are_small_and_let_others_run() -> None:
    order: list[str] = []

    async def read(name: str) -> None:
        async for batch in batches(Echo(), asking("w " * BATCH * 3)):
            assert len(batch) <= BATCH + 2
            order.append(name)

    await asyncio.gather(read("a"), read("b"))
    assert order[:6] == ["a", "b"] * 3


async def test_pieces_come_on_an_absolute_schedule_and_late_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now, due = 1000.0, list[float]()
    said: list[list[Delta]] = []

    def call(_wheel: TimerWheel, when: float, callback: Callable[[], object]) -> int:
        due.append(when)
        loop.call_soon(callback)
        return 0

    class Reader(OneAtATime):
        behind = False

        def push(self, deltas: list[Delta]) -> None:
            nonlocal now
            said.append(deltas)
            now = 1000 + len(due) / 10 + 0.001  # every step is a little late: the schedule does not move
            if len(said) == 3:
                now += 0.3  # the loop was busy for three pieces

    monkeypatch.setattr(TimerWheel, "call", call)
    monkeypatch.setattr(loop, "time", lambda: now)
    await Echo(rate=10).answer(asking("a b c d e f g h"), Reader())
    assert [len(deltas) for deltas in said] == [1, 1, 1, 3, 1, 1 + 2]
    assert due == pytest.approx([1000.1, 1000.2, 1000.3, 1000.6, 1000.7])


async def turned(seconds: float) -> None:
    """Return once the wheel that paces the answers has called what is due within so many seconds."""
    loop, passed = asyncio.get_running_loop(), asyncio.Event()
    timer_wheel(loop).call(loop.time() + seconds, passed.set)
    await passed.wait()


async def test_a_paced_answer_pushes_nothing_while_the_sink_is_behind_and_then_what_is_overdue() -> None:
    sink = OneAtATime()
    answering = asyncio.create_task(Echo(rate=2000).answer(asking("a b c d e f g h"), sink))
    await sink.pushed.wait()
    await turned(0.02)
    assert sink.batches == [[Text("a")]]
    sink.take_off()
    await answering
    assert "".join(delta.text for delta in sink.batches[0] if isinstance(delta, Text)) == " b c d e f g h"


async def test_the_first_piece_comes_alone_whatever_the_rate() -> None:
    assert (await answer(Echo(rate=1e9), asking("a b c")))[0] == [Text("a")]


async def test_a_cancelled_answer_says_nothing_more() -> None:
    sink = OneAtATime()
    answering = asyncio.create_task(Echo(rate=200).answer(asking("a b"), sink))
    await sink.pushed.wait()
    sink.take_off()
    answering.cancel()
    await asyncio.wait([answering])
    await turned(0.02)  # beyond the second piece's slot
    assert not sink.batches


def test_one_echo_serves_one_event_loop_after_another() -> None:
    echo = Echo(rate=5000)
    for _ in range(2):
        assert text(asyncio.run(answer(echo, asking("a b c")))) == "a b c"
