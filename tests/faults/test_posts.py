"""Requests that are cut, repeated, made fifty at once, or come with a cursor that is none any more.

Each test says which mechanism it guards; without that mechanism it has been seen to fail.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sqlite3
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask, request
from tickertape.asgi import conversation_routes, routes
from tickertape.deltas import encode_delta
from tickertape.generation import LOST
from tickertape.streams.sqlite.engine import SqliteEngine

from .oracle import text_of, words
from .scale import at_scale
from .test_stops import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Serve
    from support.server import Server

    from .oracle import Oracle

    Judge = Callable[[str, str], Oracle]

SHOW = {"Accept": "application/json"}


def made(server: Server) -> int:
    """Return how many streams the log holds."""
    with closing(sqlite3.connect(server.data / "tape.db")) as log:
        return int(log.execute("SELECT count(*) FROM stream").fetchone()[0])


def all_ended(server: Server) -> bool:
    with closing(sqlite3.connect(server.data / "tape.db")) as log:
        return not log.execute("SELECT count(*) FROM stream WHERE ended IS NULL").fetchone()[0]


def post_cut(server: Server, question: str, headers: Mapping[str, str], sent: int, taken: int) -> bytes:
    """Send so many bytes of a POST and take so many of the answer, then cut the connection with a RST."""
    body = json.dumps(ask(question)).encode()
    fields = {"Host": f"127.0.0.1:{server.port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in (fields | dict(headers)).items())
    whole = f"POST /api/openai/stream HTTP/1.1\r\n{head}\r\n".encode() + body
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(whole[:sent])
        while sent >= len(whole) and len(got) < taken and (piece := connection.recv(taken - len(got))):
            got += piece
    return got


@at_scale(trials=(30, 600))
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
async def test_a_post_that_is_cut_anywhere_and_repeated_is_one_answer_or_leaves_none_running(
    serve: Serve, judge: Judge, trials: int, keyed: bool
) -> None:
    """Guards the key, without which the repeated POST generates again, and the policy for answers that nobody reads,
    without which the one that was cut runs on.
    """
    server = serve("--disconnect=cancel", echo_rate=2000 if keyed else 200)
    name = f"POST cut before, in and after the headers, {'with' if keyed else 'without'} a key"
    async with judge(name, server.url) as oracle:
        for trial in range(trials):
            stream = oracle.add(200 if keyed else 3000)
            headers = {"Idempotency-Key": stream.key, "Tickertape-Disconnect": "continue"} if keyed else {}
            sent, taken = (random.randint(1, 3000), 0) if trial % 3 == 0 else (10**6, random.randint(0, 1000))
            before = made(server)
            got = post_cut(server, stream.text, headers, sent, taken)
            _start, _colon, rest = got.partition(b"location: /v1/streams/")
            if not keyed and len(rest) > 32:
                stream.id = rest[:32].decode()  # it can be gone on with
            elif not keyed:
                stream.key = f"another-{trial}"
            reader = oracle.join(stream)
            if not keyed:
                await oracle.far([reader], 5)
                await stop(oracle, stream)
            await oracle.finished()
            await oracle.until(lambda: all_ended(server), 10)
            fresh = made(server) - before
            if fresh > 1 and (keyed or stream.id in got.decode("latin-1")):
                oracle.blame(stream, f"{fresh} answers were generated")
            oracle.count.trials += 1
        await oracle.check()
        assert {stream.state for stream in oracle.streams} == {"completed" if keyed else "cancelled"}


GENERATE: list[tuple[str, dict[str, Any]]] = [
    ("/api/openai/stream", {}),
    ("/v1/chat/completions", {"stream": True}),
    ("/v1/chat/completions", {"stream": False}),
    ("/v1/streams", {}),
    ("/v1/streams/{id}/continue", {}),
    ("/backend-api/conversation", {"action": "next"}),
]
"""Every route that starts a generation."""

GENERATE_NOTHING = {"/v1/streams/{id}/cancel", "/backend-api/conversations"}
"""The others that take a POST."""


def test_a_route_that_takes_a_post_is_known_to_generate_or_not_to() -> None:
    paths = routes.PATHS | conversation_routes.PATHS
    posts = {path for path, methods in paths.items() if "POST" in methods}
    assert posts == {route for route, _fields in GENERATE} | GENERATE_NOTHING, "which of the two lists is it for?"


@pytest.mark.parametrize(("route", "fields"), GENERATE)
@at_scale(rounds=(1, 20))
async def test_fifty_posts_at_once_with_one_key_are_one_answer_on_every_route(
    serve: Serve, judge: Judge, route: str, fields: dict[str, Any], rounds: int
) -> None:
    """Guards the key that is stored in the same transaction as the stream: looked up before, it is no lock."""
    server = serve("--workers=2", echo_rate=200)
    async with judge("50 POSTs at once with one key, every route, two workers", server.url) as oracle:
        for number in range(rounds):
            stream = oracle.add(40)
            path = route
            if "{id}" in route:
                partial = request(server.url, "POST", "/v1/streams", ask(stream.text)).json()["id"]
                stopped = request(server.url, "DELETE", f"/v1/streams/{partial}").json()
                path = route.format(id=partial)
                assert stream.text.startswith(stopped["text"])
                stream.text = stream.text.removeprefix(stopped["text"])
                question = words(stream.number, 40)
            else:
                question = stream.text
            before = made(server)
            headers = {"Idempotency-Key": f"k{number}"}

            async def post(path: str, question: str, headers: dict[str, str]) -> tuple[int, str, bytes]:
                async with oracle.session.post(server.url + path, json=ask(question, **fields), headers=headers) as r:
                    return r.status, r.headers["Location"], await r.read()

            answers = await asyncio.gather(*(post(path, question, headers) for _ in range(50)))
            assert {status for status, _, _ in answers} == {202 if route == "/v1/streams" else 200}
            oracle.count.trials += 1
            oracle.count.connections += 50
            if len({body for _, _, body in answers}) != 1 or made(server) - before != 1:
                oracle.blame(stream, f"{made(server) - before} answers to one key")
                continue
            stream.id = answers[0][1].removeprefix("/v1/streams/")
            oracle.join(stream)
        await oracle.check()


async def test_a_key_of_one_continued_stream_is_not_the_key_of_another(serve: Serve) -> None:
    """Guards the digest, which must name the stream that is gone on from: its text is part of the question."""
    server = serve(echo_rate=100)
    urls = []
    for _ in range(2):
        begun = request(server.url, "POST", "/v1/streams", ask(words(1, 150))).json()["url"]
        with_text = {"text": ""}
        while not with_text["text"]:
            with_text = request(server.url, "GET", begun, headers=SHOW).json()
        request(server.url, "DELETE", begun)
        urls.append(begun)
    key = {"Idempotency-Key": "one", "Tickertape-Disconnect": "continue"}
    async with asyncio.timeout(30):
        first = await asyncio.to_thread(request, server.url, "POST", f"{urls[0]}/continue", ask(words(1, 150)), key)
        other = await asyncio.to_thread(request, server.url, "POST", f"{urls[1]}/continue", ask(words(1, 150)), key)
    assert first.status == 200
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")


@at_scale(streams=(10, 100))
async def test_a_cursor_of_a_stream_that_was_forgotten_is_told_everywhere(
    serve: Serve, judge: Judge, streams: int
) -> None:
    """Guards the answer to a cursor that leads nowhere: silence would keep its reader waiting for ever."""
    server = serve("--workers=2")
    async with judge("expired, foreign, garbage and future cursors", server.url) as oracle:
        readers = [oracle.ask(30) for _ in range(streams)]
        await oracle.check()
        whole = {reader.stream: b"".join(frame + b"\n\n" for frame in reader.frames) for reader in readers}
        for reader in readers:
            number = random.randint(1, 32)
            other = random.choice([another for another in readers if another is not reader]).stream.id
            for cursor in (
                f"{other}.{number}",
                f"{'0' * 32}.{number}",
                f"{reader.stream.id}.{33 + number}",
                "garbage",
                f".{number}",
            ):
                reply = await get(server, reader.stream.id, cursor)
                if (reply.status, reply.headers.get("tickertape-cursor"), reply.body) != (
                    200,
                    "reset",
                    whole[reader.stream],
                ):
                    oracle.blame(reader.stream, f"status {reply.status} for the cursor {cursor}")
                oracle.count.trials += 1
        async with SqliteEngine(server.data / "tape.db", lost=encode_delta(LOST)) as log:
            assert await log.expire(-60) == streams
        for reader in readers:
            cursor = f"{reader.stream.id}.{random.randint(1, 33)}"
            replies = [await get(server, reader.stream.id, cursor) for _ in range(2)]
            replies.append(
                await asyncio.to_thread(
                    request, server.url, "POST", "/api/openai/stream", ask("x"), {"Last-Event-ID": cursor}
                )
            )
            for reply in replies:
                if (reply.status, reply.error["code"]) != (404, "unknown_stream"):
                    oracle.blame(reader.stream, f"status {reply.status} for the expired cursor {cursor}")
                oracle.count.trials += 1
        oracle.join(readers[0].stream)  # the same key again: it was forgotten with its stream
        readers[0].stream.id = ""
        await oracle.until(lambda: readers[0].stream.readers[-1].end)
        assert text_of(readers[0].stream.readers[-1].frames) == readers[0].stream.text


async def get(server: Server, stream_id: str, cursor: str) -> Any:
    return await asyncio.to_thread(
        request, server.url, "GET", f"/v1/streams/{stream_id}", headers={"Last-Event-ID": cursor}
    )
