"""The service within one process: step by step, with everything that can fail in between."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from conversations.conftest import OWNER, ask, go_on, vary
from support.scripted import Scripted
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.export import as_markdown
from tickertape.conversations.models import ConversationUpdate, MessageRequest, NewMessage, Segment
from tickertape.conversations.service import AnswerNotStarted, AnswerOptions, ConversationService
from tickertape.conversations.sql_store import SqlStore
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.deltas import End, Finish, Opens, Reasoning, State, ToolCall, Usage, decode_delta
from tickertape.errors import (
    ConversationConflict,
    ConversationLimitExceeded,
    ConversationsUnavailable,
    EngineUnavailable,
    InvalidRequest,
    UnknownConversation,
    UnknownStream,
    UpstreamError,
)
from tickertape.generation import Generations, Limits
from tickertape.providers.catalog import Catalog
from tickertape.streams.memory import MemoryEngine
from tickertape.testing.engine_contract import whole
from tickertape.util.clock import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tickertape.conversations.models import Message, PreparedAnswer
    from tickertape.providers.base import Model

NONE = AnswerOptions()
FULL = ConversationsUnavailable("The conversations chats.db cannot be used: the disk is full.")


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


class HeldUp(NamedTuple):
    """What is set when a question is about to be answered, and what lets that go on."""

    there: asyncio.Event
    go_on: asyncio.Event


@pytest.fixture
def held_up(provider: Scripted, monkeypatch: pytest.MonkeyPatch) -> HeldUp:
    held, models = HeldUp(asyncio.Event(), asyncio.Event()), provider.models

    async def slow() -> list[Model]:
        held.there.set()
        await held.go_on.wait()
        return await models()

    monkeypatch.setattr(provider, "models", slow)
    return held


@pytest.fixture
async def service(tmp_path: Path, provider: Scripted) -> AsyncIterator[ConversationService]:
    log = MemoryEngine()
    generations = Generations(log, Limits(per_owner=3))
    made = ConversationService(AsyncStore(SqliteDatabase(tmp_path / "chats.db")), log, Catalog([provider]), generations)
    yield made
    await generations.close()
    await made.close()


async def beyond_undo(service: ConversationService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so much time pass that no deletion can be taken back any more."""
    store = await service.store.read(lambda store: store)
    monkeypatch.setattr(store, "_clock", lambda: now() + 2 * service.store.limits.undo)


async def kept(service: ConversationService, prepared: PreparedAnswer) -> Message:
    found = await service.store.read(lambda store: store.get(OWNER, prepared.conversation))
    return next(message for message in found.messages if message.id == prepared.message)


async def test_everything_an_answer_consists_of_is_kept(service: ConversationService, provider: Scripted) -> None:
    options = AnswerOptions(parameters={"temperature": 0.5})
    prepared, stream = await service.ask(OWNER, ask("Hello"), options)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    provider.say(Reasoning("Hm."), "Hel", "lo", ToolCall(call), Usage({"total_tokens": 3}))
    provider.finish("tool_calls")
    entries = await whole(stream)
    assert decode_delta(entries[0]) == Opens(prepared.ids)
    assert provider.requests[0].messages == [{"role": "user", "content": "Hello"}]
    assert provider.requests[0].parameters == {"temperature": 0.5}
    await service.finalize_ended()
    answer = await kept(service, prepared)
    assert (answer.state, answer.content, answer.reasoning) == ("completed", "Hello", "Hm.")
    assert (answer.finish_reason, answer.usage, answer.model) == ("tool_calls", {"total_tokens": 3}, "scripted")
    assert answer.tool_calls == [{name: call[name] for name in ("id", "type", "function")}]
    assert answer.seconds is not None


async def test_an_answer_is_taken_over_at_its_end_though_nobody_asks(
    service: ConversationService, provider: Scripted
) -> None:
    prepared, _stream = await service.ask(OWNER, ask("Hello"), NONE)
    changed = asyncio.Event()
    service.store.changed = changed.set
    provider.say("Half")
    provider.fail(UpstreamError("The model fell over."))
    await changed.wait()
    answer = await kept(service, prepared)
    assert (answer.state, answer.content) == ("failed", "Half")
    assert answer.error is not None
    assert answer.error["message"] == "The model fell over."


