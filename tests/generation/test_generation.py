"""One answer on its way into the log: every way it can end, and when someone presses stop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from support.scripted import ASKED, Scripted
from tickertape.deltas import (
    End,
    Finish,
    Reasoning,
    Refusal,
    State,
    Stopped,
    Text,
    ToolCall,
    Usage,
    decode_delta,
    encode_delta,
)
from tickertape.errors import ApiError, EngineUnavailable, KeyReused, StreamEnded, UpstreamError
from tickertape.generation import LOST, OPENING, Generations, GenerationSpec, Limits, sink
from tickertape.providers.base import Model, Provider
from tickertape.streams.memory import MemoryEngine, MemoryWriter
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import caught_up, key, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tickertape.deltas import Delta
    from tickertape.providers.base import ChatRequest, Sink
    from tickertape.streams.contract import Engine, Header, Key, Stream, StreamWriter

COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
STOPPED = End(State.CANCELLED, cancelled_by="request")


@pytest.fixture(params=["memory", "sqlite"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    engine = (
        MemoryEngine() if request.param == "memory" else SqliteEngine(tmp_path / "tape.db", lost=encode_delta(LOST))
    )
    async with engine as running:
        yield running


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


async def begin(log: Engine, provider: Scripted, **options: Any) -> Stream:
    return await Generations(log).begin(GenerationSpec(provider, ASKED, **options), owner="ann")


async def ended(stream: Stream) -> tuple[list[Delta | End], End]:
    """Wait for the end; return what came between the opening and the end, and the end. Exactly one, always last."""
    entries = await whole(stream)
    assert entries[0] == OPENING
    *deltas, end = map(decode_delta, entries[1:])
    assert isinstance(end, End)
    assert not any(isinstance(delta, End) for delta in deltas)
    assert stream.ended
    assert (end.closed_after_ms is not None) == (end.state is State.CANCELLED)
    return deltas, msgspec.structs.replace(end, closed_after_ms=None)  # a measurement


# --- the ends


async def test_an_answer_whose_provider_said_finish_is_completed(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("Hel")
    await caught_up(stream, 2)
    provider.say("lo")
    provider.finish("length")
    deltas, end = await ended(stream)
    assert deltas == [Text("Hel"), Text("lo"), Finish("length")]
    assert end == End(State.COMPLETED, finish_reason="length")


async def test_an_answer_whose_provider_returns_without_finish_is_incomplete(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("Hel")
    provider.end()
    deltas, end = await ended(stream)
    assert deltas == [Text("Hel")]
    assert (end.state, end.finish_reason, end.status) == (State.INCOMPLETE, None, 502)
    assert end.error is not None
    assert (end.error["code"], end.error["type"]) == ("incomplete", "server_error")


async def test_a_reason_that_is_not_known_to_mean_whole_makes_no_whole_answer(log: Engine, provider: Scripted) -> None:
    """Also of a provider that is not ours: what it pushes is not believed either."""
    stream = await begin(log, provider)
    provider.say("Hel")
    provider.finish("weird")
    deltas, end = await ended(stream)
    assert deltas == [Text("Hel")]
    assert (end.state, end.finish_reason) == (State.INCOMPLETE, None)
    assert end.error is not None
    assert "'weird'" in end.error["message"]


async def test_a_provider_that_says_nothing_at_all_is_incomplete(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.end()
    deltas, end = await ended(stream)
    assert (deltas, end.state) == ([], State.INCOMPLETE)


@pytest.mark.parametrize("before", [[], ["Hel", "lo"]], ids=["before the first token", "after some text"])
async def test_a_providers_error_fails_the_answer_with_all_its_details(
    log: Engine, provider: Scripted, before: list[str]
) -> None:
    stream = await begin(log, provider)
    for text in before:
        provider.say(text)
    provider.fail(
        UpstreamError("Too fast.", status=429, type="rate_limit_error", code="slow_down", param="x", retry_after=7.5)
    )
    deltas, end = await ended(stream)
    assert [delta.text for delta in deltas if isinstance(delta, Text)] == before
    assert len(deltas) == len(before)
    assert end == End(
        State.FAILED,
        error={"message": "Too fast.", "type": "rate_limit_error", "code": "slow_down", "param": "x"},
        status=429,
        retry_after=7.5,
    )


async def test_an_error_after_finish_is_still_a_failure(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("Hello", Finish("stop"))
    provider.fail(UpstreamError("No."))
    deltas, end = await ended(stream)
    assert (deltas, end.state) == ([Text("Hello")], State.FAILED)


async def test_an_unexpected_exception_fails_the_answer_and_leaks_nothing(
    log: Engine, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await begin(log, provider)
    provider.say("Hel")
    with caplog.at_level(logging.ERROR, "tickertape"):
        provider.fail(RuntimeError("the password is swordfish"))
        deltas, end = await ended(stream)
    assert (deltas, end.state, end.status) == ([Text("Hel")], State.FAILED, 500)
    assert b"swordfish" not in encode_delta(end)
    assert "swordfish" in caplog.text


@pytest.mark.parametrize("delta", [ToolCall({"odd": object()}), Usage({"odd": object()})], ids=["raw", "usage"])
@pytest.mark.parametrize("shown", [False, True])
async def test_what_cannot_be_written_down_fails_the_answer_and_does_not_leave_it_open(
    log: Engine, provider: Scripted, caplog: pytest.LogCaptureFixture, delta: Delta, shown: bool
) -> None:
    with caplog.at_level(logging.CRITICAL, "tickertape"):
        stream = await begin(log, provider, show_usage=shown)
        provider.say("Hel")
        provider.say(delta)
        provider.finish()
        deltas, end = await ended(stream)
    assert (deltas, end.state, end.status) == ([Text("Hel")], State.FAILED, 500)


async def test_half_a_character_does_not_fail_the_answer(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say(Text("a\ud83d"), Reasoning("b\ude00"), Refusal("c\ud83d"), Finish("stop"))
    provider.end()
    deltas, end = await ended(stream)
    assert deltas == [Text("a\ufffd"), Reasoning("b\ufffd"), Refusal("c\ufffd"), Finish("stop")]
    assert end.state is State.COMPLETED


# --- stop


async def test_stop_before_the_first_step_asks_no_provider(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    await log.cancel(stream)
    deltas, end = await ended(stream)
    assert (deltas, end) == ([Stopped()], STOPPED)
    assert provider.asked == 0 or provider.closed.is_set()


async def test_stop_before_the_first_token_closes_the_upstream_call(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    await provider.opened.wait()
    await log.cancel(stream)
    deltas, end = await ended(stream)
    assert (deltas, end) == ([Stopped()], STOPPED)
    assert provider.closed.is_set()


async def test_stop_in_the_middle_keeps_the_text(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("Hel")
    await caught_up(stream, 2)
    await log.cancel(stream)
    deltas, end = await ended(stream)
    assert (deltas, end) == ([Text("Hel"), Stopped()], STOPPED)
    assert provider.closed.is_set()


async def test_the_end_of_a_stopped_answer_is_written_in_a_task_that_is_no_longer_cancelled(provider: Scripted) -> None:
    """An engine may have timeouts and task groups of its own there."""

    cancelling = -1

    class Observed(MemoryWriter):
        async def finish(self, entries: Sequence[bytes]) -> None:
            nonlocal cancelling
            task = asyncio.current_task()
            assert task is not None
            cancelling = task.cancelling()
            await super().finish(entries)

    log = made_of(Observed)
    stream = await begin(log, provider)
    await provider.opened.wait()
    await log.cancel(stream)
    assert (await ended(stream))[1] == STOPPED
    assert cancelling == 0


async def test_stop_twice_is_stop_once(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("Hel")
    await caught_up(stream, 2)
    await log.cancel(stream)
    await log.cancel(stream)
    await asyncio.sleep(0)
    await log.cancel(stream)
    deltas, end = await ended(stream)
    await log.cancel(stream)
    assert (deltas, end) == ([Text("Hel"), Stopped()], STOPPED)


async def test_stop_after_the_end_changes_nothing(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.finish()
    before = await ended(stream)
    await log.cancel(stream)
    assert await ended(stream) == before


class SlowFinish(MemoryEngine):
    """Finishes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.finishing = asyncio.Event()
        self.go = asyncio.Event()

    def writer(self, stream: Stream) -> MemoryWriter:
        engine = self

        class Slow(MemoryWriter):
            async def finish(self, entries: Sequence[bytes]) -> None:
                engine.finishing.set()
                await engine.go.wait()
                await super().finish(entries)

        return Slow(self, stream)


