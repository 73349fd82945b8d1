"""Both clients against a real tickertape server, directly and over connections that are cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import urllib3

from faults.proxy import CuttingProxy
from tickertape.client import aask, ask
from tickertape.client.answer_request import NO_STREAM
from tickertape.deltas import State
from tickertape.errors import ConnectionFailed
from tickertape.sse.actions import Loss

from .driver import AnswerDriver, Response

if TYPE_CHECKING:
    from support.server import Server
    from tickertape.client.request import HttpRequest

QUESTION = "Gr\u00fc\u00dfe"


@pytest.mark.parametrize("route", ["", "/v1", "/api/openai/stream"])
def test_an_answer_is_read_whole_from_every_route(client, echo_server: Server, route: str) -> None:
    asked = client.ask(echo_server.url + route, QUESTION)
    assert asked.error is None
    assert asked.answer.state is State.COMPLETED
    assert asked.answer.finish_reason == "stop"
    assert QUESTION in asked.answer.text
    again = client.ask(echo_server.url + route, attach=asked.answer.stream_id)
    assert again.answer.text == asked.answer.text


class Recorded:
    """A real server's responses, each asked for once; the first is cut after so many bytes, before its head at -1."""

    def __init__(self) -> None:
        self.replies: dict[tuple[str, str, str], Response] = {}
        self.cut = -1
        self.loss = Loss.BROKEN
        self._cut_next = True

    def cut_at(self, cut: int, loss: Loss) -> Recorded:
        self.cut, self.loss, self._cut_next = cut, loss, True
        return self

    def __call__(self, request: HttpRequest) -> Response | Loss:
        key = (request.method, request.url, request.headers.get("last-event-id", ""))
        if key not in self.replies:
            reply = urllib3.request(request.method, request.url, body=request.body, headers=request.headers)
            content_type = reply.headers.get("content-type", "")
            self.replies[key] = Response(reply.status, dict(reply.headers), [reply.data], content_type=content_type)
        if not self._cut_next or request.url.endswith(NO_STREAM):
            return self.replies[key]
        self._cut_next = False
        return self.replies[key].cut(self.cut, self.loss) if self.cut >= 0 else Loss.BROKEN


@pytest.mark.parametrize("route", ["/api/openai/stream", "/v1/chat/completions"])
def test_cut_after_any_byte_the_answer_is_whole(serve, route: str) -> None:
    """Every byte of what a real server sends, without sockets between it and the client's machine."""
    server = Recorded()
    url = serve(echo_rate=50).url + route  # paced, so that words are events of their own
    question = f"{QUESTION} one two three"
    whole = AnswerDriver(server.cut_at(1_000_000, Loss.BROKEN), url, question).run().transcript
    assert whole.state is State.COMPLETED
    [body] = server.replies["POST", url, ""].pieces
    assert len(body) > 800
    for loss in (Loss.BROKEN, Loss.ENDED):
        for cut in range(-1, len(body)):
            driver = AnswerDriver(server.cut_at(cut, loss), url, question).run()
            it = driver.transcript
            assert driver.error is None, f"cut after byte {cut}"
            assert "".join(driver.pieces) == it.text == whole.text, f"cut after byte {cut}"
            assert (it.state, it.events) == (State.COMPLETED, whole.events)


@pytest.mark.parametrize(("route", "step"), [("/api/openai/stream", 29), ("/v1/chat/completions", 61)])
async def test_cut_over_sockets_the_answer_is_whole(echo_server: Server, route: str, step: int) -> None:
    with CuttingProxy(echo_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}{route}"
        whole = aask(url, QUESTION)
        await whole.read()
        size = await asyncio.to_thread(proxy.settle)
        assert size > 1000
        gate = asyncio.Semaphore(200)

        async def once(cut: int) -> None:
            async with gate, aask(url, QUESTION, headers={"X-Cut": str(cut)}, reconnection_time=0.01) as answer:
                assert await answer.read() == whole.text, f"cut after byte {cut}"
                assert answer.state is State.COMPLETED
                assert len(answer.events) == len(whole.events)

        async with asyncio.TaskGroup() as group:
            for cut in range(0, size, step):
                group.create_task(once(cut))


def test_cut_over_sockets_every_event_of_a_stream_comes_once(client, echo_server: Server) -> None:
    first = ask(echo_server.url, QUESTION)
    first.read()
    with CuttingProxy(echo_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/v1/streams/{first.stream_id}"
        for cut in range(0, 330, 30):  # up to the first frame, whose `retry` would make it slow
            outcome = client.read(url, headers={"X-Cut": str(cut)}, limit=len(first.events))
            assert [event.id for event in outcome.events] == [event.id for event in first.events]


def test_a_stream_that_is_not_there_is_an_error(client, echo_server: Server) -> None:
    asked = client.ask(echo_server.url, attach="f" * 32)
    assert isinstance(asked.error, ConnectionFailed)
    assert asked.error.status == 404


def test_a_bad_question_is_told_in_the_servers_words(client, echo_server: Server) -> None:
    asked = client.ask(echo_server.url, [])
    assert isinstance(asked.error, ConnectionFailed)
    assert asked.error.status == 400
    assert "messages" in str(asked.error)


def test_cancel_stops_a_real_answer(serve) -> None:
    slow = serve(echo_rate=20)
    with ask(slow.url, "one two three four five six seven eight nine ten " * 20) as answer:
        pieces = []
        for piece in answer:
            pieces.append(piece)
            if len(pieces) == 3:
                answer.cancel()
    assert answer.state is State.CANCELLED
    assert 3 <= len(pieces) < 60


def test_an_answer_that_is_stopped_after_it_was_closed_keeps_no_connection(serve) -> None:
    answer = ask(serve(echo_rate=50).url, "word " * 500)
    next(iter(answer))
    answer.close()
    answer.cancel()
    assert len(answer._transport._pool.pools) == 0


async def test_aask_cancel_stops_a_real_answer_before_its_first_token(serve) -> None:
    slow = serve(echo_rate=0.2)
    async with aask(slow.url, "hello there") as answer:
        reading = asyncio.create_task(answer.read())
        await asyncio.sleep(0)  # the reading has begun; cancel waits until the answer has a name
        await answer.cancel()
        await reading
    assert answer.state is State.CANCELLED


def test_an_answer_whose_server_is_killed_and_restarted_ends_lost_with_its_text(client, serve, monkeypatch) -> None:
    slow = serve(echo_rate=20)
    restarted = []

    def restart(_wait) -> None:
        if not restarted:
            restarted.append(True)
            slow.restart()

    count = 0
    from tickertape.client import transcript

    take = transcript.EventTranscript.take

    def counting(self, event):
        nonlocal count
        count += 1
        if count == 5:
            slow.kill()
        return take(self, event)

    monkeypatch.setattr(transcript.EventTranscript, "take", counting)
    asked = client.ask(slow.url, "one two three four five " * 20, on_reconnect=restart)
    assert asked.error is not None
    assert getattr(asked.error, "code", None) == "lost"
    assert asked.answer.state is State.LOST
    assert asked.error.text == "".join(asked.pieces)
    assert asked.pieces
