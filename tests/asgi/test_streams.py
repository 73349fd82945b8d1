"""`Streams` in an app of somebody else: its generators' answers survive reloads, readers, exceptions and processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel
from starlette.testclient import TestClient

import tickertape
from asgi.stacks import server
from support.server import clean_environment
from tickertape import ANYONE, Decoder, Failure, StreamEvent, StreamLimits, Streams
from tickertape.errors import UnknownStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request


class Gate:
    """A source that yields what it is given, and what became of it."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self.started = 0
        self.over = asyncio.Event()
        self.ended_by: BaseException | None = None

    def give(self, *items: Any) -> None:
        for item in items:
            self.items.put_nowait(item)

    def end(self) -> None:
        self.items.put_nowait(None)

    async def __call__(self) -> AsyncIterator[Any]:
        self.started += 1
        try:
            while (item := await self.items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        except BaseException as error:
            self.ended_by = error
            raise
        finally:
            self.over.set()


def who(request: Request) -> str | None:
    return request.headers.get("x-user", "ann")


def make(streams: Streams, **routes: Callable[..., Any]) -> FastAPI:
    app = FastAPI(lifespan=streams.lifespan)
    app.mount("/streams", streams.app)
    for name, route in routes.items():
        app.add_api_route(f"/{name}", route, methods=["GET", "POST"])
    return app


@asynccontextmanager
async def serving(streams: Streams, app: Any, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with streams, server("uvicorn with httptools", app, folder) as connect:
        _reader, writer = await connect()
        host, port = writer.get_extra_info("peername")
        writer.close()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
            yield client


async def read_until(pieces: AsyncIterator[bytes], what: bytes) -> bytes:
    body = b""
    async for piece in pieces:
        body += piece
        if what in body:
            return body
    raise AssertionError(f"{what!r} is not in {body!r}")


async def rest_of(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def told(body: str) -> list[tuple[str, Any]]:
    """Return the events of a whole body: types and data, without the first."""
    events = Decoder().feed(body.encode())
    assert events[0].type == "open"
    assert events[-1].type == "end"
    return [(event.type, json.loads(event.data)) for event in events[1:]]


def end(body: str) -> dict[str, Any]:
    made: dict[str, Any] = told(body)[-1][1]
    return made


# --- readers


async def test_a_reload_goes_on_at_its_cursor_with_the_same_bytes(tmp_path: Path) -> None:
    gate = Gate()
    streams = Streams(f"sqlite:///{tmp_path}/tape.db", owner=who)

    async with serving(streams, make(streams, chat=lambda: streams.response(gate())), tmp_path) as client:
        gate.give("Hel")
        async with client.stream("POST", "/chat") as first:
            where = first.headers["location"]
            before = await read_until(first.aiter_bytes(), b'data: "Hel"\n\n')
        gate.give("lo")
        gate.end()
        cursor = [event.id for event in Decoder().feed(before)][-1]
        after = await client.get(where, headers={"Last-Event-ID": cursor})
        whole = await client.get(where)
        assert before + after.content == whole.content
        assert "".join(data for type_, data in told(whole.text) if type_ == "message") == "Hello"
        assert gate.started == 1
        last = [event.id for event in Decoder().feed(whole.content)][-1]
        assert (await client.get(where, headers={"Last-Event-ID": last})).status_code == 204


async def test_a_second_tab_reads_the_same_from_the_beginning(tmp_path: Path) -> None:
    gate = Gate()
    streams = Streams("memory:", owner=who)
    async with serving(streams, make(streams, chat=lambda: streams.response(gate())), tmp_path) as client:
        gate.give("one")
        async with client.stream("POST", "/chat") as first, client.stream("GET", first.headers["location"]) as second:
            tabs = [first.aiter_bytes(), second.aiter_bytes()]
            begun = [await read_until(tab, b'"one"\n\n') for tab in tabs]
            gate.give("two")
            gate.end()
            rest = [await rest_of(tab) for tab in tabs]
    assert begun[0] + rest[0] == begun[1] + rest[1]


async def test_another_client_stops_it_and_the_generator_is_cancelled(tmp_path: Path) -> None:
    gate = Gate()
    streams = Streams("memory:", owner=who)
    async with serving(streams, make(streams, chat=lambda: streams.response(gate())), tmp_path) as client:
        gate.give("half")
        async with client.stream("POST", "/chat") as first:
            pieces = first.aiter_bytes()
            await read_until(pieces, b'"half"')
            where = first.headers["location"]
            refused = await client.post(f"{where}/stop", headers={"X-User": "bob"})
            stopped = await client.post(f"{where}/stop")
            rest = await rest_of(pieces)
        again = await client.delete(where)
    assert refused.status_code == 404
    assert (stopped.json()["state"], stopped.json()["text"]) == ("cancelled", "half")
    assert again.json() == stopped.json()
    assert b'"state":"cancelled"' in rest
    assert isinstance(gate.ended_by, asyncio.CancelledError)


@pytest.mark.parametrize(("policy", "ended"), [("cancel", True), ("continue", False)])
async def test_what_becomes_of_a_generator_that_nobody_reads_is_a_policy(
    tmp_path: Path, policy: Any, ended: bool
) -> None:
    gate = Gate()
    streams = Streams("memory:", owner=who, on_disconnect=policy)
    async with serving(streams, make(streams, chat=lambda: streams.response(gate())), tmp_path) as client:
        gate.give("half")
        async with client.stream("POST", "/chat") as first:
            await read_until(first.aiter_bytes(), b'"half"')
        if ended:
            await gate.over.wait()
            assert isinstance(gate.ended_by, asyncio.CancelledError)
        else:
            gate.give("whole")
            gate.end()
            await gate.over.wait()
            assert gate.ended_by is None
        snapshot = await (await streams.get(first.headers["tickertape-stream"], owner="ann")).wait()
    assert snapshot["state"] == ("cancelled" if ended else "completed")


def test_one_url_is_enough_for_an_event_source() -> None:
    """A GET begins, and with a cursor goes on; a source that is not needed is never started."""
    gate = Gate()
    streams = Streams("memory:", owner=who)
    with TestClient(make(streams, job=lambda: streams.response(gate()))) as client:
        gate.give("done")
        gate.end()
        first = client.get("/job")
        ids = [event.id for event in Decoder().feed(first.content)]
        rest = client.get("/job", headers={"Last-Event-ID": ids[1]})
        over = client.get(f"/job?last_event_id={ids[-1]}")
    assert first.text.endswith(rest.text)
    assert [event.id for event in Decoder().feed(rest.content)] == ids[2:]
    assert over.status_code == 204
    assert gate.started == 1


def test_the_response_of_a_route_reads_a_stream_again() -> None:
    streams = Streams("memory:", owner=who)

    async def again(name: str) -> Any:
        return streams.resume(name, dialect="openai")

    with TestClient(make(streams, chat=lambda: streams.response(iter("ab")), again=again)) as client:
        name = client.post("/chat").headers["tickertape-stream"]
        assert client.get("/again", params={"name": name}).text.rstrip().endswith("data: [DONE]")
        assert client.get("/again", params={"name": "unknown"}).status_code == 404


def test_a_stream_is_read_in_the_dialect_that_the_reader_asks_for() -> None:
    streams = Streams("memory:", owner=who)
    with TestClient(make(streams, chat=lambda: streams.response(iter("ab")))) as client:
        chunks = client.post("/chat?dialect=openai")
        assert chunks.headers["location"].endswith("?dialect=openai")
        assert client.get(chunks.headers["location"]).text == chunks.text
        assert chunks.text.rstrip().endswith("data: [DONE]")
        assert client.post("/chat?dialect=morse").status_code == 400


# --- keys and owners


def test_a_key_attaches_and_never_starts_twice() -> None:
    gates: list[Gate] = []
    streams = Streams("memory:", owner=who)

    async def chat(text: str = "") -> Any:
        gates.append(gate := Gate())
        gate.give(text)
        gate.end()
        return streams.response(gate(), asked=text)

    keyed = {"Idempotency-Key": "7"}
    with TestClient(make(streams, chat=chat)) as client:
        first = client.post("/chat", params={"text": "hi"}, headers=keyed)
        again = client.post("/chat", params={"text": "hi"}, headers=keyed)
        other = client.post("/chat", params={"text": "ho"}, headers=keyed)
        bobs = client.post("/chat", params={"text": "ho"}, headers=keyed | {"X-User": "bob"})
    assert again.text == first.text
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert bobs.status_code == 200
    assert [gate.started for gate in gates] == [1, 0, 0, 1]


async def test_a_key_in_code_starts_or_attaches() -> None:
    """What is not needed is closed: of a coroutine that nobody awaits Python warns."""

    async def create(text: str) -> Any:
        return iter([text])

    streams = Streams("memory:", owner=who)
    async with streams:
        first = await streams.start(create("a"), owner="ann", key="job-7")
        second = await streams.start(create("b"), owner="ann", key="job-7")
        assert first.id == second.id
        assert (await second.wait())["text"] == "a"


def test_nobody_reads_what_is_somebody_elses_and_who_is_refused_starts_nothing() -> None:
    def owner(request: Request) -> str:
        if "x-user" not in request.headers:
            raise HTTPException(403, "Members only.")
        return request.headers["x-user"]

    started: list[int] = []

    async def source() -> Any:
        started.append(1)
        return iter("ab")

    streams = Streams("memory:", owner=owner)
    with TestClient(make(streams, chat=lambda: streams.response(source()))) as client:
        refused = client.post("/chat")
        assert (refused.status_code, refused.json()["error"]["message"]) == (403, "Members only.")
        assert not started
        where = client.post("/chat", headers={"X-User": "ann"}).headers["location"]
        assert client.get(where, headers={"X-User": "bob"}).status_code == 404
        assert client.get(where, headers={"X-User": "ann"}).status_code == 200


@pytest.mark.parametrize("owner", ["ann", "", None, 7])
def test_an_owner_is_a_function_or_anyone(owner: Any) -> None:
    with pytest.raises(TypeError, match="ANYONE"):
        Streams("memory:", owner=owner)


def test_location_is_below_every_mount_and_prefix() -> None:
    streams = Streams("memory:", owner=ANYONE)
    app = FastAPI(lifespan=streams.lifespan)
    app.mount("/v2", make(streams, chat=lambda: streams.response(iter("ab"))))
    with TestClient(app, root_path="/the api") as client:
        answer = client.post("/the api/v2/chat")
        assert answer.headers["location"] == f"/the%20api/v2/streams/{answer.headers['tickertape-stream']}"
        assert client.get(answer.headers["location"]).text == answer.text


def test_location_is_right_behind_a_proxy_that_takes_its_prefix_off() -> None:
    streams = Streams("memory:", owner=ANYONE)
    app = make(streams, chat=lambda: streams.response(iter("ab")))
    with TestClient(app, root_path="/api") as client:
        answer = client.post("/chat")
        assert answer.headers["location"] == f"/api/streams/{answer.headers['tickertape-stream']}"
        assert client.get(answer.headers["location"].removeprefix("/api")).text == answer.text


def test_streams_that_are_not_mounted_have_no_location() -> None:
    streams = Streams("memory:", owner=ANYONE)
    app = FastAPI(lifespan=streams.lifespan)
    app.add_api_route("/chat", lambda: streams.response(iter("ab")), methods=["POST"])
    with TestClient(app) as client:
        assert "location" not in client.post("/chat").headers


# --- what is yielded


class Model(BaseModel):
    at: int


@dataclass
class Data:
    at: int


ITEMS: dict[str, tuple[Any, tuple[str, Any]]] = {
    "text": ("Gr\u00fc\u00dfe\n\u2028", ("message", "Gr\u00fc\u00dfe\n\u2028")),
    "an event": (StreamEvent({"percent": 3}, "progress"), ("progress", {"percent": 3})),
    "an event with a model": (StreamEvent(Model(at=1), "progress"), ("progress", {"at": 1})),
    "a dict": ({"a": [Model(at=1)]}, ("message", {"a": [{"at": 1}]})),
    "a list": ([1, None], ("message", [1, None])),
    "pydantic": (Model(at=1), ("message", {"at": 1})),
    "a dataclass": (Data(at=1), ("message", {"at": 1})),
    "half a surrogate": ({"a": "\ud800"}, ("message", {"a": "\ufffd"})),
    "an event of another stream": (tickertape.Event('{"a": 1}', "note"), ("note", {"a": 1})),
}


@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize(
    "make_source", [iter, lambda items: lambda: (item for item in items)], ids=["iter", "function"]
)
def test_an_item_is_an_event(name: str, make_source: Any) -> None:
    item, expected = ITEMS[name]
    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=lambda: streams.response(make_source([item])))) as client:
        assert told(client.post("/chat").text)[0] == expected


WRONG: dict[str, tuple[Any, str]] = {
    "a number": (7, "yields str"),
    "bytes": (b"data: x\n\n", "frames=True"),
    "an object": (object(), "yields str"),
    "a type with a line end": (StreamEvent(1, "a\nb"), "type of an event"),
    "a type of the stream's own": (StreamEvent(1, "end"), "cannot have the type 'end'"),
    "the browser's own": (StreamEvent(1, "error"), "cannot have the type 'error'"),
    "no JSON form": ({"a": object()}, "no JSON form"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_sent_ends_the_stream_with_the_reason_in_the_log(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    item, reason = WRONG[name]
    async with Streams("memory:", owner=ANYONE) as streams:
        snapshot = await (await streams.start(iter(["before", item]), owner=ANYONE)).wait()
    assert (snapshot["state"], snapshot["text"]) == ("failed", "before")
    assert reason in caplog.text
    assert reason not in str(snapshot)


@pytest.mark.parametrize("item", ["x" * 100, StreamEvent("x" * 100, "note"), tickertape.Event("x" * 100)])
async def test_an_event_beyond_the_limit_fails_the_stream_with_the_number(item: Any) -> None:
    async with Streams("memory:", owner=ANYONE, limits=StreamLimits(event_size=90)) as streams:
        snapshot = await (await streams.start(iter([item]), owner=ANYONE)).wait()
    assert (snapshot["state"], snapshot["error"]["code"]) == ("failed", "event_too_large")
    assert "90" in snapshot["error"]["message"]


def chunk(content: str | None, finish_reason: str | None = None, **more: Any) -> ChatCompletionChunk:
    choice = {"index": 0, "delta": {"content": content} | more, "finish_reason": finish_reason}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return ChatCompletionChunk.model_validate(head | {"choices": [choice]})


@pytest.mark.parametrize(("last", "state"), [("stop", "completed"), ("length", "completed"), (None, "incomplete")])
async def test_a_models_chunks_must_say_that_the_answer_is_whole(last: Any, state: str) -> None:
    """A client library ends its iteration quietly when its connection is cut."""

    async def create() -> AsyncIterator[Any]:
        async def chunks() -> AsyncIterator[Any]:
            yield chunk("", role="assistant", reasoning_content="Let me see")
            yield chunk("Hel")
            yield chunk("lo")
            if last:
                yield chunk(None, last)

        return chunks()

    async with Streams("memory:", owner=ANYONE) as streams:
        snapshot = await (await streams.start(create(), owner=ANYONE)).wait()
    assert (snapshot["state"], snapshot["text"], snapshot["reasoning"]) == (state, "Hello", "Let me see")
    assert snapshot["finish_reason"] == last


def test_frames_keep_their_types_and_data_and_get_ids() -> None:
    frames = [b"data: one\n\neve", "nt: note\ndata: a\ndata: b\n", b"\n: comment\n\nid: 9\ndata: [DONE]\n\n"]
    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=lambda: streams.response(iter(frames), frames=True))) as client:
        events = Decoder().feed(client.post("/chat").content)
    assert [(event.type, event.data) for event in events[1:4]] == [
        ("message", "one"),
        ("note", "a\nb"),
        ("message", "[DONE]"),
    ]
    assert len({event.id for event in events}) == len(events)
    assert events[-1].type == "end"


async def test_a_frame_that_is_not_whole_fails_the_stream() -> None:
    async with Streams("memory:", owner=ANYONE) as streams:
        snapshot = await (await streams.start(iter(["data: half"]), owner=ANYONE, frames=True)).wait()
    assert snapshot["state"] == "failed"


# --- how it ends

FAULTS: dict[str, tuple[Exception, int, str]] = {
    "any exception": (RuntimeError("secret"), 500, "its own log says why"),
    "a Failure": (Failure("The index is being rebuilt.", code="index", status=503), 503, "The index is being rebuilt."),
    "an HTTPException": (HTTPException(404, "No such chat."), 404, "No such chat."),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_exception_before_the_first_event_is_a_status(name: str, caplog: pytest.LogCaptureFixture) -> None:
    error, status, words = FAULTS[name]

    async def source() -> AsyncIterator[str]:
        raise error
        yield ""

    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=lambda: streams.response(source()))) as client:
        answer = client.post("/chat")
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert "secret" not in answer.text
    assert ("secret" in caplog.text) == (name == "any exception")


@pytest.mark.parametrize("name", FAULTS)
def test_an_exception_after_the_first_event_is_the_end(name: str, caplog: pytest.LogCaptureFixture) -> None:
    error, _status, words = FAULTS[name]

    def source() -> Iterator[str]:
        yield "half"
        raise error

    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=lambda: streams.response(source()))) as client:
        answer = client.post("/chat")
    assert answer.status_code == 200
    assert told(answer.text)[0] == ("message", "half")
    assert end(answer.text)["state"] == "failed"
    assert words in end(answer.text)["error"]["message"]
    assert "secret" not in answer.text
    assert ("secret" in caplog.text) == (name == "any exception")