async def test_stop_during_finish_comes_too_late(provider: Scripted) -> None:
    log = SlowFinish()
    stream = await begin(log, provider)
    provider.say("Hello")
    provider.finish()
    await log.finishing.wait()
    await log.cancel(stream)
    log.go.set()
    deltas, end = await ended(stream)
    assert (deltas, end.state) == ([Text("Hello"), Finish("stop")], State.COMPLETED)


async def test_the_process_ending_during_finish_does_not_lose_the_end(provider: Scripted) -> None:
    log = SlowFinish()
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    provider.say("Hello")
    provider.finish()
    await log.finishing.wait()
    closing = asyncio.create_task(generations.close())
    await asyncio.sleep(0)
    log.go.set()
    await closing
    assert (await ended(stream))[1].state is State.COMPLETED


@pytest.mark.parametrize("turns", range(0, 30, 2))
async def test_stop_at_any_moment_leaves_one_end_and_no_open_call(log: Engine, turns: int) -> None:
    """The moment moves on by two turns of the event loop, from the very beginning until after the end."""
    provider = Scripted()
    stream = await begin(log, provider)
    provider.say("Hel")
    provider.say("lo", Finish("stop"), Usage(COUNTS))
    provider.end()
    for _ in range(turns):
        await asyncio.sleep(0)
    await log.cancel(stream)
    deltas, end = await ended(stream)
    assert "Hello".startswith("".join(delta.text for delta in deltas if isinstance(delta, Text)))
    assert (end.state is State.CANCELLED) == (Stopped() in deltas) == (Finish("stop") not in deltas)
    assert end.state in (State.CANCELLED, State.COMPLETED)
    assert provider.asked == 0 or provider.closed.is_set()


