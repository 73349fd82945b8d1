"""`ask` and `aask` against servers of every honesty."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from faults import server as faults
from tickertape.client import aask, ask
from tickertape.deltas import Reasoning, State, Text
from tickertape.errors import AnswerFailed, ConnectionFailed, IncompleteStream


def chunk(delta: dict, **more) -> bytes:
    return b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta} | more]}).encode()


START = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"})]
END = [chunk({}, finish_reason="stop"), b'data: {"choices":[],"usage":{"total_tokens":7}}\n\n', b"data: [DONE]\n\n"]


def numbered(frames: list[bytes]) -> list[bytes]:
    return [b"id: s.%d\n%s" % (number, frame) for number, frame in enumerate(frames, 1)]


def located(connection, frames: list[bytes], *, break_off: bool = False) -> None:
    """Answer a POST with a Location and these frames."""
    connection.head(chunked=True, Location=f"{connection.script.url}/v1/streams/s")
    for frame in frames:
        connection.send(frame)
    if break_off:
        connection.reusable = False
    else:
        connection.end()


def test_an_answer_comes_as_text_and_the_rest_is_on_the_object(client, server) -> None:
    script = server.serve(faults.events(*START, *END))
    asked = client.ask(script.url, "hi", model="m", api_key="secret", temperature=0)
    answer = asked.answer
    assert asked.pieces == ["Hel", "lo"]
    assert (answer.text, answer.finish_reason, answer.state) == ("Hello", "stop", State.COMPLETED)
    assert answer.usage == {"total_tokens": 7}
    assert (answer.location, answer.stream_id) == (None, None)
    assert len(answer.events) == 6
    request = script.requests[0]
    assert request.headers["authorization"] == b"Bearer secret"
    assert json.loads(request.body)["messages"] == [{"role": "user", "content": "hi"}]
    assert len(script.requests) == 1


def test_a_base_url_finds_the_route(client, server) -> None:
    script = server.serve(faults.events(*START, *END))
    client.ask(script.url + "/v1", "hi")
    assert script.requests[0].target.endswith("/v1/chat/completions")


@pytest.mark.parametrize(
    "play",
    [
        faults.events(*START),
        faults.events(*START, chunked=False),
        faults.truncated(b"".join(START), "inside a chunk"),
        faults.truncated(b"".join(START), "before the last chunk"),
        faults.truncated(b"".join(START), "before Content-Length"),
    ],
    ids=["clean end", "clean close", "inside a chunk", "before the last chunk", "before Content-Length"],
)
def test_a_truncated_answer_raises_with_its_text_and_is_not_asked_for_again(client, server, play) -> None:
    script = server.serve(play)
    asked = client.ask(script.url, "hi")
    assert isinstance(asked.error, IncompleteStream)
    assert asked.error.text == "Hello"
    assert asked.answer.state is State.INCOMPLETE
    assert len(script.requests) == 1


def test_a_stalled_answer_raises_with_its_text(client, server) -> None:
    script = server.serve(faults.silence(b"".join(START)))
    asked = client.ask(script.url, "hi", read_timeout=0.2)
    assert isinstance(asked.error, IncompleteStream)
    assert "fell silent" in str(asked.error)
    assert len(script.requests) == 1


def test_a_question_that_got_no_answer_is_not_sent_again(client, server) -> None:
    script = server.serve(faults.no_head, faults.events(*START, *END))
    asked = client.ask(script.url, "hi")
    assert isinstance(asked.error, ConnectionFailed)
    assert len(script.requests) == 1


def test_a_question_with_a_key_that_the_server_honours_is_sent_again(client, server) -> None:
    script = server.serve(faults.no_head, faults.events(*START, *END))
    asked = client.ask(script.url, "hi", idempotency_key="mine", reconnection_time=0.001)
    assert asked.error is None
    assert [request.headers["idempotency-key"] for request in script.requests] == [b"mine", b"mine"]


def test_an_answer_breaking_after_its_finish_reason_is_whole(client, server) -> None:
    script = server.serve(faults.truncated(b"".join([*START, END[0]]), "inside a chunk"))
    asked = client.ask(script.url, "hi")
    assert asked.error is None
    assert asked.answer.state is State.COMPLETED


def test_reading_stops_at_done_even_if_the_connection_stays_open(client, server) -> None:
    script = server.serve(faults.silence(b"".join([*START, *END])))
    asked = client.ask(script.url, "hi")
    assert asked.answer.state is State.COMPLETED
    assert script.closed_by_client.wait(5)


def test_an_error_in_the_stream_is_raised(client, server) -> None:
    script = server.serve(faults.events(*START, b'data: {"error":{"message":"boom"}}\n\n', b"data: [DONE]\n\n"))
    asked = client.ask(script.url, "hi")
    assert isinstance(asked.error, AnswerFailed)
    assert (asked.error.text, asked.answer.text) == ("Hello", "Hello")


@pytest.mark.parametrize(
    "late",
    [b'data: {"error":{"message":"boom"}}\n\n', b'event: error\ndata: {"message":"boom"}\n\n'],
    ids=["error object", "event named error"],
)
def test_an_error_that_was_read_together_with_the_end_marker_is_raised(client, server, late: bytes) -> None:
    """An error wins over a finish reason and [DONE] as long as it is in the bytes that were read with them."""
    script = server.serve(faults.events(b"".join([*START, *END, late])))
    asked = client.ask(script.url, "hi")
    assert isinstance(asked.error, AnswerFailed)
    assert (asked.error.text, asked.answer.state) == ("Hello", State.FAILED)


def test_usage_that_was_read_together_with_the_end_marker_is_kept(client, server) -> None:
    """Some gateways count only after [DONE]; that is no error and no text, so the answer stays whole."""
    usage = b'data: {"choices":[],"usage":{"total_tokens":8}}\n\n'
    asked = client.ask(server.serve(faults.events(b"".join([*START, *END, usage]))).url, "hi")
    assert (asked.answer.state, asked.answer.usage) == (State.COMPLETED, {"total_tokens": 8})


async def test_reading_an_answer_again_after_it_was_cut_off_raises_again(server) -> None:
    """A partial text is never handed out as if it were whole."""
    script = server.serve(faults.events(*START))
    answer, async_answer = ask(script.url, "hi"), aask(script.url, "hi")
    for _ in range(2):
        with pytest.raises(IncompleteStream):
            answer.read()
        with pytest.raises(IncompleteStream):
            await async_answer.read()


def test_a_refusal_is_raised_with_its_status_and_words(client, server) -> None:
    script = server.serve(faults.status(401, b'{"error":{"message":"Incorrect API key"}}'))
    asked = client.ask(script.url, "hi")
    assert isinstance(asked.error, ConnectionFailed)
    assert asked.error.status == 401
    assert "Incorrect API key" in str(asked.error)
    assert asked.answer.state is State.FAILED


def test_a_server_that_is_not_there_is_an_error_at_once(client) -> None:
    assert isinstance(client.ask("http://127.0.0.1:1", "hi").error, ConnectionFailed)


def test_a_cut_answer_is_read_on_from_its_location(client, server) -> None:
    log = numbered([*START, *END])

    def play(connection) -> None:
        if connection.request.method == "POST":
            located(connection, log[:2], break_off=True)
        elif connection.request.last_event_id == b"s.2":
            faults.events(*log[2:])(connection)

    script = server.serve(play)
    asked = client.ask(script.url, "hi", reconnection_time=0.001)
    assert asked.error is None
    assert asked.pieces == ["Hel", "lo"]
    assert asked.answer.stream_id == "s"
    assert [request.method for request in script.requests] == ["POST", "GET"]
    assert "idempotency-key" in script.requests[0].headers


def test_a_cursor_that_the_server_forgot_replays_everything_and_nothing_is_told_twice(client, server) -> None:
    log = numbered([*START, *END])

    def play(connection) -> None:
        if connection.request.method == "POST":
            located(connection, log[:3], break_off=True)
        else:
            faults.events(*log)(connection)

    asked = client.ask(server.serve(play).url, "hi", reconnection_time=0.001)
    assert asked.pieces == ["Hel", "lo"]


@pytest.mark.parametrize("status", [404, 401, 204])
def test_a_stream_that_cannot_be_resumed_is_incomplete_with_its_text(client, server, status: int) -> None:
    def play(connection) -> None:
        if connection.request.method == "POST":
            located(connection, numbered(START), break_off=True)
        else:
            faults.status(status)(connection)

    asked = client.ask(server.serve(play).url, "hi", reconnection_time=0.001)
    assert isinstance(asked.error, IncompleteStream)
    assert asked.error.text == "Hello"


def test_a_server_in_a_deploy_is_waited_for(client, server) -> None:
    log = numbered([*START, *END])

    def play(connection) -> None:
        if connection.request.method == "POST":
            located(connection, log[:2], break_off=True)
        elif connection.script.opened < 3:
            faults.status(503, Retry_After="0")(connection)
        else:
            faults.events(*log[2:])(connection)

    asked = client.ask(server.serve(play).url, "hi", reconnection_time=0.001)
    assert asked.error is None
    assert asked.answer.text == "Hello"


def test_attaching_follows_an_existing_stream_from_its_start(client, server) -> None:
    script = server.serve(faults.events(*numbered([*START, *END])))
    asked = client.ask("http://host/", attach=script.url, api_key="secret")
    assert asked.answer.text == "Hello"
    assert asked.answer.location == script.url
    assert script.requests[0].method == "GET"
    assert script.requests[0].headers["authorization"] == b"Bearer secret"


def test_attaching_to_a_stream_that_is_not_there_is_an_error(client, server) -> None:
    script = server.serve(faults.status(404, b'{"error":{"message":"There is no stream"}}'))
    asked = client.ask(script.url, attach=script.url)
    assert isinstance(asked.error, ConnectionFailed)
    assert asked.error.status == 404


def test_a_broken_question_is_refused_before_anything_is_sent() -> None:
    for make in (ask, aask):
        with pytest.raises(ValueError, match="either messages"):
            make("http://host")
        with pytest.raises(ValueError, match="http:// or https://"):
            make("host:8000", "hi")


class Stoppable:
    """A tickertape server whose answer goes on until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.cancel_headers: dict[str, bytes] = {}

    def __call__(self, connection) -> None:
        if connection.request.target.endswith("/cancel"):
            self.cancel_headers = connection.request.headers
            self.cancelled.set()
            faults.status(200, b'{"state":"cancelled"}')(connection)
            return
        connection.head(chunked=True, Location=f"{connection.script.url}/v1/streams/s")
        for frame in numbered(START):
            connection.send(frame)
        assert self.cancelled.wait(10)
        connection.send(b'id: s.4\ndata: {"choices":[{"index":0,"delta":{}}],"tickertape":{"state":"cancelled"}}\n\n')
        connection.send(b"id: s.5\ndata: [DONE]\n\n")
        connection.end()


