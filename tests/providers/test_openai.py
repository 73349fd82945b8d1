"""The OpenAI dialect against a real server, healthy, quirky and faulty."""

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from support.pushed import Everything, batches
from tickertape.deltas import Delta, Finish, Reasoning, Text, Usage
from tickertape.errors import ApiError, InvalidRequest, SettingsError
from tickertape.providers.base import ChatRequest, Model
from tickertape.providers.openai import OpenAI

from .conftest import KEY
from .upstream import DONE, END, HANG, HEALTHY, RESET, SSE_HEAD, USAGE, Request, Upstream

from .upstream import answering, delta, event, piece, streaming  # isort: skip

Make = Callable[..., OpenAI]

ASK = ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}], parameters={"temperature": 0.5, "x": [None]})
ANSWER = [Text("Hel"), Text("lo é😀"), Finish("stop"), Usage(USAGE)]


async def answer(provider: OpenAI, request: ChatRequest = ASK) -> list[Delta]:
    return [delta async for batch in batches(provider, request) for delta in batch]


async def failure(provider: OpenAI, request: ChatRequest = ASK) -> tuple[list[Delta], ApiError]:
    deltas: list[Delta] = []

    async def read() -> None:
        async for batch in batches(provider, request):
            deltas.extend(batch)

    with pytest.raises(ApiError) as caught:
        await read()
    assert KEY not in str(caught.value)
    assert "127.0.0.1" in caught.value.message
    return deltas, caught.value


async def test_a_healthy_stream_is_the_whole_answer(make: Make, openai: OpenAI) -> None:
    assert await answer(openai) == ANSWER


async def test_what_is_asked_is_the_request_untouched_plus_stream_and_usage(openai: OpenAI, upstream: Upstream) -> None:
    options = {"stream": False, "model": "other", "stream_options": {"include_obfuscation": False}}
    await answer(openai, ChatRequest(model="m", messages=ASK.messages, parameters={**ASK.parameters, **options}))
    [asked] = upstream.asked
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == {
        "temperature": 0.5,
        "x": [None],
        "model": "m",
        "messages": ASK.messages,
        "stream": True,
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }


async def test_without_a_key_none_is_sent(make: Make, upstream: Upstream) -> None:
    provider = make(key=None)
    assert await answer(provider) == ANSWER
    assert "authorization" not in upstream.asked[0].headers


async def test_deltas_of_one_read_come_as_one_batch_and_others_at_once(openai: OpenAI, upstream: Upstream) -> None:
    second = asyncio.Event()
    upstream.script = [SSE_HEAD, piece(b"".join(HEALTHY[:2])), second, piece(b"".join(HEALTHY[2:])) + END]
    came = []
    async for batch in batches(openai, ASK):
        came.append(batch)
        second.set()
    assert came == [ANSWER[:1], ANSWER[1:-2], ANSWER[-2:]]  # the end is known only with the body's


async def test_what_arrives_is_pushed_in_the_callback_that_received_it(openai: OpenAI, upstream: Upstream) -> None:
    """Guards: that no task is woken for a token."""
    second = asyncio.Event()
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), second, *streaming(*HEALTHY[2:])[1:]]
    tasks: list[asyncio.Task[Any] | None] = []

    class Noticing(Everything):
        def push(self, deltas: list[Delta]) -> None:
            super().push(deltas)
            tasks.append(asyncio.current_task())
            second.set()

    sink = Noticing()
    await openai.answer(ASK, sink)
    assert sink.deltas == ANSWER
    assert tasks[1] is None


async def test_what_goes_wrong_in_such_a_callback_ends_the_answer_and_closes_the_socket(
    openai: OpenAI, upstream: Upstream
) -> None:
    second = asyncio.Event()
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), second, piece(HEALTHY[2]), HANG]

    class Broken(Everything):
        def push(self, deltas: list[Delta]) -> None:
            if asyncio.current_task() is None:
                raise RuntimeError("a mistake of ours")
            second.set()

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        await openai.answer(ASK, Broken())
    await upstream.until(lambda here: here.open == 0)


async def test_events_cut_at_every_byte_are_the_same_answer(openai: OpenAI, upstream: Upstream) -> None:
    whole = b"".join(HEALTHY).replace(b"\n", b"\r\n")
    upstream.script = [SSE_HEAD, *(piece(whole[n : n + 1]) for n in range(len(whole))), END]
    assert await answer(openai) == ANSWER


async def test_the_connection_is_used_again_after_a_proper_end(openai: OpenAI, upstream: Upstream) -> None:
    assert await answer(openai) == ANSWER
    [drain] = openai._http._draining or {asyncio.create_task(asyncio.sleep(0))}
    await drain
    assert await answer(openai) == ANSWER
    assert (upstream.connections, len(upstream.asked)) == (1, 2)


