"""Official clients read what tickertape makes of an upstream's tool calls, thinking, citations and media."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.dialects.openai_chat import ChunkView, StreamTranscript

from .scripted import Came, came

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = Path(__file__).parents[2] / "conformance" / "upstream.json"
QUESTION: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def results() -> dict[str, Came]:
    """Every case of ours whose answer is completed, by dialect and name, however its caller asked for it."""
    cases = [case for case in json.loads(OWN.read_text("utf-8")) if not any("wait" in part for part in case["parts"])]
    found = asyncio.run(came(cases))
    made = {f"{case['dialect']}-{case['name']}": one for case, one in zip(cases, found, strict=True)}
    return {name: one for name, one in made.items() if one.state == "completed"}


@pytest.fixture(scope="module")
def base_url(results: dict[str, Came]) -> Iterator[str]:
    """A server whose models are the cases: what a tickertape would send for each, streamed or whole."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stream = results[body["model"]].stream
            if body.get("stream"):
                kind, data = "text/event-stream; charset=utf-8", ChunkView(stream.header).feed(stream.entries, 1)
            else:
                kind, data = "application/json", json.dumps(StreamTranscript(stream).completion()).encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_openais_stream_helper_reads_every_case_and_gathers_what_we_gather(
    results: dict[str, Came], base_url: str
) -> None:
    import openai

    with openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        for name, one in results.items():
            if one.finish in ("length", "content_filter"):
                continue  # the helper raises an error of its own for these, by design
            with client.chat.completions.stream(model=name, messages=QUESTION) as stream:
                for _ in stream:
                    pass
                message = stream.get_final_completion().choices[0].message
            ours = StreamTranscript(one.stream)
            assert (message.content or "") == ours.text, name
            made = [(call.id, call.type) for call in message.tool_calls or ()]
            assert made == [(call["id"], call["type"]) for call in ours.tool_calls], name
            extra: Any = message.model_extra or {}
            assert extra.get("reasoning_content", "") == ours.reasoning, name
            details = extra.get("reasoning_details", [])
            assert details == ours.reasoning_details, name
            assert len(extra.get("images", [])) == len(ours.images), name
            assert len(message.annotations or ()) == len(ours.annotations), name


def test_openais_client_reads_every_case_in_one_piece(results: dict[str, Came], base_url: str) -> None:
    import openai

    with openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        for name, one in results.items():
            completion = client.chat.completions.create(model=name, messages=QUESTION)
            assert (completion.choices[0].message.content or "") == StreamTranscript(one.stream).text, name


def test_pydantic_ai_reads_tool_calls_thinking_and_citations(results: dict[str, Came], base_url: str) -> None:
    pytest.importorskip("pydantic_ai")
    import openai
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def read(client: Any, name: str) -> list[Any]:
        model = OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))
        asked = [ModelRequest.user_text_prompt("hi")]
        parameters = ModelRequestParameters()
        async with model_request_stream(model, asked, model_request_parameters=parameters) as stream:
            async for _ in stream:
                pass
            return list(stream.get().parts)

    async def all_parts() -> dict[str, list[Any]]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
            return {name: await read(client, name) for name in results}

    for name, parts in asyncio.run(all_parts()).items():
        ours = StreamTranscript(results[name].stream)
        text = "".join(part.content for part in parts if part.part_kind == "text")
        assert text == ours.text, name
        called = [part.tool_name for part in parts if part.part_kind == "tool-call"]
        assert called == [call["function"]["name"] for call in ours.tool_calls if call["type"] == "function"], name