def test_cancel_tells_a_tickertape_server_and_the_answer_ends_cancelled(server) -> None:
    stream = Stoppable()
    with ask(server.serve(stream).url, "hi", api_key="secret") as answer:
        pieces = []
        for piece in answer:
            pieces.append(piece)
            if piece == "lo":
                answer.cancel()
    assert pieces == ["Hel", "lo"]
    assert answer.state is State.CANCELLED
    assert stream.cancel_headers["authorization"] == b"Bearer secret"
    answer.cancel()  # twice does no harm


async def test_aask_cancels_the_same_way(server) -> None:
    stream = Stoppable()
    async with aask(server.serve(stream).url, "hi", api_key="secret") as answer:
        async for piece in answer:
            if piece == "lo":
                await answer.cancel()
    assert (answer.state, answer.text) == (State.CANCELLED, "Hello")
    assert stream.cancel_headers["authorization"] == b"Bearer secret"
    await answer.cancel()


def test_cancel_closes_the_connection_of_any_other_server(server) -> None:
    script = server.serve(faults.silence(b"".join(START)))
    answer = ask(script.url, "hi")
    started = threading.Event()

    def stop() -> None:
        assert started.wait(5)
        answer.cancel()

    stopper = threading.Thread(target=stop)
    stopper.start()
    for _ in answer:
        started.set()
    stopper.join()
    assert (answer.state, answer.text) == (State.CANCELLED, "Hello")
    assert script.closed_by_client.wait(5)


