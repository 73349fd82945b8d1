"""The limits on answers, and what becomes of those that nobody reads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from support.scripted import ASKED, Scripted
from tickertape.deltas import End, State, decode_delta
from tickertape.errors import ApiError, EngineUnavailable, KeyReused
from tickertape.generation import Generations, GenerationSpec, Limits, attendance, batching
from tickertape.streams.contract import Key
from tickertape.streams.memory import MemoryEngine, MemoryWriter
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.streams.sqlite.producer import SqliteWriter
from tickertape.testing.engine_contract import whole

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.streams.contract import Engine, Stream, StreamWriter


async def end_of(stream: Stream) -> End:
    end = decode_delta((await whole(stream))[-1])
    assert isinstance(end, End)
    return end


@pytest.fixture
def log() -> Engine:
    return MemoryEngine()


async def test_an_owner_with_too_many_answers_is_told_to_come_again(log: Engine) -> None:
    generations = Generations(log, Limits(per_owner=2))
    for _ in range(2):
        await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann")
    with pytest.raises(ApiError, match="2 answers running, of 2 allowed") as refused:
        await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann")
    assert (refused.value.status, refused.value.retry_after) == (429, 5.0)
    await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ben")
    await generations.close()
    assert not generations._owners, "an owner without answers is forgotten"


async def test_a_line_that_is_full_takes_nobody_more(log: Engine) -> None:
    provider = Scripted()
    provider.capacity = 1
    generations = Generations(log, Limits(waiting=2))
    streams = []
    for _ in range(3):
        streams.append(await generations.begin(GenerationSpec(provider, ASKED), owner="ann"))
        await asyncio.sleep(0)
    with pytest.raises(ApiError, match="2 answers wait for this model already, of 2 allowed"):
        await generations.begin(GenerationSpec(provider, ASKED), owner="ben")
    assert [stream.queued for stream in streams] == [0, 1, 2]
    provider.finish()
    assert (await end_of(streams[0])).state is State.COMPLETED
    await generations.begin(GenerationSpec(provider, ASKED), owner="ben")
    await generations.close()


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [(Limits(per_owner=7), 7), (Limits(running=3, waiting=4), 7), (Limits(waiting=6), 7)],
    ids=["of one owner", "in all", "in the line"],
)
async def test_fifty_at_once_do_not_get_past_a_limit(log: Engine, limits: Limits, allowed: int) -> None:
    """Guards: that an answer counts from the moment it is asked for, not from its first commit on."""
    provider = Scripted()
    provider.capacity = 1 if limits.waiting == 6 else None
    generations = Generations(log, limits)
    asked = [generations.begin(GenerationSpec(provider, ASKED), owner="ann") for _ in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, ApiError)]
    assert (len(answers) - len(refused), {error.status for error in refused}) == (allowed, {429})
    await generations.close()
    assert (generations._accepted, dict(generations._owners), generations._queues[provider].accepted) == (0, {}, 0)


async def test_who_repeats_a_post_gets_the_answer_that_exists_however_busy_the_server_is(log: Engine) -> None:
    """Guards: that a key is looked up before its owner is sent away for the answer that it began."""
    generations = Generations(log, Limits(per_owner=1))
    key = Key("once", b"digest")
    asked = [generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann", key=key) for _ in range(50)]
    streams = await asyncio.gather(*asked)
    assert len({id(stream) for stream in streams}) == 1
    with pytest.raises(KeyReused):
        await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann", key=Key("once", b"another"))
    with pytest.raises(ApiError, match="1 answers running, of 1 allowed"):
        await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann", key=Key("twice", b"digest"))
    await generations.close()


async def test_an_answer_that_could_not_be_begun_takes_no_place() -> None:
    class Full(MemoryEngine):
        async def create(self, *_: object) -> Stream:
            raise EngineUnavailable("The disk is full.")

    generations = Generations(Full(), Limits(per_owner=1))
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            await generations.begin(GenerationSpec(Scripted(), ASKED), owner="ann")


async def test_an_answer_can_be_stopped_while_it_waits_in_the_line(log: Engine) -> None:
    provider = Scripted()
    provider.capacity = 1
    generations = Generations(log)
    await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    waiting = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    await asyncio.sleep(0)
    await log.cancel(waiting)
    assert (await end_of(waiting)).state is State.CANCELLED
    assert provider.asked == 1
    await generations.close()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(events=3), "more than 3 events"),
        (Limits(size=20), "more than 20 bytes"),
        (Limits(seconds=0.05), "more than 0.05 seconds"),
    ],
)
async def test_an_answer_beyond_a_limit_ends_failed_and_keeps_its_text(log: Engine, limits: Limits, says: str) -> None:
    provider = Scripted()
    stream = await Generations(log, limits).begin(GenerationSpec(provider, ASKED), owner="ann")
    for _ in range(4):
        provider.say("12345")
    end = await end_of(stream)
    assert (end.state, end.error and end.error["code"]) == (State.FAILED, "answer_too_long")
    assert end.error is not None
    assert says in end.error["message"]
    assert stream.entries[1] == b't"12345"'
    assert provider.closed.is_set()


async def test_an_answer_that_nobody_reads_is_cancelled_after_its_time(log: Engine) -> None:
    provider = Scripted()
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, abandon_after=0.01), owner="ann")
    stream.enter()
    provider.say("Hel")
    await stream.wait(1)
    stream.leave()
    end = await end_of(stream)
    assert (end.state, end.cancelled_by) == (State.CANCELLED, "disconnect")
    assert provider.closed.is_set()


async def test_an_answer_whose_policy_is_to_go_on_goes_on_without_readers(log: Engine) -> None:
    provider = Scripted()
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED), owner="ann")
    stream.enter()
    stream.leave()
    provider.finish()
    assert (await end_of(stream)).state is State.COMPLETED


async def test_a_reader_who_comes_back_in_time_keeps_the_answer(log: Engine) -> None:
    provider = Scripted()
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, abandon_after=0.01), owner="ann")
    stream.enter()
    provider.say("Hel")
    await stream.wait(1)
    stream.leave()
    stream.enter()
    await asyncio.sleep(0.05)  # well beyond the time that an unread answer gets: nothing else can be waited for
    provider.finish()
    assert (await end_of(stream)).state is State.COMPLETED


async def test_readers_in_another_process_count(log: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Scripted()
    asked = 0

    async def attended(_writer: StreamWriter, _within: float) -> bool:
        nonlocal asked
        asked += 1
        return asked < 3

    for kind in (MemoryWriter, SqliteWriter):
        monkeypatch.setattr(kind, "attended", attended)
    monkeypatch.setattr(attendance, "AGAIN", 0.01)
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, abandon_after=0.01), owner="ann")
    stream.enter()
    stream.leave()
    assert (await end_of(stream)).cancelled_by == "disconnect"
    assert asked == 3


async def test_who_left_the_line_and_comes_back_in_another_process_has_the_old_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards: that readers elsewhere are told the place, and count as readers while they wait for their turn."""
    monkeypatch.setattr(attendance, "AGAIN", 0.05)
    provider = Scripted()
    provider.capacity = 1
    path = tmp_path / "tape.db"
    async with SqliteEngine(path, lost=b"", reap=0.05) as here, SqliteEngine(path, lost=b"", reap=0.05) as there:
        asked, ask = asyncio.Event(), SqliteWriter.attended

        async def attended(writer: SqliteWriter, within: float) -> bool:
            found = await ask(writer, within)
            asked.set()  # what comes of it is decided now
            return found

        monkeypatch.setattr(SqliteWriter, "attended", attended)
        generations = Generations(here)
        try:
            async with asyncio.timeout(60):
                await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
                stream = await generations.begin(GenerationSpec(provider, ASKED, abandon_after=1), owner="ann")
                last = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
                stream.enter()
                while last.queued != 2:
                    await last.wait(1)
                copy = await there.get(stream.header.id, "ann")
                copy.enter()
                stream.leave()
                while copy.queued != 1:
                    await copy.wait(1)
                await asked.wait()
                assert (stream.queued, last.queued) == (1, 2)
                for _ in range(3):
                    provider.finish()
                end = decode_delta((await whole(copy))[-1])
                assert isinstance(end, End)
                assert (end.state, copy.queued) == (State.COMPLETED, 0)
                copy.leave()
        finally:
            await generations.close()


