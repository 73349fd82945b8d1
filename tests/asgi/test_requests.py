"""What callers send: read within limits, checked, and told in one sentence what is wrong."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.http import JSON, ask, open_stream, request
from tickertape.asgi.requests import Ask, parse_ask, parse_disconnect, read_body
from tickertape.errors import InvalidRequest

if TYPE_CHECKING:
    from support.server import Server
    from tickertape.asgi.types import Message

GOOD: dict[str, Any] = ask("hi")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Caller:
    """One request's messages, as an ASGI server hands them on."""

    def __init__(self, *pieces: bytes, leaves: bool = False, kind: str | None = "application/json") -> None:
        self.scope: Message = {"headers": [(b"content-type", kind.encode())] if kind is not None else []}
        self._messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        self._messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request"})
        self.read = 0

    async def receive(self) -> Message:
        self.read += 1
        return self._messages.pop(0)


def parse(body: Any, headers: dict[str, str] | None = None, *, most: int = 10) -> Ask:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    scope = {"headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]}
    return parse_ask(scope, raw, max_messages=most, disconnect="abandon_after=15")


def refused(body: Any, headers: dict[str, str] | None = None, **more: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as told:
        parse(body, headers, **more)
    assert told.value.message.rstrip('"').endswith((".", "}"))
    assert "\n" not in told.value.message
    return told.value


# --- the body


async def test_a_body_in_pieces_is_one_body() -> None:
    caller = Caller(b'{"a"', b"", b": 1}")
    assert await read_body(caller.scope, caller.receive, 100) == b'{"a": 1}'


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
async def test_json_may_be_declared_in_every_way(kind: str) -> None:
    caller = Caller(b"{}", kind=kind)
    assert await read_body(caller.scope, caller.receive, 100) == b"{}"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/jsonx", "", None, "multipart/form-data; x=application/json"]
)
async def test_what_is_not_declared_as_json_is_not_read(kind: str | None) -> None:
    caller = Caller(b"{}", kind=kind)
    with pytest.raises(InvalidRequest) as told:
        await read_body(caller.scope, caller.receive, 100)
    assert (told.value.status, caller.read) == (415, 0)
    found = repr(kind.partition(";")[0]) if kind else "not declared"
    assert told.value.message.endswith(f"it was {found}.")


@pytest.mark.parametrize("size", [99, 100, 101])
async def test_the_limit_is_exact_and_named(size: int) -> None:
    caller = Caller(b"x" * (size - 50), b"x" * 50)
    if size <= 100:
        assert len(await read_body(caller.scope, caller.receive, 100)) == size
        return
    with pytest.raises(InvalidRequest, match="larger than 100 bytes") as told:
        await read_body(caller.scope, caller.receive, 100)
    assert told.value.status == 413


async def test_a_body_without_end_is_not_read_beyond_the_limit() -> None:
    caller = Caller(*[b"x" * 60] * 100)
    with pytest.raises(InvalidRequest):
        await read_body(caller.scope, caller.receive, 100)
    assert caller.read == 2


async def test_a_caller_that_leaves_in_the_middle_asks_nothing() -> None:
    caller = Caller(b'{"messages"', leaves=True)
    with pytest.raises(InvalidRequest, match="before the whole request had arrived"):
        await read_body(caller.scope, caller.receive, 100)


# --- the question


def test_what_concerns_us_is_taken_and_the_rest_goes_to_the_provider_untouched() -> None:
    ours = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    told = parse(GOOD | ours | {"top_p": 0.5, "x": [1]})
    assert (told.model, told.stream, told.show_usage, told.key) == ("m", True, True, None)
    assert told.parameters == {"top_p": 0.5, "x": [1]}
    assert told.messages == GOOD["messages"]


def test_null_is_the_same_as_nothing() -> None:
    told = parse(GOOD | {"model": None, "stream": None, "stream_options": None})
    assert (told.model, told.stream, told.show_usage) == (None, False, False)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
def test_every_role_may_speak(role: str) -> None:
    assert parse({"messages": [{"role": role, "content": "x"}]}).messages[0]["role"] == role


def test_an_assistant_may_say_nothing_beside_its_tool_calls() -> None:
    assert parse({"messages": [{"role": "assistant", "content": None, "tool_calls": []}, *GOOD["messages"]]})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": {}, "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x"}] * 11}, "messages"),
        ({"model": 7}, "model"),
        ({"model": ["m"]}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": ["include_usage"]}, "stream_options"),
        ({"stream_options": "x"}, "stream_options"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(fields: dict[str, Any], param: str) -> None:
    error = refused(GOOD | fields)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"hi"',
        b"7",
        b"\xff\xfe",
        b'{"messages": "\xff"}',
        b'{"messages": [{"role": "user", "content": "\\ud83d"}]}',
        b'{"messages": NaN}',
        b"[" * 100_000,
        b'{"messages":' * 50_000,
        b'{"messages": [{"role": "user", "content": ' + b"[" * 20_000 + b"]" * 20_000 + b"}]}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_question_is_refused(body: bytes) -> None:
    assert refused(body).status == 400


@given(anything)
@settings(max_examples=40)
def test_any_json_is_a_question_or_is_refused(value: Any) -> None:
    for body in (value, {"messages": value}, {"messages": [value]}, GOOD | {"stream_options": value}):
        with suppress(InvalidRequest):
            parse(body)


def test_a_key_comes_with_a_digest_of_the_body() -> None:
    one, same, other = (parse(body, {"Idempotency-Key": "k"}).key for body in (ask("hi"), ask("hi"), ask("ho")))
    assert one is not None
    assert other is not None
    assert one == same
    assert (one.value, other.value) == ("k", "k")
    assert one.digest != other.digest


@pytest.mark.parametrize("size", [0, 256, 4000])
def test_a_key_has_a_length_that_can_be_kept(size: int) -> None:
    assert "1 to 255" in refused(GOOD, {"Idempotency-Key": "k" * size}).message


# --- what becomes of it when nobody reads


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [("continue", None), ("cancel", 0.0), ("abandon_after=15", 15.0), ("abandon_after=.5", 0.5)],
)
def test_a_policy_is_a_time_without_readers(policy: str, seconds: float | None) -> None:
    assert parse_disconnect(policy) == seconds
    assert parse(GOOD, {"Tickertape-Disconnect": policy}).abandon_after == seconds


@pytest.mark.parametrize(
    "policy",
    ["", "Continue", "cancel=1", *(f"abandon_after={value}" for value in ("", "-1", "nan", "inf", "x"))],
)
def test_no_other_policy_is_understood(policy: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whose message nobody sees
        parse_disconnect(policy)
    if policy:
        assert "continue, cancel or abandon_after=SECONDS" in refused(GOOD, {"Tickertape-Disconnect": policy}).message


# --- a real server


def test_a_body_beyond_the_limit_is_refused_with_the_limit(echo_server: Server) -> None:
    body = b'{"messages": [{"role": "user", "content": "' + b"x" * (33 * 1024 * 1024) + b'"}]}'
    reply = request(echo_server.url, "POST", "/api/openai/stream", body, JSON)
    assert (reply.status, reply.error["code"]) == (413, "body_too_large")
    assert "33,554,432 bytes" in reply.error["message"]


def test_a_body_as_deep_as_it_gets_is_refused_and_the_server_lives(echo_server: Server) -> None:
    reply = request(echo_server.url, "POST", "/v1/chat/completions", b"[" * 1_000_000, JSON)
    assert (reply.status, reply.error["code"]) == (400, "invalid_json")
    assert request(echo_server.url, "GET", "/healthz").status == 200


@pytest.mark.parametrize("cut", [0, 20, 200, 290])
def test_a_request_that_is_cut_anywhere_harms_nobody(echo_server: Server, cut: int) -> None:
    body = json.dumps(ask("x" * 100)).encode()
    head = b"POST /api/openai/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % (len(body) + 100) + body
    with socket.create_connection(("127.0.0.1", echo_server.port)) as sock:
        sock.sendall(whole[:cut])
    with open_stream(echo_server.url, "POST", "/api/openai/stream", ask("still there")) as stream:
        assert stream.read().complete
    assert "Traceback" not in echo_server.stderr
