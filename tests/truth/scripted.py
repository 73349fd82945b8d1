"""Upstreams given as data: the bytes that one sends, and what must come out of an answer read from it.

A case is an object with ``name``, ``dialect``, ``stream`` (whether the caller streams), ``parts`` (``send`` bytes,
``wait`` seconds, ``reset`` the connection) and ``any_of``, the ways in which what comes out is right. It is read as an
OpenAI client would read it: the events of ``POST /v1/chat/completions``, or its one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from tickertape import Decoder
from tickertape.deltas import End, State
from tickertape.dialects.openai_chat import ChunkView, StreamTranscript
from tickertape.generation import Generations, GenerationSpec
from tickertape.providers.base import ChatRequest
from tickertape.providers.dialects import dialect
from tickertape.streams.contract import follow
from tickertape.streams.memory import MemoryEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickertape.providers.base import Provider
    from tickertape.streams.contract import Stream

ROOTS = {"openai": "v1", "anthropic": "v1", "gemini": "v1beta", "ollama": "api"}

LONGEST = 1.5
"""Seconds that a case may wait at most: longer than what an upstream gets after its last word."""

SSE = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
NDJSON = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"


class Came(msgspec.Struct):
    """What came out of an answer."""

    state: str
    finish: str | None = None
    text: str = ""
    reasoning: str = ""
    error: str = ""
    calls: list[dict[str, Any]] = []
    json: str = ""
    stream: Any = None

    def fits(self, way: dict[str, Any]) -> bool:
        """Return whether this is right in one of a case's ways."""
        names = [call["function"] for call in self.calls if isinstance(call.get("function"), dict)]
        arguments = [function.get("arguments", "") for function in names]
        checks = {
            "state": lambda wanted: self.state == wanted,
            "state_not": lambda wanted: self.state != wanted,
            "text": lambda wanted: self.text == wanted,
            "reasoning": lambda wanted: self.reasoning == wanted,
            "finish": lambda wanted: self.finish == wanted,
            "finish_not": lambda wanted: self.finish != wanted,
            "contains": lambda wanted: all(one in self.json for one in wanted),
            "error_contains": lambda wanted: all(one in self.error for one in wanted),
            "tool_calls": lambda wanted: (
                [(f.get("name"), f.get("arguments")) for f in names] == list(map(tuple, wanted))
            ),
            "tool_call_indexes": lambda wanted: [call.get("index") for call in self.calls] == wanted,
            "arguments_are_strings": lambda wanted: all(isinstance(one, str) for one in arguments) == wanted,
            "arguments_contain": lambda wanted: all(one in "".join(map(str, arguments)) for one in wanted),
        }
        return all(checks[name](wanted) for name, wanted in way.items())


class Scripted:
    """A server on a free port that sends a case's parts, by the number in the path."""

    def __init__(self, cases: list[dict[str, Any]]) -> None:
        self._cases = cases
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def url(self, number: int) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/{number}/{ROOTS[self._cases[number]['dialect']]}"

    def provider(self, number: int, timeout: float) -> Provider:
        """Return a provider that asks for a case and waits no longer than this for its words."""
        made = dialect(self._cases[number]["dialect"])
        return made(self.url(number), "sk-x", first_token_timeout=timeout, idle_timeout=timeout, retries=0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
            for part in self._cases[int(head.split(b"/")[1])]["parts"]:
                if "wait" in part:
                    await asyncio.sleep(min(part["wait"], LONGEST))
                elif "reset" in part:
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                else:
                    send = part["send"]
                    writer.write(send.encode() if isinstance(send, str) else send)
                    await writer.drain()
        writer.close()


async def _ask(upstream: Scripted, number: int, case: dict[str, Any], timeout: float) -> Came:
    provider = upstream.provider(number, timeout)
    generations = Generations(MemoryEngine())
    try:
        request = ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}])
        stream = await generations.begin(GenerationSpec(provider, request, show_usage=True), owner="ann")
        async for _ in follow(stream):
            pass
    finally:
        await generations.close()
        await provider.close()
    return streamed(stream) if case.get("stream", True) else whole(stream)


async def came(cases: list[dict[str, Any]], timeout: float = 30) -> list[Came]:
    """Return what comes out of these cases, all asked at once."""
    async with Scripted(cases) as upstream:
        return await asyncio.gather(*(_ask(upstream, number, case, timeout) for number, case in enumerate(cases)))


def streamed(stream: Stream) -> Came:
    """Return what an OpenAI client gathers from the stream."""
    events = [event.data for event in Decoder().feed(ChunkView(stream.header).feed(stream.entries, 1))]
    made = Came("incomplete", json="\n".join(events), stream=stream)
    for data in events:
        if data == "[DONE]":
            made.state = "cancelled" if made.state == "cancelled" else "completed"
            continue
        chunk = json.loads(data)
        if error := chunk.get("error"):
            made.state, made.error = chunk["tickertape"]["state"], error["message"]
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            made.text += delta.get("content") or ""
            made.reasoning += delta.get("reasoning_content") or ""
            _merge(made.calls, delta.get("tool_calls") or ())
            made.finish = choice["finish_reason"] or made.finish
    return made


def _merge(calls: list[dict[str, Any]], pieces: Iterable[dict[str, Any]]) -> None:
    for piece in pieces:
        known = next((call for call in calls if call.get("index") == piece.get("index")), None)
        if known is None:
            calls.append(json.loads(json.dumps(piece)))
            continue
        for name in ("function", "custom"):
            for field, more in piece.get(name, {}).items():
                inner = known.setdefault(name, {})
                inner[field] = inner.get(field, "") + (more or "")


def whole(stream: Stream) -> Came:
    """Return what an OpenAI client reads from the one object, or from the error in its place."""
    answer = StreamTranscript(stream)
    end = answer.end or End(State.RUNNING)
    if end.error is not None:
        text = json.dumps(end.error, separators=(",", ":"))
        return Came(end.state, error=end.error["message"], json=text, text=answer.text, stream=stream)
    body = msgspec.json.encode(answer.completion()).decode()
    (choice,) = json.loads(body)["choices"]
    message = choice["message"]
    return Came(
        end.state,
        choice["finish_reason"],
        message.get("content") or "",
        message.get("reasoning_content") or "",
        calls=message.get("tool_calls") or [],
        json=body,
        stream=stream,
    )