async def test_the_words_of_a_models_server_are_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    class Refused(Exception):
        status_code = 401

    def source() -> Iterator[str]:
        raise Refused("Incorrect API key: sk-1234")
        yield ""

    async with Streams("memory:", owner=ANYONE) as streams:
        snapshot = await (await streams.start(source(), owner=ANYONE)).wait()
    assert "401" in snapshot["error"]["message"]
    assert "sk-1234" not in str(snapshot)
    assert "sk-1234" in caplog.text


async def test_on_end_gets_the_snapshot_however_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, str]] = []

    async def later(snapshot: dict[str, Any]) -> None:
        seen.append((snapshot["state"], snapshot["text"]))

    def broken(_snapshot: dict[str, Any]) -> None:
        raise RuntimeError("on_end broke")

    def failing() -> Iterator[str]:
        yield "half"
        raise Failure("It broke.")

    async with Streams("memory:", owner=ANYONE) as streams:
        for source in (iter(["whole"]), failing()):
            await (await streams.start(source, owner=ANYONE, on_end=later)).wait()
        await (await streams.start(iter("a"), owner=ANYONE, on_end=broken)).wait()
    assert seen == [("completed", "whole"), ("failed", "half")]
    assert "on_end broke" in caplog.text


# --- the request and its generator

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def test_the_context_is_the_requests_and_one_task_steps_the_generator() -> None:
    tasks: set[Any] = set()

    async def chat() -> Any:
        user.set("ann")

        async def source() -> AsyncIterator[str]:
            tasks.add(asyncio.current_task())
            token = user.set("inside")
            yield user.get()
            tasks.add(asyncio.current_task())
            user.reset(token)
            yield user.get()

        return streams.response(source())

    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=chat)) as client:
        assert [data for type_, data in told(client.post("/chat").text) if type_ == "message"] == ["inside", "ann"]
    assert len(tasks) == 1