async def test_nagle_is_off(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), HANG]
    async with aclosing(batches(openai, ASK)) as stream:
        await anext(stream)
        session = openai._http._session
        assert session is not None
        assert session.connector is not None
        [protocol] = session.connector._acquired
        assert protocol.transport is not None
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


INCOMPLETE = {
    "a clean end": [SSE_HEAD, piece(HEALTHY[1]), END],
    "a clean end inside an event": [SSE_HEAD, piece(HEALTHY[1] + HEALTHY[2][:-1]), END],
    "the body cut off between chunks": [SSE_HEAD, piece(HEALTHY[1])],
    "the body cut off inside a chunk": [SSE_HEAD, piece(HEALTHY[1]), piece(HEALTHY[2])[:30]],
    "a reset": [SSE_HEAD, piece(HEALTHY[1]), RESET],
    "no length and an end": [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + HEALTHY[1]],
    "a length that is not reached": [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n" + HEALTHY[1],
        RESET,
    ],
}


@pytest.mark.parametrize("fault", INCOMPLETE.values(), ids=INCOMPLETE.keys())
async def test_an_answer_that_just_ends_has_its_text_and_no_finish(
    openai: OpenAI, upstream: Upstream, fault: list[Any]
) -> None:
    upstream.script = fault
    assert await answer(openai) == [Text("Hel")]


async def test_what_came_before_a_reset_reaches_a_slow_reader(openai: OpenAI, upstream: Upstream) -> None:
    more = asyncio.Event()
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), more, piece(HEALTHY[2]), RESET]
    got: list[Delta] = []
    async for batch in batches(openai, ASK):
        got += batch
        if not more.is_set():
            more.set()
            await upstream.until(lambda here: here.open == 0)  # now the rest and the reset have come
            await asyncio.sleep(0.05)
    assert got == [Text("Hel"), Text("lo é😀")]