async def test_a_log_that_cannot_say_who_reads_is_asked_again(log: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool | EngineUnavailable] = [EngineUnavailable("The disk is busy."), False]

    async def attended(_writer: StreamWriter, _within: float) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, EngineUnavailable):
            raise answer
        return answer

    for kind in (MemoryWriter, SqliteWriter):
        monkeypatch.setattr(kind, "attended", attended)
    monkeypatch.setattr(attendance, "AGAIN", 0.01)
    stream = await Generations(log).begin(GenerationSpec(Scripted(), ASKED, abandon_after=0), owner="ann")
    stream.enter()
    stream.leave()
    assert (await end_of(stream)).cancelled_by == "disconnect"
    assert answers == []


async def test_an_answer_that_is_read_elsewhere_is_looked_at_now_and_then_not_all_the_time(
    log: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Scripted()
    asked = 0

    async def attended(_writer: StreamWriter, _within: float) -> bool:
        nonlocal asked
        asked += 1
        return True

    for kind in (MemoryWriter, SqliteWriter):
        monkeypatch.setattr(kind, "attended", attended)
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, abandon_after=0), owner="ann")
    stream.enter()
    stream.leave()
    while not asked:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert asked == 1
    provider.finish()
    assert (await end_of(stream)).state is State.COMPLETED


async def test_a_reader_who_comes_while_the_log_is_asked_keeps_the_answer(
    log: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Scripted()
    answered = asyncio.Event()

    async def attended(writer: StreamWriter, _within: float) -> bool:
        writer.stream.enter()
        answered.set()
        return False

    for kind in (MemoryWriter, SqliteWriter):
        monkeypatch.setattr(kind, "attended", attended)
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, abandon_after=0), owner="ann")
    stream.enter()
    stream.leave()
    await answered.wait()
    provider.say("Hello")
    provider.finish()
    assert (await end_of(stream)).state is State.COMPLETED


async def test_an_answer_that_goes_on_from_another_says_so_before_its_text(log: Engine) -> None:
    provider = Scripted()
    stream = await Generations(log).begin(GenerationSpec(provider, ASKED, continues="abc"), owner="ann")
    provider.say("lo")
    provider.finish()
    assert (await end_of(stream)).state is State.COMPLETED
    assert stream.entries[1:3] == [b'c"abc"', b't"lo"']


async def test_the_load_is_measured_while_answers_are_produced_and_no_longer(
    log: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_SAMPLE", 0.001)
    monkeypatch.setattr(time, "thread_time", time.monotonic)  # the thread has not a moment left
    provider = Scripted()
    generations = Generations(log)
    stream = await generations.begin(GenerationSpec(provider, ASKED), owner="ann")
    while not generations._clock.window:
        await asyncio.sleep(0.001)
    provider.finish()
    await end_of(stream)
    assert not generations._clock._answers