async def test_aask_cancel_closes_the_connection_of_any_other_server(server) -> None:
    script = server.serve(faults.silence(b"".join(START)))
    async with aask(script.url, "hi") as answer:
        async for piece in answer:
            if piece == "lo":
                await answer.cancel()
    assert (answer.state, answer.text) == (State.CANCELLED, "Hello")


def test_a_server_that_will_not_stop_is_an_error_of_cancel(server) -> None:
    def play(connection) -> None:
        if connection.request.target.endswith("/cancel"):
            faults.status(403, b'{"error":{"message":"not yours"}}')(connection)
        else:
            located(connection, numbered([*START, *END]))

    with ask(server.serve(play).url, "hi") as answer:
        next(iter(answer))
        with pytest.raises(ConnectionFailed, match="403: not yours"):
            answer.cancel()
        assert answer.read() == "Hello"
    assert answer.state is State.COMPLETED


async def test_cancelling_the_task_closes_the_socket(server) -> None:
    script = server.serve(faults.silence(b"".join(START)))
    answer = aask(script.url, "hi")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await answer.read()
    assert await asyncio.to_thread(script.closed_by_client.wait, 5)
    assert answer.text == "Hello"


def test_leaving_early_closes_the_connection(server) -> None:
    script = server.serve(faults.silence(b"".join(START)))
    with ask(script.url, "hi") as answer:
        for _ in answer:
            break
    assert script.closed_by_client.wait(5)
    assert answer.state is State.RUNNING


async def test_deltas_tell_everything_in_order(server) -> None:
    script = server.serve(faults.events(chunk({"reasoning": "hm"}), *START, *END))
    kinds = [type(delta) for delta in ask(script.url, "hi").deltas()]
    assert kinds[:3] == [Reasoning, Text, Text]
    async with aask(script.url, "hi") as answer:
        assert [type(delta) async for delta in answer.deltas()] == kinds


def test_an_answer_can_be_gone_on_with_after_a_break(server) -> None:
    script = server.serve(faults.events(*START, *END))
    with ask(script.url, "hi") as answer:
        for _ in answer:
            break
        assert list(answer) == ["lo"]
        assert answer.text == "Hello"