async def test_a_finish_reason_is_success_whatever_happens_after(openai: OpenAI, upstream: Upstream) -> None:
    estimated = Usage({"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4, "estimated": True})
    for end in (END, RESET):
        upstream.script = [SSE_HEAD, piece(b"".join(HEALTHY[:4])), end]
        assert await answer(openai) == [*ANSWER[:3], estimated]


async def test_an_error_in_a_stream_comes_after_the_text(openai: OpenAI, upstream: Upstream) -> None:
    boom = event({"error": {"message": f"Boom {KEY}", "code": 429}})
    upstream.script = streaming(HEALTHY[1] + boom + DONE)
    deltas, error = await failure(openai)
    assert deltas == [Text("Hel")]
    assert error.message.endswith("broke off with an error: Boom [the API key].")
    assert error.status == 429


@pytest.mark.parametrize("body", [{"error": {"message": "No.", "code": 503}}, {"object": "error", "message": "No."}])
async def test_an_error_inside_a_200_of_json_is_an_error(openai: OpenAI, upstream: Upstream, body: object) -> None:
    upstream.script = answering(200, body)
    deltas, error = await failure(openai)
    assert (deltas, "No." in error.message) == ([], True)


async def test_an_upstream_that_does_not_stream_answers_in_one_piece(openai: OpenAI, upstream: Upstream) -> None:
    message = {"role": "assistant", "content": "All.", "reasoning": "Hm."}
    upstream.script = answering(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE})
    assert await answer(openai) == [Reasoning("Hm."), Text("All."), Finish("stop"), Usage(USAGE)]


async def test_a_web_page_in_place_of_an_answer_is_an_error(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = answering(200, "<html>Welcome</html>", kind="text/html")
    assert "a web page" in (await failure(openai))[1].message


REFUSALS = [
    (
        401,
        {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}},
        401,
        "Check the key",
    ),
    (403, {"error": "Forbidden"}, 403, "Check the key"),
    (404, {"error": {"message": "The model `m` does not exist"}}, 404, "base URL"),
    (429, {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}, 429, "Try again later"),
    (
        400,
        {"object": "error", "message": "max_tokens is too large", "param": "max_tokens"},
        400,
        "max_tokens is too large",
    ),
    (422, {"detail": [{"msg": "field required"}]}, 422, "field required"),
    (500, "oops", 502, "oops"),
    (500, "<html>Internal</html>", 502, "failed (HTTP 500). Try again"),
    (503, [{"error": {"message": "overloaded"}}], 503, "overloaded"),
    (504, "", 504, "HTTP 504"),
    (529, {"error": {"message": "Overloaded"}}, 503, "Overloaded"),
    (204, "", 502, "HTTP 204"),
]


@pytest.mark.parametrize(("status", "body", "shown", "words"), REFUSALS)
async def test_a_refusal_is_one_sentence_with_the_right_status(
    openai: OpenAI, upstream: Upstream, status: int, body: object, shown: int, words: str
) -> None:
    upstream.script = answering(status, body)
    deltas, error = await failure(openai)
    assert (deltas, error.status) == ([], shown)
    assert words in error.message
    assert f"HTTP {status}" in error.message
    assert "html" not in error.message


async def test_a_refusal_keeps_the_fields_of_the_upstream(openai: OpenAI, upstream: Upstream) -> None:
    fields = {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota", "param": "p"}
    upstream.script = answering(429, {"error": fields}, "Retry-After: 20")
    _, error = await failure(openai)
    assert (error.type, error.code, error.param, error.retry_after) == ("insufficient_quota",) * 2 + ("p", 20.0)
    assert "Try again in 20 s" in error.message


async def test_a_missing_key_is_told_apart_from_a_wrong_one(make: Make, upstream: Upstream) -> None:
    upstream.script = answering(401, {})
    provider = make(key=None)
    assert "none is set" in (await failure(provider))[1].message


async def test_a_redirect_is_told_and_not_followed(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = answering(308, "", "Location: https://other.example/v1/chat/completions")
    _, error = await failure(openai)
    assert (error.status, len(upstream.asked)) == (502, 1)
    assert "https://other.example/v1" in error.message


async def test_a_server_older_than_stream_options_is_asked_without(openai: OpenAI, upstream: Upstream) -> None:
    def script(asked: Request) -> Any:
        old = "stream_options" in asked.body
        return answering(400, {"error": {"message": "Unknown: stream_options"}}) if old else streaming(*HEALTHY)

    upstream.script = script
    assert await answer(openai) == ANSWER
    assert await answer(openai) == ANSWER
    assert len(upstream.asked) == 3


async def test_a_closed_port_is_one_sentence(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = make(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        _, error = await failure(provider)
    assert (error.status, error.code) == (502, "upstream_unreachable")
    assert "cannot be reached (connection refused)" in error.message


async def test_a_name_that_does_not_resolve_is_one_sentence(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    provider = make("https://nowhere.invalid/v1")
    with pytest.raises(ApiError, match=r"nowhere\.invalid cannot be found: its name does not resolve") as caught:
        await answer(provider)
    assert caught.value.status == 502


async def test_a_server_without_tls_is_one_sentence(make: Make, upstream: Upstream) -> None:
    provider = make(upstream.url("openai").replace("http:", "https:"))
    _, error = await failure(provider)
    assert error.status == 502
    assert "(it closed the connection)" in error.message


FAULTS_BEFORE_THE_ANSWER = {
    "a reset": [RESET],
    "an end": [b""],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-Ty"],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
}


@pytest.mark.parametrize("script", FAULTS_BEFORE_THE_ANSWER.values(), ids=FAULTS_BEFORE_THE_ANSWER.keys())
async def test_a_fault_before_the_answer_is_a_bad_gateway(openai: OpenAI, upstream: Upstream, script: Any) -> None:
    upstream.script = script
    _, error = await failure(openai)
    assert (error.status, error.code) == (502, "upstream_unreachable")


STALLS = {
    "before the headers": ([HANG], "first_token_timeout", "did not answer within 0.2 s"),
    "before the first token": (
        [SSE_HEAD, piece(HEALTHY[0] + b": keep-alive\n\n"), HANG],
        "first_token_timeout",
        "no token within 0.2 s",
    ),
    "in the middle": ([SSE_HEAD, piece(HEALTHY[1] + b": keep-alive\n\n"), HANG], "idle_timeout", "nothing for 0.2 s"),
    "in an error's body": (
        [b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\noops", HANG],
        "connect_timeout",
        "failed (HTTP 500): oops.",
    ),
}


@pytest.mark.parametrize(("script", "limit", "words"), STALLS.values(), ids=STALLS.keys())
async def test_a_stall_ends_with_a_timeout(make: Make, upstream: Upstream, script: Any, limit: str, words: str) -> None:
    upstream.script = script
    others = dict.fromkeys(("connect_timeout", "first_token_timeout", "idle_timeout"), 60.0)
    provider = make(**{**others, limit: 0.2})
    _, error = await failure(provider)
    assert error.status == (502 if "500" in words else 504)
    assert words in error.message
    await upstream.until(lambda here: here.open == 0)


async def test_a_slow_reader_is_no_stall(make: Make, upstream: Upstream) -> None:
    more = asyncio.Event()
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), more, *streaming(*HEALTHY[2:])[1:]]
    provider = make(first_token_timeout=5, idle_timeout=0.1)
    got: list[Delta] = []
    async for batch in batches(provider, ASK):
        got += batch
        if not more.is_set():
            await asyncio.sleep(0.3)  # three times what the upstream may take
            more.set()
    assert got == ANSWER


async def test_a_connection_that_nobody_accepts_times_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    provider = make("http://127.0.0.1:9/v1", connect_timeout=0.05)
    _, error = await failure(provider)
    assert error.status == 504
    assert "did not accept a connection within 0.05 s" in error.message


async def test_closing_the_generator_closes_the_socket(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), HANG]
    stream = batches(openai, ASK)
    assert await anext(stream) == [Text("Hel")]
    await stream.aclose()
    await upstream.until(lambda here: here.open == 0)


@pytest.mark.parametrize("script", [[HANG], [SSE_HEAD, HANG], [SSE_HEAD, piece(HEALTHY[0]), HANG]])
async def test_cancelling_closes_the_socket_before_the_first_token_too(
    openai: OpenAI, upstream: Upstream, script: Any
) -> None:
    upstream.script = script
    task = asyncio.create_task(answer(openai))
    await upstream.until(lambda here: here.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await upstream.until(lambda here: here.open == 0)


async def test_when_nobody_reads_the_upstream_is_not_read(openai: OpenAI, upstream: Upstream) -> None:
    sent = 0
    many = piece(b"".join(delta(content=f"{n:6}") for n in range(500)))

    class Endless(list[Any]):
        def __iter__(self) -> Any:
            nonlocal sent
            yield SSE_HEAD
            while True:
                yield many
                sent += len(many)

    upstream.script = Endless([HANG])
    async with aclosing(batches(openai, ASK)) as stream:
        await anext(stream)
        before = -1
        while before != sent:  # until the sockets' buffers are full
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 30_000_000
        [protocol] = openai._http._session.connector._acquired  # type: ignore[union-attr]
        assert protocol._payload._size < 400_000  # type: ignore[attr-defined]


async def test_the_models_are_listed_once_with_a_likely_default_first(openai: OpenAI, upstream: Upstream) -> None:
    names = ["text-embedding-3", "gpt-4", "gpt-4o-mini", "whisper-1"]
    upstream.script = answering(200, {"data": [{"id": name, "created": 5, "owned_by": "o"} for name in names]})
    for _ in range(2):
        models = await openai.models()
        assert [model.id for model in models] == ["gpt-4o-mini", "gpt-4", "text-embedding-3", "whisper-1"]
    assert models[0] == Model(id="gpt-4o-mini", owned_by="o", created=5)
    [asked] = upstream.asked
    assert (asked.method, asked.path) == ("GET", "/v1/models")


async def test_the_given_default_comes_first_listed_or_not(make: Make, upstream: Upstream) -> None:
    upstream.script = answering(200, [{"id": "a"}, {"id": "b"}, {"id": ""}, {"id": "a"}, 7])
    for default, expected in (("b", ["b", "a"]), ("c", ["c", "a", "b"])):
        provider = make(model=default)
        assert [model.id for model in await provider.models()] == expected


async def test_an_upstream_without_a_list_serves_what_was_given_or_says_nothing(make: Make, upstream: Upstream) -> None:
    upstream.script = answering(404, {})
    for default in ("m", None):
        provider = make(model=default)
        assert [model.id for model in await provider.models()] == ([default] if default else [])


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (answering(401, {"error": {"message": "bad key"}}), 401, "bad key"),
        (answering(500, ""), 502, "failed"),
        (answering(200, "<html>", kind="text/html"), 502, "no list of models"),
        (answering(200, {"data": None}), 502, "no list of models"),
    ],
)
async def test_a_list_that_cannot_be_had_is_an_error_and_asked_for_again(
    openai: OpenAI, upstream: Upstream, script: Any, status: int, words: str
) -> None:
    upstream.script = script
    with pytest.raises(ApiError, match=words) as caught:
        await openai.models()
    assert caught.value.status == status
    upstream.script = answering(200, {"data": [{"id": "a"}]})
    with pytest.raises(ApiError, match=words):  # not again for every question at once
        await openai.models()
    openai._known_until = 0
    assert [model.id for model in await openai.models()] == ["a"]


async def test_many_who_ask_for_the_models_at_once_ask_the_upstream_once(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = answering(200, {"data": [{"id": "a"}]})
    lists = await asyncio.gather(*(openai.models() for _ in range(20)))
    assert all([model.id for model in models] == ["a"] for models in lists)
    assert len(upstream.asked) == 1


async def test_a_known_list_outlives_a_failing_upstream(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = answering(200, {"data": [{"id": "a"}]})
    known = await openai.models()
    upstream.script = answering(500, "")
    openai._known_until = 0
    assert await openai.models() == known
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("below_v1", [True, False])
async def test_an_address_without_a_path_is_found_with_or_without_v1(
    make: Make, upstream: Upstream, below_v1: bool
) -> None:
    def script(asked: Request) -> Any:
        return streaming(*HEALTHY) if asked.path.startswith("/v1/") == below_v1 else answering(404, {})

    upstream.script = script
    provider = make(upstream.url("openai").removesuffix("/v1"))
    for _ in range(2):
        assert await answer(provider) == ANSWER
    assert len(upstream.asked) == (2 if below_v1 else 3)


async def test_where_neither_address_is_right_the_answer_of_the_first_is_told(make: Make, upstream: Upstream) -> None:
    def script(asked: Request) -> Any:
        below = asked.path.startswith("/v1/")
        return answering(404, {"error": {"message": "The model `m` does not exist." if below else "Not Found"}})

    upstream.script = script
    _, error = await failure(make(upstream.url("openai").removesuffix("/v1")))
    assert "The model `m` does not exist." in error.message
    assert len(upstream.asked) == 2


async def test_a_query_goes_to_every_endpoint(make: Make, upstream: Upstream) -> None:
    provider = make(upstream.url("openai") + "/?api-version=1")
    assert await answer(provider) == ANSWER
    assert upstream.asked[0].path == "/v1/chat/completions?api-version=1"


async def test_two_hundred_answers_at_once_wait_for_nobody(openai: OpenAI, upstream: Upstream) -> None:
    all_here = asyncio.Event()

    def script(_asked: Request) -> Any:
        if len(upstream.asked) == 200:
            all_here.set()
        return [SSE_HEAD, all_here, *streaming(*HEALTHY)[1:]]

    upstream.script = script
    assert await asyncio.gather(*(answer(openai) for _ in range(200))) == [ANSWER] * 200


async def test_more_than_one_choice_is_refused_before_asking(openai: OpenAI, upstream: Upstream) -> None:
    with pytest.raises(InvalidRequest, match="n must be 1"):
        await answer(openai, ChatRequest(model="m", messages=[], parameters={"n": 2}))
    assert not upstream.asked


async def test_half_a_surrogate_pair_is_refused_before_asking(openai: OpenAI) -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        await answer(openai, ChatRequest(model="m", messages=json.loads('[{"role": "user", "content": "\\ud800"}]')))


def test_an_unusable_key_or_time_is_refused() -> None:
    with pytest.raises(SettingsError, match="characters") as caught:
        OpenAI("http://h/v1", "sk-\nnext")
    assert "sk-" not in str(caught.value)
    for time in (0, -1, float("nan")):
        for name in ("connect_timeout", "first_token_timeout", "idle_timeout"):
            with pytest.raises(SettingsError, match="seconds above 0"):
                OpenAI("http://h/v1", **{name: time})


async def test_a_hundred_cancelled_answers_leave_nothing_open(openai: OpenAI, upstream: Upstream) -> None:
    upstream.script = [SSE_HEAD, piece(HEALTHY[1]), HANG]
    before = len(asyncio.all_tasks())

    async def begin() -> None:
        async with aclosing(batches(openai, ASK)) as stream:
            await anext(stream)
            await anext(stream)

    tasks = [asyncio.create_task(begin()) for _ in range(100)]
    await upstream.until(lambda here: len(here.asked) == 100)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await upstream.until(lambda here: here.open == 0)
    session = openai._http._session
    assert session is not None
    assert session.connector is not None
    assert not session.connector._acquired
    assert len(asyncio.all_tasks()) - before <= 100  # the upstream's own, one a connection


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"X Title": "t"}},
        {"headers": {"": "t"}},
        {"headers": {"X-Title": "a\nb"}},
        {"headers": {"X-Title": "\ud800"}},
        {"key_header": "api key", "api_key": KEY},
    ],
)
def test_a_header_that_cannot_be_sent_is_told_before_it_is(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="that no HTTP header can") as caught:
        OpenAI("http://a.example", **given)
    assert KEY not in str(caught.value)


def test_a_header_may_hold_what_utf8_can_say() -> None:
    OpenAI("http://a.example", headers={"X-Title": "Grüße\tan alle"})