async def test_a_text_that_cannot_be_taken_over_now_is_taken_over_later(
    service: ConversationService,
    provider: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)

    def full(*_arguments: Any) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(SqlStore, "finalize_message", full)
        provider.say("Text")
        provider.finish()
        await whole(stream)
        with caplog.at_level(logging.WARNING, "tickertape"):
            await service.try_finalize_ended(OWNER)  # it can be read all the same
        assert "the disk is full" in caplog.text
        assert (await kept(service, prepared)).state == "running"
        with pytest.raises(ConversationsUnavailable):
            await service.finalize_ended()  # so that nothing is forgotten
    await service.finalize_ended()
    assert (await kept(service, prepared)).content == "Text"


async def test_the_log_forgets_nothing_before_its_text_is_in_the_conversation(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)

    def full(*_arguments: Any) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(SqlStore, "finalize_message", full)
        provider.say("Text")
        provider.finish()
        await whole(stream)
        with pytest.raises(ConversationsUnavailable):
            await service.expire(-1)
        assert (await service._log.get(prepared.stream, OWNER)) is stream
    await service.expire(-1)
    with pytest.raises(UnknownStream):
        await service._log.get(prepared.stream, OWNER)
    assert (await kept(service, prepared)).content == "Text"


async def test_the_streams_of_a_deleted_conversation_are_forgotten_the_next_time_if_not_now(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)
    provider.say("Text")
    provider.finish()
    await whole(stream)
    await service.delete(OWNER, prepared.conversation)
    await beyond_undo(service, monkeypatch)
    await service.finalize_ended()
    with monkeypatch.context() as patched:

        async def busy(_streams: list[str]) -> list[str]:
            raise EngineUnavailable("The stream log is busy.")

        patched.setattr(service._log, "delete", busy)
        with pytest.raises(EngineUnavailable):
            await service.gc()

        async def unfolded(streams: list[str]) -> list[str]:
            return streams  # committed as ended, and not as deletable yet

        patched.setattr(service._log, "delete", unfolded)
        await service.gc()
    await service.gc()
    with pytest.raises(UnknownStream):
        await service._log.get(prepared.stream, OWNER)
    assert await service.store.read(lambda store: store.pending_deletion()) == []


async def test_a_deletion_that_went_wrong_half_way_stops_the_answer_when_it_is_repeated(
    service: ConversationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)

    async def busy(_stream: str, _owner: str) -> Any:
        raise EngineUnavailable("The stream log is busy.")

    with monkeypatch.context() as patched:
        patched.setattr(service._log, "get", busy)
        with pytest.raises(EngineUnavailable):
            await service.delete(OWNER, prepared.conversation)
    await service.delete(OWNER, prepared.conversation)
    end = decode_delta((await whole(stream))[-1])
    assert isinstance(end, End)
    assert end.state is State.CANCELLED


async def test_the_stream_of_a_deleted_conversation_that_still_runs_is_forgotten_once_it_has_ended(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)

    async def unheard(_stream: Any) -> None:
        """Do nothing, as when the process that produces it stands still."""

    monkeypatch.setattr(service._log, "cancel", unheard)
    await service.delete(OWNER, prepared.conversation)
    await beyond_undo(service, monkeypatch)
    await service.finalize_ended()
    await service.gc()
    provider.finish()
    await whole(stream)
    await service.finalize_ended()
    await service.gc()
    with pytest.raises(UnknownStream):
        await service._log.get(prepared.stream, OWNER)


async def test_a_stream_that_cannot_be_read_now_holds_the_others_up_not_but_forgetting(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, first_tape = await service.ask(OWNER, ask("One"), NONE)
    for _ in range(2):
        provider.say("Text")
        provider.finish()
    await whole(first_tape)
    second, second_tape = await service.ask(OWNER, ask("Two"), NONE)
    await whole(second_tape)
    real = service._log.get

    async def busy(stream: str, owner: str) -> Any:
        if stream == first.stream:
            raise EngineUnavailable("The stream log is busy.")
        return await real(stream, owner)

    unfinalized = [(first.stream, OWNER, 0.0), (second.stream, OWNER, 0.0)]
    monkeypatch.setattr(SqlStore, "unfinalized", lambda *_: [Segment(*each) for each in unfinalized])
    monkeypatch.setattr(service._log, "get", busy)
    with pytest.raises(EngineUnavailable):
        await service.finalize_ended()
    assert (await kept(service, second)).content == "Text"


async def test_a_damaged_stream_ends_its_message_as_lost(service: ConversationService, provider: Scripted) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)
    stream.entries[0] = b"?damaged"
    provider.finish()
    await whole(stream)
    await service.finalize_ended()
    answer = await kept(service, prepared)
    assert answer.state == "lost"
    assert answer.error is not None
    assert "damaged or newer" in answer.error["message"]


