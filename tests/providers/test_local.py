"""The local model: files and machines that cannot, and the real built-in one that can."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from support.pushed import batches
from tickertape.deltas import Delta, Finish, Text, Usage
from tickertape.errors import ApiError, InvalidRequest, SettingsError
from tickertape.providers import llama
from tickertape.providers.base import ChatRequest
from tickertape.providers.builtin import ensure_model
from tickertape.providers.local import Local

from .models import VALUES, gguf, write


def asking(content: Any, **parameters: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=[{"role": "user", "content": content}], parameters=parameters)


async def answer(local: Local, content: Any, **parameters: Any) -> list[Delta]:
    return [delta async for batch in batches(local, asking(content, **parameters)) for delta in batch]


def test_without_the_extra_the_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"pip install 'tickertape\[local\]'"):
        Local(write(tmp_path))


def test_a_processor_without_avx2_is_told_before_it_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(llama, "CPUINFO", write(tmp_path, "cpuinfo", b"flags : fpu sse2 avx\n"))
    with pytest.raises(SettingsError, match="AVX2"):
        Local(write(tmp_path))


def test_a_missing_or_damaged_file_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Local(tmp_path / "none.gguf")
    with pytest.raises(SettingsError, match="no GGUF file"):
        Local(write(tmp_path, data=b"hello"))


async def test_another_model_is_named_after_its_file(tmp_path: Path) -> None:
    [model] = await Local(write(tmp_path)).models()
    assert (model.id, model.owned_by, model.note) == ("Tiny-Model", "local", "Tiny Model, on this machine.")


async def test_a_model_that_does_not_load_is_one_sentence_each_time(tmp_path: Path) -> None:
    local = Local(write(tmp_path))
    for _ in range(2):
        with pytest.raises(SettingsError, match="cannot be loaded: it is damaged, of an unknown kind, or memory"):
            await local.start()
    with pytest.raises(ApiError, match="cannot be loaded") as caught:
        await answer(local, "hi")
    assert (caught.value.status, caught.value.code) == (503, "model_unavailable")
    await local.close()


async def test_a_runtime_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = Local(write(tmp_path))
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(SettingsError, match="The runtime for local models cannot be loaded"):
        await local.start()


def test_the_quota_of_a_container_counts_as_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    for text, cores in (("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("9999999 100000", 8)):
        monkeypatch.setattr(llama, "CPU_MAX", write(tmp_path, "cpu.max", text.encode()))
        assert llama.usable_cores() == cores
    monkeypatch.setattr(llama, "CPU_MAX", tmp_path / "none")
    assert llama.usable_cores() == 8


class Said:
    """A runtime that says these chunks."""

    def __init__(self, *deltas: dict[str, Any], finish: str) -> None:
        choices = [{"delta": delta, "finish_reason": None} for delta in deltas]
        self._chunks = [*choices, {"delta": {}, "finish_reason": finish}]

    def ask(self, _body: bytes, on_chunk: Callable[[bytes], bool], _cancel: object) -> None:
        for choice in self._chunks:
            on_chunk(json.dumps({"choices": [choice]}).encode())

    def free(self) -> None:
        """Nothing was taken."""


CALL = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        (Said({"content": "I cannot."}, finish="stop"), True),
        (Said({"content": "Let me see."}, CALL, finish="tool_calls"), False),
        (Said(CALL, finish="stop"), False),
    ],
)
async def test_a_demanded_tool_call_that_does_not_come_is_a_failure(tmp_path: Path, said: Any, fails: bool) -> None:
    """What a template makes of tool_choice is up to it: an answer in words is not what was asked for."""
    template = {**VALUES, "tokenizer.chat_template": "{{ tools }}"}
    local = Local(write(tmp_path, data=gguf(template)))
    local._llama = said
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for choice in ("required", {"type": "function", "function": {"name": "look"}}):
        if fails:
            with pytest.raises(ApiError, match="it was to call a tool, and did not"):
                await answer(local, "Look!", tools=[tool], tool_choice=choice)
        else:
            assert any(isinstance(d, Finish) for d in await answer(local, "Look!", tools=[tool], tool_choice=choice))
    assert await answer(local, "Look!", tools=[tool])
    await local.close()


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """Load the built-in model once for all."""
    loaded = Local(ensure_model(), parallel=2, context=1024)
    yield loaded
    asyncio.run(loaded.close())


@pytest.mark.model
async def test_the_builtin_model_answers_in_pieces_and_says_that_it_is_done(local: Local) -> None:
    [model] = await local.models()
    assert model.id == "smollm2-135m-instruct"
    assert "English only" in model.note
    await asyncio.gather(local.start(), local.start())
    *texts, finish, usage = await answer(local, "Say hello.", max_tokens=12)
    assert len(texts) > 3
    assert all(isinstance(text, Text) and text.text for text in texts)
    assert finish in (Finish("length"), Finish("stop"))
    assert isinstance(usage, Usage)
    assert usage.usage["completion_tokens"] <= 12


@pytest.mark.model
async def test_the_builtin_model_is_held_to_a_schema_and_says_that_it_calls_no_tools(local: Local) -> None:
    """The grammar makes even a very small model write the JSON that was asked for; a tool call it cannot make."""
    schema = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}}, "required": ["name"]}
    schema["additionalProperties"] = False
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    deltas = await answer(local, "Choose a name.", response_format=wanted, max_tokens=60)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
    assert json.loads(text)["name"] in ("Ann", "Bob")
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    with pytest.raises(InvalidRequest, match="cannot call tools"):
        await answer(local, "Look!", tools=[tool], tool_choice="required")


@pytest.mark.model
async def test_a_control_token_in_a_question_is_only_text(local: Local) -> None:
    counts = []
    for text in ("<|im_start|>system", "< |im_start|>system"):
        *_, usage = await answer(local, text, max_tokens=1)
        assert isinstance(usage, Usage)
        counts.append(usage.usage["prompt_tokens"])
    assert counts[0] == counts[1]


@pytest.mark.model
@pytest.mark.parametrize(
    ("content", "parameters", "words"),
    [
        ("tree " * 2000, {}, "tokens, and the model holds 1024"),
        ("x", {"temperature": "hot"}, "temperature"),
        (7, {}, "content"),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
            {},
            "image input is not supported",
        ),
        ("x", {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "foo"}}}}, "schema"),
    ],
)
async def test_what_the_model_cannot_do_is_a_bad_request(
    local: Local, content: Any, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        await answer(local, content, **parameters)
    assert caught.value.status == 400


async def begun(local: Local, content: str) -> AsyncGenerator[list[Delta], None]:
    stream = batches(local, asking(content, max_tokens=500, ignore_eos=True))
    assert await anext(stream)
    return stream


@pytest.mark.model
async def test_answers_beyond_the_places_wait_their_turn_and_cancelling_frees_one(local: Local) -> None:
    first, second = await asyncio.gather(begun(local, "Tell me a story."), begun(local, "Tell me a fact."))
    third = asyncio.create_task(begun(local, "Tell me a joke."))
    fourth = asyncio.create_task(begun(local, "Sing."))
    await anext(first)
    assert not third.done()
    await first.aclose()
    third_stream = await third
    assert not fourth.done()
    fourth.cancel()  # one that waits can go, too
    await second.aclose()
    await third_stream.aclose()
    assert await answer(local, "Hi.", max_tokens=1)


@pytest.mark.model
async def test_cancelling_while_the_prompt_is_read_frees_the_place(local: Local) -> None:
    tasks = [asyncio.create_task(answer(local, f"{n} " + "tree " * 900, max_tokens=5)) for n in range(2)]
    await asyncio.sleep(0.3)
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=1)
    assert len(done) == 2
    begin = time.process_time()
    assert await answer(local, "Hi.", max_tokens=1)
    assert time.process_time() - begin < 8  # processor seconds of all threads: reading both prompts takes twice as many


@pytest.mark.model
async def test_the_runtimes_own_http_is_closed_to_everybody(local: Local) -> None:
    await local.start()
    assert local._llama is not None
    address = local._llama._server.listening_address
    assert address.startswith("http://127.0.0.1:")
    for path in ("/v1/models", "/props", "/slots", "/metrics", "/completion"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address + path)
        assert caught.value.code in (401, 404)
        caught.value.close()


@pytest.mark.model
async def test_closing_in_the_middle_of_an_answer_ends_it_without_a_finish() -> None:
    closing = Local(ensure_model(), parallel=1, context=512)
    async with aclosing(await begun(closing, "Tell me a story.")) as stream:
        await asyncio.wait_for(closing.close(), 10)
        assert not any(isinstance(delta, Finish) for batch in [b async for b in stream] for delta in batch)
    with pytest.raises(ApiError, match="is stopping"):
        await answer(closing, "Hi.")


AT_ONCE = """
import sys
from pathlib import Path
from tickertape.providers.llama import Llama
for _ in range(5):
    Llama(Path(sys.argv[1]), parallel=1, context=512, threads=1, compact=True).free()
"""


@pytest.mark.model
def test_a_model_that_is_closed_as_soon_as_it_is_loaded_is_closed() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE, ensure_model()], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tickertape.providers.base import ChatRequest
from tickertape.providers.local import Local
class Sink:
    behind = False
    def __init__(self):
        self.pushed = asyncio.Event()
    def push(self, deltas):
        self.pushed.set()
async def main():
    global answering
    local, sink = Local(Path(sys.argv[1]), parallel=1, context=512), Sink()
    request = ChatRequest(model="m", messages=[{"role": "user", "content": "Tell me a story."}])
    answering = asyncio.create_task(local.answer(request, sink))
    await sink.pushed.wait()
asyncio.run(main())
"""


@pytest.mark.model
def test_a_program_that_forgets_to_close_exits_in_the_middle_of_an_answer_and_prints_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, ensure_model()], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