async def test_a_provider_that_answers_a_stop_with_an_error_was_stopped_all_the_same(log: Engine) -> None:
    class Sulking(Scripted):
        async def answer(self, request: ChatRequest, sink: Sink) -> None:
            try:
                await super().answer(request, sink)
            except asyncio.CancelledError:
                raise UpstreamError("The connection was closed.") from None

    provider = Sulking()
    stream = await begin(log, provider)
    provider.say("Hel")
    await caught_up(stream, 2)
    await log.cancel(stream)
    deltas, end = await ended(stream)
    assert (deltas, end) == ([Text("Hel"), Stopped()], STOPPED)


async def test_a_provider_that_takes_its_time_to_close_is_waited_for(log: Engine) -> None:
    class Slow(Scripted):
        async def answer(self, request: ChatRequest, sink: Sink) -> None:
            try:
                await super().answer(request, sink)
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                self.gone = True

    provider = Slow()
    stream = await begin(log, provider)
    provider.say("Hel")
    await caught_up(stream, 2)
    await log.cancel(stream)
    _, end = await ended(stream)
    assert end.state is State.CANCELLED
    assert provider.gone


# --- the process ends


async def test_answers_that_run_when_the_process_ends_are_lost_with_their_text(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    provider.say("Hel")
    await caught_up(stream, 2)
    await generations.close()
    assert stream.ended
    deltas, end = await ended(stream)
    assert (deltas, end) == ([Text("Hel")], LOST)
    assert provider.closed.is_set()


async def test_an_answer_that_has_not_begun_is_lost_too(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    await generations.close()
    assert (await ended(stream))[1] == LOST
    assert provider.asked == 0 or provider.closed.is_set()


async def test_answers_may_finish_within_the_grace_period(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    closing = asyncio.create_task(generations.close(grace=60))
    await provider.opened.wait()
    provider.say("Hello")
    provider.finish()
    await closing
    assert (await ended(stream))[1].state is State.COMPLETED


async def test_a_process_that_ends_begins_no_answer(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    await generations.close()
    with pytest.raises(ApiError) as refused:
        await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    assert refused.value.status == 503
    assert refused.value.retry_after is not None
    assert provider.asked == 0


async def test_a_stop_before_the_process_ends_stays_a_stop(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    await provider.opened.wait()
    await log.cancel(stream)
    await generations.close()
    assert (await ended(stream))[1].state is State.CANCELLED


# --- usage, batches


@pytest.mark.parametrize("shown", [False, True])
async def test_usage_is_always_kept_and_shown_only_when_asked_for(log: Engine, provider: Scripted, shown: bool) -> None:
    stream = await begin(log, provider, show_usage=shown)
    provider.say("Hello", Finish("stop"), Usage(COUNTS))
    provider.end()
    deltas, end = await ended(stream)
    assert deltas == [Text("Hello"), Finish("stop"), *([Usage(COUNTS)] if shown else [])]
    assert end == End(State.COMPLETED, finish_reason="stop", usage=COUNTS)


async def test_the_last_usage_counts(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider, show_usage=True)
    provider.say(Usage({"total_tokens": 1}), "Hello")
    provider.say(Usage(COUNTS), Finish("stop"))
    provider.end()
    deltas, end = await ended(stream)
    assert deltas == [Text("Hello"), Finish("stop"), Usage(COUNTS)]
    assert end.usage == COUNTS


async def test_neighbouring_pieces_of_text_share_an_entry_and_keep_their_order(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    call = ToolCall({"index": 0})
    provider.say(Reasoning("Let"), Reasoning(" me"), "a", "b", call, call, "c", Reasoning("hm"), "d", "e")
    provider.finish()
    deltas, _ = await ended(stream)
    assert deltas == [
        Reasoning("Let me"),
        Text("ab"),
        call,
        call,
        Text("c"),
        Reasoning("hm"),
        Text("de"),
        Finish("stop"),
    ]


async def test_what_comes_in_two_batches_is_two_entries(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("a")
    provider.say("b")
    provider.finish()
    assert (await ended(stream))[0] == [Text("a"), Text("b"), Finish("stop")]


async def test_empty_batches_make_no_entries(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say()
    provider.say("a")
    provider.say()
    provider.finish()
    assert (await ended(stream))[0] == [Text("a"), Finish("stop")]


async def test_text_after_the_finish_mark_still_comes_before_it(log: Engine, provider: Scripted) -> None:
    stream = await begin(log, provider)
    provider.say("a", Finish("stop"))
    provider.say("b")
    provider.end()
    assert (await ended(stream))[0] == [Text("a"), Text("b"), Finish("stop")]


# --- one key, one generation


async def test_a_second_begin_with_the_same_key_asks_nobody(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    streams = await asyncio.gather(
        *(generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key()) for _ in range(20)),
    )
    provider.finish()
    await ended(streams[0])
    assert len({stream.header.id for stream in streams}) == 1
    assert provider.asked == 1


async def test_a_reused_key_begins_nothing(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    await generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key(digest=b"one"))
    with pytest.raises(KeyReused):
        await generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key(digest=b"two"))
    await generations.close()
    assert provider.asked <= 1


async def test_a_begin_that_is_given_up_leaves_no_stream_that_never_ends(log: Engine, provider: Scripted) -> None:
    generations = Generations(log)
    for turns in range(8):
        name = f"given up {turns}"
        beginning = asyncio.create_task(generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key(name)))
        for _ in range(turns):
            await asyncio.sleep(0)
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key(name))
        await log.cancel(stream)
        assert (await ended(stream))[1].state is State.CANCELLED


# --- the log fails


def made_of(kind: type[MemoryWriter]) -> MemoryEngine:
    """Return an engine whose streams have this writer."""

    class Made(MemoryEngine):
        def writer(self, stream: Stream) -> MemoryWriter:
            return kind(self, stream)

    return Made()


class FullLog(MemoryEngine):
    """Takes so many entries, then says with a wake-up that it could not commit, as an engine with a thread does."""

    def __init__(self, room: int, *, late: bool) -> None:
        super().__init__()
        self.room = room
        self.late = late

    def writer(self, stream: Stream) -> MemoryWriter:
        engine = self

        class Full(MemoryWriter):
            def append(self, entries: Sequence[bytes]) -> None:
                if self.error is not None:
                    raise self.error
                if len(self.stream.entries) + len(entries) <= engine.room:
                    super().append(entries)
                    return
                error = EngineUnavailable("The stream log cannot be used: the disk is full.")
                if engine.late:
                    self.break_off(error)
                else:
                    self.error = error
                    raise error

        return Full(self, stream)


@pytest.mark.parametrize("late", [False, True], ids=["told by the append", "told by a wake-up"])
async def test_a_log_that_cannot_be_written_fails_the_answer_and_keeps_what_was_committed(
    provider: Scripted, late: bool
) -> None:
    log = FullLog(3, late=late)
    stream = await begin(log, provider)
    for text in ("a", "b", "c", "d"):
        provider.say(text)
    deltas, end = await ended(stream)
    assert deltas == [Text("a"), Text("b")]
    assert (end.state, end.status) == (State.FAILED, 503)
    assert end.error is not None
    assert "disk is full" in end.error["message"]
    assert provider.closed.is_set()


async def test_a_log_that_cannot_be_written_at_the_end_never_shows_a_completed_answer(provider: Scripted) -> None:
    class FullAtTheEnd(MemoryWriter):
        async def finish(self, entries: Sequence[bytes]) -> None:
            raise EngineUnavailable("The stream log cannot be used: the disk is full.")

        async def fail(self, end: bytes) -> None:
            await super().finish([end])

    stream = await begin(made_of(FullAtTheEnd), provider)
    provider.say("Hello")
    provider.finish()
    deltas, end = await ended(stream)
    assert (deltas, end.state, end.status) == ([Text("Hello")], State.FAILED, 503)
    assert end.error is not None
    assert "disk is full" in end.error["message"]


async def test_an_append_that_is_refused_as_ended_ends_the_generation(provider: Scripted) -> None:
    class Fenced(MemoryWriter):
        def append(self, entries: Sequence[bytes]) -> None:
            self.stream.extend([encode_delta(LOST)], ended=True)  # somebody else took this stream for dead
            raise StreamEnded(self.stream.header.id)

    stream = await begin(made_of(Fenced), provider)
    provider.say("a")
    deltas, end = await ended(stream)
    assert (deltas, end) == ([], LOST)
    await provider.closed.wait()


# --- the stream is created while the provider is asked


class SlowCreate(MemoryEngine):
    """Creates a stream when it is let, or fails to."""

    def __init__(self) -> None:
        super().__init__()
        self.creating = asyncio.Event()
        self.go = asyncio.Event()
        self.error: EngineUnavailable | None = None

    async def create(self, header: Header, entries: Sequence[bytes], key: Key | None = None) -> StreamWriter | Stream:
        self.creating.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return await super().create(header, entries, key)


@pytest.mark.parametrize("moment", ["at once", "in the middle of the answer", "after the answer"])
async def test_a_log_that_cannot_begin_a_stream_says_so_and_leaves_no_upstream_call(
    provider: Scripted, moment: str
) -> None:
    log = SlowCreate()
    log.error = EngineUnavailable("The disk is full.")
    beginning = asyncio.create_task(begin(log, provider))
    if moment != "at once":
        await provider.opened.wait()
        provider.say("Hel")
        if moment == "after the answer":
            provider.finish()
            await provider.closed.wait()
        await asyncio.sleep(0)
    log.go.set()
    with pytest.raises(EngineUnavailable):
        await beginning
    await provider.closed.wait()
    assert not log.store.writers


async def test_nothing_of_an_answer_is_shown_before_its_stream_is_created(provider: Scripted) -> None:
    log = SlowCreate()
    beginning = asyncio.create_task(begin(log, provider))
    await provider.opened.wait()
    provider.say("Hel")
    provider.say("lo")
    provider.finish()
    await provider.closed.wait()
    assert not beginning.done()
    assert not log.store.streams
    log.go.set()
    deltas, end = await ended(await beginning)
    assert (deltas, end.state) == ([Text("Hel"), Text("lo"), Finish("stop")], State.COMPLETED)


async def test_a_provider_that_is_quicker_than_the_log_waits_for_the_stream(
    provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory for what comes before the stream is created is bounded."""
    monkeypatch.setattr(sink, "EARLY", 10)
    log = SlowCreate()
    beginning = asyncio.create_task(begin(log, provider))
    await provider.opened.wait()
    for number in range(30):
        provider.say(f"{number} ")
    provider.finish()
    for _ in range(50):
        await asyncio.sleep(0)
    assert provider.pushed == 11
    log.go.set()
    deltas, end = await ended(await beginning)
    assert (len(deltas), end.state) == (31, State.COMPLETED)


async def test_with_a_key_the_provider_is_asked_only_when_the_stream_is_known_to_be_new(provider: Scripted) -> None:
    log = SlowCreate()
    generations = Generations(log)
    beginning = asyncio.create_task(generations.begin(GenerationSpec(provider, ASKED), owner="ann", key=key()))
    await log.creating.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert provider.asked == 0
    log.go.set()
    provider.finish()
    assert (await ended(await beginning))[1].state is State.COMPLETED


async def test_the_process_ending_while_a_stream_is_created_ends_it_as_lost(provider: Scripted) -> None:
    log = SlowCreate()
    generations = Generations(log)
    beginning = asyncio.create_task(generations.begin(GenerationSpec(provider, ASKED), owner="ann"))
    await provider.opened.wait()
    provider.say("Hel")
    await asyncio.sleep(0)
    closing = asyncio.create_task(generations.close())
    await provider.closed.wait()
    log.go.set()
    await closing
    assert await ended(await beginning) == ([Text("Hel")], LOST)


# --- pushed from callbacks


class Pushing(Provider):
    """Hands its sink to the test, and answers until it is let go."""

    name = "pushing"

    def __init__(self) -> None:
        self.sink: asyncio.Future[Sink] = asyncio.get_running_loop().create_future()
        self.go = asyncio.Event()

    async def models(self) -> list[Model]:
        return []

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        self.sink.set_result(sink)
        await self.go.wait()


async def test_what_is_pushed_after_the_end_is_ignored(log: Engine) -> None:
    pushing = Pushing()
    stream = await Generations(log).begin(GenerationSpec(pushing, ASKED), owner="ann")
    answer = await pushing.sink
    answer.push([Text("Hel"), Finish("stop")])
    pushing.go.set()
    before = await ended(stream)
    answer.push([Text("lo"), Usage(COUNTS)])
    assert await ended(stream) == before
    assert before[0] == [Text("Hel"), Finish("stop")]


async def test_what_is_pushed_after_a_stop_is_ignored(log: Engine) -> None:
    pushing = Pushing()
    stream = await Generations(log).begin(GenerationSpec(pushing, ASKED), owner="ann")
    answer = await pushing.sink
    answer.push([Text("Hel")])
    await log.cancel(stream)
    answer.push([Text("lo"), Finish("stop")])
    assert await ended(stream) == ([Text("Hel"), Stopped()], STOPPED)


async def test_what_ends_an_answer_in_a_push_is_not_raised_in_the_callback(log: Engine) -> None:
    pushing = Pushing()
    stream = await Generations(log, Limits(events=2)).begin(GenerationSpec(pushing, ASKED), owner="ann")
    answer = await pushing.sink
    for text in ("a", "b", "c", "d"):
        answer.push([Text(text)])
    deltas, end = await ended(stream)
    assert (deltas, end.state, end.error and end.error["code"]) == (
        [Text("a"), Text("b")],
        State.FAILED,
        "answer_too_long",
    )


async def test_a_provider_that_returns_right_after_a_push_beyond_a_limit_ends_failed_in_peace(log: Engine) -> None:
    """The cancellation that the push asked for does not hit what writes the end."""

    class Hasty(Pushing):
        async def answer(self, request: ChatRequest, sink: Sink) -> None:
            sink.push([Text("a")])
            sink.push([Text("b"), Finish("stop")])

    stream = await Generations(log, Limits(events=1)).begin(GenerationSpec(Hasty(), ASKED), owner="ann")
    deltas, end = await ended(stream)
    assert (deltas, end.state) == ([Text("a")], State.FAILED)


async def test_a_log_that_is_behind_makes_the_provider_wait(provider: Scripted) -> None:
    class Behind(MemoryWriter):
        limit = 3
        again = asyncio.Event()

        @property
        def behind(self) -> bool:
            return len(self.stream.entries) > self.limit

        async def drained(self) -> None:
            await self.again.wait()

    class BehindEngine(MemoryEngine):
        def writer(self, stream: Stream) -> StreamWriter:
            return Behind(self, stream)

    stream = await begin(BehindEngine(), provider)
    for text in "abcdef":
        provider.say(text)
    provider.finish()
    for _ in range(20):
        await asyncio.sleep(0)
    assert provider.pushed == 3
    Behind.again.set()
    deltas, _ = await ended(stream)
    assert deltas == [*map(Text, "abcdef"), Finish("stop")]