def test_a_synchronous_generator_has_one_thread_and_one_context() -> None:
    threads: set[int] = set()

    def chat() -> Any:
        user.set("ann")

        def source() -> Iterator[dict[str, str]]:
            for name in ("one", "two"):
                threads.add(threading.get_ident())
                yield {"user": user.get()}
                user.set(name)

        return streams.response(source())

    streams = Streams("memory:", owner=ANYONE)
    with TestClient(make(streams, chat=chat)) as client:
        seen = [data["user"] for type_, data in told(client.post("/chat").text) if type_ == "message"]
    assert seen == ["ann", "one"]
    assert len(threads) == 1


async def test_a_stop_waits_for_the_step_of_a_thread_and_closes_the_generator() -> None:
    stepping, go, closed = threading.Event(), threading.Event(), threading.Event()

    def source() -> Iterator[str]:
        try:
            yield "a"
            stepping.set()
            go.wait()
            yield "b"
        finally:
            closed.set()

    async with Streams("memory:", owner=ANYONE, patience=0.01) as streams:
        stream = await streams.start(source(), owner=ANYONE)
        await asyncio.to_thread(stepping.wait)
        assert (await stream.stop())["state"] == "running", "its step goes on"
        go.set()
        snapshot = await stream.wait()
        assert closed.is_set()
    assert (snapshot["state"], snapshot["text"]) == ("cancelled", "a")