async def test_nothing_is_asked_when_the_question_cannot_be_kept(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise FULL

    monkeypatch.setattr(SqlStore, "prepare_answer", full)
    with pytest.raises(ConversationsUnavailable):
        await service.ask(OWNER, ask("Hello"), NONE)
    assert provider.asked == 0


async def test_a_caller_who_gives_up_is_answered_all_the_same(service: ConversationService, provider: Scripted) -> None:
    question = ask("Hello")
    caller = asyncio.create_task(service.ask(OWNER, question, NONE))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await provider.opened.wait()
    again, stream = await service.ask(OWNER, question, NONE)
    provider.finish()
    assert isinstance(decode_delta((await whole(stream))[-1]), End)
    assert (again.stream, provider.asked) == (question.stream, 1)


async def test_twenty_at_once_who_ask_the_same_ask_once(service: ConversationService, provider: Scripted) -> None:
    question = ask("Hello", key="k", digest=b"d")
    asked = await asyncio.gather(*(service.ask(OWNER, question, NONE) for _ in range(20)))
    assert len({id(stream) for _turn, stream in asked}) == 1
    assert [prepared.fresh for prepared, _stream in asked].count(True) == 1
    provider.finish()
    await whole(asked[0][1])
    assert provider.asked == 1


async def test_an_answer_that_cannot_begin_is_kept_as_failed_and_says_where_it_belongs(
    service: ConversationService, provider: Scripted
) -> None:
    first, _stream = await service.ask(OWNER, ask("One"), NONE)
    for _ in range(2):
        await service.ask(OWNER, vary(first), NONE)
    with pytest.raises(AnswerNotStarted, match="3 answers running, of 3 allowed") as unanswered:
        await service.ask(OWNER, vary(first), NONE)
    answer = await kept(service, unanswered.value.prepared)
    assert (answer.state, answer.parent) == ("failed", first.parent)
    assert provider.asked <= 3


async def test_an_error_that_nobody_foresaw_is_shown_without_its_details(
    service: ConversationService, provider: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(provider, "models", broken)
    with pytest.raises(AnswerNotStarted, match="its own log says why") as unanswered:
        await service.ask(OWNER, ask("One"), NONE)
    answer = await kept(service, unanswered.value.prepared)
    assert answer.error is not None
    assert "secret" not in str(answer.error)


async def test_a_model_that_cannot_go_on_is_not_asked_to(service: ConversationService, provider: Scripted) -> None:
    prepared, stream = await service.ask(OWNER, ask("Count"), NONE)
    provider.say("one")
    provider.end()
    await whole(stream)
    await service.finalize_ended()
    before = await kept(service, prepared)
    assert before.state == "incomplete"
    with pytest.raises(InvalidRequest, match="cannot go on"):
        await service.ask(OWNER, go_on(prepared), NONE)
    assert await kept(service, prepared) == before
    provider.prefills = True
    more, stream = await service.ask(OWNER, go_on(prepared), NONE)
    provider.say(" two")
    provider.finish()
    await whole(stream)
    await service.finalize_ended()
    after = await kept(service, prepared)
    assert (after.state, after.content, after.streams) == ("completed", "one two", [prepared.stream, more.stream])
    assert provider.requests[-1].messages[-1] == {"role": "assistant", "content": "one"}


async def test_a_question_that_is_just_about_to_be_answered_is_not_taken_for_lost(
    service: ConversationService, provider: Scripted, held_up: HeldUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream is not in the log yet, and however long it takes this process knows of it."""
    monkeypatch.setattr("tickertape.conversations.service.START", 0.0)
    asking = asyncio.create_task(service.ask(OWNER, ask("Hello"), NONE))
    await held_up.there.wait()
    await service.finalize_ended()
    (segment,) = await service.store.read(lambda store: store.unfinalized())
    reader = asyncio.create_task(service.wait_started(segment.stream))
    await asyncio.sleep(0)
    assert not reader.done()
    held_up.go_on.set()
    prepared, stream = await asking
    await reader
    assert (await kept(service, prepared)).state == "running"
    provider.say(Finish("stop"))
    provider.end()
    await whole(stream)


async def test_an_answer_that_is_about_to_begin_in_a_conversation_that_is_deleted_is_stopped(
    service: ConversationService, held_up: HeldUp
) -> None:
    question = ask("Hello")
    asking = asyncio.create_task(service.ask(OWNER, question, NONE))
    await held_up.there.wait()
    await service.delete(OWNER, question.conversation or "")
    held_up.go_on.set()
    _turn, stream = await asking
    end = decode_delta((await whole(stream))[-1])
    assert isinstance(end, End)
    assert end.state is State.CANCELLED


async def test_a_question_of_a_process_that_died_is_lost(
    service: ConversationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = await service.store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
    await service.finalize_ended()
    assert (await kept(service, prepared)).state == "running", "another process may be about to begin it"
    monkeypatch.setattr("tickertape.conversations.service.START", 0.0)
    await service.finalize_ended()
    answer = await kept(service, prepared)
    assert (answer.state, answer.streams) == (State.LOST, [])
    assert answer.error is not None
    assert answer.error["code"] == "lost"


async def test_under_an_answer_that_runs_nothing_is_asked(service: ConversationService, provider: Scripted) -> None:
    prepared, stream = await service.ask(OWNER, ask("Hello"), NONE)
    with pytest.raises(ConversationConflict, match="still being written"):
        await service.ask(OWNER, ask("More", prepared.conversation), NONE)
    provider.say("Hi")
    provider.finish()
    await whole(stream)
    more, _stream = await service.ask(OWNER, ask("More", prepared.conversation), NONE)
    assert more.prompt[1] == {"role": "assistant", "content": "Hi"}


async def test_an_application_without_a_server_asks_edits_branches_and_exports(
    service: ConversationService, provider: Scripted
) -> None:
    """It names an owner and a text; every id that it does not give is made."""

    async def answered(request: MessageRequest, text: str) -> PreparedAnswer:
        prepared, stream = await service.ask(OWNER, request)
        provider.say(text)
        provider.finish()
        await whole(stream)
        return prepared

    first = await answered(MessageRequest(messages=[NewMessage("Count")]), "1")
    here = first.conversation
    await answered(MessageRequest(conversation=here, parent=None, messages=[NewMessage("Count up")]), "1, 2")
    again = await answered(MessageRequest(action="variant", conversation=here, parent=first.parent), "one")
    (listed,) = (await service.list_page(OWNER, "count")).conversations
    assert (listed.id, listed.current) == (here, again.message)
    document = as_markdown(await service.get(OWNER, here))
    assert document.endswith("## You\n\nCount\n\n## scripted\n\none\n")
    assert (await service.list_page("ben")).total == 0
    with pytest.raises(UnknownConversation):
        await service.get("ben", here)


async def test_limits_and_titles_are_checked_for_every_caller(service: ConversationService) -> None:
    made = await service.create(OWNER, title="  A \n title ", system="Be brief.")
    assert (made.title, made.system) == ("A title", "Be brief.")
    for field in ("title", "system", "model"):
        long = "x" * 100_001
        with pytest.raises(ConversationLimitExceeded, match=f"{field} has 100,001 characters; at most") as refused:
            await service.create(OWNER, **{field: long})
        assert refused.value.param == field
        with pytest.raises(ConversationLimitExceeded):
            await service.update(OWNER, made.id, ConversationUpdate(**{field: long}))
    with pytest.raises(InvalidRequest, match="title must not be empty"):
        await service.update(OWNER, made.id, ConversationUpdate(title=" "))
    assert await service.update(OWNER, made.id, ConversationUpdate()) == made


async def test_a_deletion_is_undone_by_an_update(service: ConversationService) -> None:
    made = await service.create(OWNER, title="Keep me")
    until = await service.delete(OWNER, made.id)
    assert until == pytest.approx(now() + service.limits.undo, abs=60)
    with pytest.raises(UnknownConversation):
        await service.get(OWNER, made.id)
    assert (await service.update(OWNER, made.id, ConversationUpdate(restore=True))).title == "Keep me"


def test_the_service_is_used_without_the_modules_of_a_server() -> None:
    code = "import sys, tickertape.conversations.service, tickertape.conversations.sqlite\n"
    code += (
        "print(*(name for name in ('starlette', 'uvicorn', 'sqlalchemy', 'tickertape.server') if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
