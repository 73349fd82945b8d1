"""openai-node and the AI SDK read what tickertape makes of an upstream's answer, and are told of what is not whole."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from support.in_loop import serve
from tickertape.dialects.openai_chat import StreamTranscript
from tickertape.providers.base import Model, Provider

from .npm import beside, installed
from .scripted import Came, Scripted, came

if TYPE_CHECKING:
    from tickertape.providers.base import ChatRequest, Sink

OWN = Path(__file__).parents[2] / "conformance" / "upstream.json"
PACKAGES = ("ai@^7", "@ai-sdk/openai-compatible@^3", "openai@^6")
OPENAI = ("openaiHelper", "openaiChunks", "openaiWhole")
AI_SDK = ("aiStream", "aiWhole")

Told = dict[str, Any]

AI_WORDS = {"tool_calls": "tool-calls", "function_call": "tool-calls", "content_filter": "content-filter"}
"""What the AI SDK calls a finish reason of OpenAI."""


class Cases(Provider):
    """A provider whose models are the cases."""

    name = "cases"

    def __init__(self, upstream: Scripted, names: list[str]) -> None:
        self._upstream = upstream
        self._names = names

    async def models(self) -> list[Model]:
        return [Model(id=name, owned_by="test") for name in self._names]

    async def answer(self, request: ChatRequest, sink: Sink) -> None:
        provider = self._upstream.provider(self._names.index(request.model), timeout=30)
        try:
            await provider.answer(msgspec.structs.replace(request, model="m"), sink)
        finally:
            await provider.close()


@pytest.fixture(scope="module")
def script() -> Path:
    """Where the script lies beside its packages; the test is skipped where they cannot be had."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: openai-node and the AI SDK are asked with it")
    try:
        home = installed("truth-clients", *PACKAGES)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm could not install {', '.join(PACKAGES)}: {error.stderr.strip()[:300]}")
    return beside(home, Path(__file__).with_name("clients.mjs"))


def _cases() -> tuple[list[dict[str, Any]], list[Came]]:
    """Return the cases, with what came out of them: all that are whole, and one of each kind of those that are not."""
    cases = [case for case in json.loads(OWN.read_text("utf-8")) if not any("wait" in part for part in case["parts"])]
    kept: dict[Any, tuple[dict[str, Any], Came]] = {}
    for case, one in zip(cases, asyncio.run(came(cases)), strict=True):
        kind = (
            (case["dialect"], case["name"])
            if one.state == "completed"
            else (case["dialect"], one.state, bool(one.text))
        )
        kept.setdefault(kind, (case, one))
    return [case for case, _one in kept.values()], [one for _case, one in kept.values()]


@pytest.fixture(scope="module")
def told(script: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Came, dict[str, Told]]]:
    """What came out of each case here, and what each way of asking a server for it was told."""
    cases, results = _cases()
    names = [f"{case['dialect']}-{case['name']}" for case in cases]

    async def asked() -> bytes:
        async with (
            Scripted(cases) as upstream,
            serve(tmp_path_factory.mktemp("cases"), Cases(upstream, names)) as server,
        ):
            url = f"http://127.0.0.1:{server.port}/v1"
            node = await asyncio.create_subprocess_exec("node", script, url, *names, stdout=subprocess.PIPE)
            out, _err = await node.communicate()
            assert node.returncode == 0
            return out

    found: dict[str, dict[str, Told]] = {name: {} for name in names}
    for line in asyncio.run(asked()).splitlines():
        one = json.loads(line)
        found[one["model"]][one["way"]] = one
    return {name: (one, found[name]) for name, one in zip(names, results, strict=True)}


def _differences(one: Came, said: Told) -> dict[str, tuple[Any, Any]]:
    """Return what was told otherwise than it came."""
    ours = StreamTranscript(one.stream)
    wanted: Told = {
        "told": "end",
        "text": ours.text,
        "reasoning": ours.reasoning,
        "finish": one.finish,
        "calls": [
            (call["type"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in ours.tool_calls
        ],
    }
    got = said | {"calls": [(kind, name, json.loads(given)) for _id, kind, name, given, *_ in said.get("calls", ())]}
    if said["way"] in AI_SDK:  # for it a refusal is text, and means that the content was filtered
        wanted["text"] += ours.refusal
        wanted["finish"] = "content-filter" if ours.refusal else AI_WORDS.get(str(one.finish), one.finish)
        wanted["invalid"], got["invalid"] = [], [call for call in said.get("calls", ()) if call[4]]
    else:
        wanted["refusal"] = ours.refusal
        wanted["details"] = ours.reasoning_details
        wanted["sources"] = [
            note["url_citation"]["url"] if "url_citation" in note else None for note in ours.annotations
        ]
        wanted["images"] = [image["image_url"]["url"] for image in ours.images]
    if said["way"] == "openaiHelper":  # of a field that it does not know it keeps the last piece alone
        for name in ("reasoning", "details", "sources", "images"):
            if len(wanted[name]) > len(got[name]) and wanted[name][-len(got[name]) :] == got[name] != wanted[name][:0]:
                wanted[name] = got[name]
    return {name: (value, got.get(name)) for name, value in wanted.items() if got.get(name) != value}


@pytest.mark.parametrize("way", [*OPENAI, *AI_SDK])
def test_a_client_for_node_is_told_what_the_upstream_said(
    told: dict[str, tuple[Came, dict[str, Told]]], way: str
) -> None:
    wrong = {
        name: differences
        for name, (one, ways) in told.items()
        if one.state == "completed" and (differences := _differences(one, ways[way]))
    }
    assert wrong == {}


@pytest.mark.parametrize("way", [*OPENAI, *AI_SDK])
def test_a_client_for_node_throws_where_the_answer_is_not_whole(
    told: dict[str, tuple[Came, dict[str, Told]]], way: str
) -> None:
    partial = {name: ways[way] for name, (one, ways) in told.items() if one.state != "completed"}
    assert {said["told"] for said in partial.values()} == {"error"}
    for name, said in partial.items():
        _host, _space, why = told[name][0].error.partition(" ")
        assert why in said["error"], name


@pytest.mark.parametrize("way", [*OPENAI, *AI_SDK])
def test_calls_that_a_client_for_node_reads_have_ids_of_their_own(
    told: dict[str, tuple[Came, dict[str, Told]]], way: str
) -> None:
    for name, (one, ways) in told.items():
        ids = [call[0] for call in ways[way].get("calls", ())]
        assert len(set(filter(None, ids))) == len(ids), name
        for ours, theirs in zip(StreamTranscript(one.stream).tool_calls, ids, strict=one.state == "completed"):
            made_here = ours["id"].startswith("call_")  # as the upstream sent none, another in each answer
            assert made_here or theirs == ours["id"], name