async def test_a_generator_that_catches_its_cancellation_is_closed_at_its_next_item() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        finally:
            closed.set()

    async with Streams("memory:", owner=ANYONE) as streams:
        stream = await streams.start(source(), owner=ANYONE)
        snapshot = await stream.stop()
    assert closed.is_set()
    assert snapshot["state"] == "cancelled"


async def test_the_end_of_the_app_waits_for_no_thread_that_stands_still() -> None:
    stepping, go = threading.Event(), threading.Event()

    def source() -> Iterator[str]:
        yield "a"
        stepping.set()
        go.wait()

    async with Streams("memory:", owner=ANYONE, grace=0.01) as streams:
        stream = await streams.start(source(), owner=ANYONE)
        await asyncio.to_thread(stepping.wait)
    assert stream.snapshot()["state"] == "lost"
    go.set()


class Session:
    open = True


@pytest.mark.parametrize("release", [False, True])
async def test_a_session_of_the_request_is_open_until_the_generator_has_ended(tmp_path: Path, release: bool) -> None:
    gate, session, closed = Gate(), Session(), asyncio.Event()
    streams = Streams("memory:", owner=ANYONE)
    order: list[str] = []

    async def get_session() -> AsyncIterator[Session]:
        yield session
        session.open = False
        order.append("session")
        closed.set()

    dependency = Depends(get_session)

    async def chat(tasks: BackgroundTasks, _session: Session = dependency) -> Any:
        tasks.add_task(lambda: order.append("background task"))
        return streams.response(gate(), release=release, on_end=lambda _snapshot: order.append("on_end"))

    async with serving(streams, make(streams, chat=chat), tmp_path) as client:
        gate.give("half")
        async with client.stream("POST", "/chat") as first:
            await read_until(first.aiter_bytes(), b'"half"')
        if release:
            await closed.wait()
            assert not gate.over.is_set()
        else:
            handle = await streams.get(first.headers["tickertape-stream"], owner=ANYONE)
            while handle._stream.readers:
                await asyncio.sleep(0)
            for _ in range(3):  # in this time a request that nothing holds is over
                await client.get(first.headers["location"], headers={"Accept": "application/json"})
            assert (session.open, order) == (True, [])
        gate.end()
        await closed.wait()
        await gate.over.wait()
    assert sorted(order) == ["background task", "on_end", "session"]
    assert order.index("background task") < order.index("session")


# --- the app's life


def test_an_app_is_tested_twice_with_one_streams_object() -> None:
    streams = Streams("memory:", owner=ANYONE)
    app = make(streams, chat=lambda: streams.response(iter("ab")))
    for _ in range(2):
        with TestClient(app) as client:
            assert end(client.post("/chat").text)["state"] == "completed"
    with TestClient(app) as client, pytest.raises(RuntimeError, match="open already"):
        asyncio.run(streams.__aenter__())


def test_streams_without_a_lifespan_say_so(caplog: pytest.LogCaptureFixture) -> None:
    streams = Streams("memory:", owner=ANYONE)
    answer = TestClient(make(streams, chat=lambda: streams.response(iter("ab")))).post("/chat")
    assert answer.status_code == 500
    assert "lifespan=streams.lifespan" in caplog.text


async def test_nothing_is_opened_before_the_lifespan_and_all_is_kept_after_it(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    streams = Streams(f"sqlite:///{path}", owner=ANYONE)
    assert not path.exists()
    async with streams:
        stream = await streams.start(iter(["kept"]), owner=ANYONE)
        await stream.wait()
        with pytest.raises(UnknownStream):
            await streams.get(stream.id, owner="bob")
    async with Streams(f"sqlite:///{path}", owner=ANYONE) as later:
        assert (await later.get(stream.id, owner=ANYONE)).snapshot()["text"] == "kept"
        types = [event.type async for event in await later.get(stream.id, owner=ANYONE)]
    assert types == ["open", "message", "finish", "end"]


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "tape.db", "redis://h", "memory"])
def test_where_streams_are_kept_is_one_of_two(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///PATH"):
        Streams(url, owner=ANYONE)


def test_importing_streams_loads_no_server_no_command_and_no_client() -> None:
    others = "uvicorn httptools aiohttp urllib3 click rich sqlalchemy tickertape.core tickertape.server tickertape.cli"
    code = f"import sys; from tickertape import Streams; print(*sorted(set({others!r}.split()) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


# --- a process


class Process:
    """The app of `streams_app` on uvicorn, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        tests = Path(__file__).parents[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "asgi.streams_app:app", f"--port={self.port}", "--log-level=error"],
            env=clean_environment(
                {"PYTHONPATH": f"{tests}:{tests.parent / 'src'}", "STREAMS_DB": str(folder / "tape.db")}
            ),
        )
        while True:
            assert self.process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait()


def test_a_killed_process_leaves_its_text_and_a_stopped_one_ends_with_streams_open(tmp_path: Path) -> None:
    with Process(tmp_path) as killed, httpx.stream("POST", f"{killed.url}/words", timeout=60) as reading:
        before = next(body for body in _bodies(reading) if b'"word "' in body)
        where = reading.headers["location"]
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
    with Process(tmp_path) as stopped:
        whole = httpx.get(stopped.url + where, timeout=60)
        assert whole.content.startswith(before)
        assert end(whole.text)["state"] == "lost"
        with httpx.stream("POST", f"{stopped.url}/words", timeout=60) as reading:
            bodies = _bodies(reading)
            next(body for body in bodies if b'"word "' in body)
            stopped.process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.TransportError):  # cut, not ended
                list(bodies)
            stopped.process.wait(30)


def _bodies(response: httpx.Response) -> Iterator[bytes]:
    """Yield all that has come so far."""
    body = b""
    for piece in response.iter_bytes():
        body += piece
        yield body
