"""The response is cut after byte N: every N without sockets, a few with them. What is read does not change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from faults import server as faults
from faults.proxy import CuttingProxy
from tickertape.client.answer_request import NO_STREAM
from tickertape.deltas import State
from tickertape.sse.actions import Loss
from tickertape.sse.encoder import encode
from tickertape.sse.event import Event

from .driver import AnswerDriver, Response, SourceDriver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickertape.client.request import HttpRequest

STEP = 41
"""Bytes between two cuts over sockets; a prime, so that they fall on all kinds of places."""

LOSSES = [Loss.ENDED, Loss.BROKEN, Loss.SILENT]
"""The ways in which a connection is lost that was there."""

LOG = [
    encode(Event("one", id="1", retry=1)),
    b": ping\n" + encode(Event("Gr\u00fc\u00dfe \U0001f680", id="2")),
    b"event: note\r\ndata: two\r\ndata: lines\r\nid: 3\r\n\r\n",
    encode(Event("end", id="4")),
]
TOLD = ["one", "Gr\u00fc\u00dfe \U0001f680", "two\nlines", "end"]


@pytest.fixture(scope="module")
def proxy(server) -> Iterator[CuttingProxy]:
    with CuttingProxy(server.port) as running:
        yield running


def through(proxy: CuttingProxy, url: str, server) -> str:
    return url.replace(f":{server.port}/", f":{proxy.port}/")


def chunk(delta: dict, **more) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None} | more]}).encode()


ANSWER = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "hm"}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo \u00fc"}),
    chunk({}, finish_reason="stop"),
    b"[DONE]",
]


def frames(name: str, have: int) -> list[bytes]:
    """Return the frames of the stream of this name after so many."""
    made = []
    for number, data in enumerate(ANSWER[have:], have + 1):
        retry = b"retry: 1\n" if number == 1 else b""
        made.append(b"id: %s.%d\n%sdata: %s\n\n" % (name.encode(), number, retry, data))
    return made


class CutTickertape:
    """The same server as a function of requests: its n-th response to a POST or a resuming GET is cut at ``cuts[n]``.

    A cut at -1 comes before the head.
    """

    def __init__(self, loss: Loss, *cuts: int) -> None:
        self.keys: dict[str, str] = {}
        self.loss, self.cuts = loss, list(cuts)

    def __call__(self, request: HttpRequest) -> Response | Loss:
        if request.url.endswith("/" + NO_STREAM):
            return Response(404, pieces=[b'{"error":{"code":"unknown_stream"}}'])
        if request.method == "POST":
            name = self.keys.setdefault(request.headers["idempotency-key"], f"{len(self.keys) + 1:032x}")
            location = {"Location": f"/v1/streams/{name}"}
        else:
            name, location = request.url.rpartition("/")[2], {}
        stream, _, position = request.headers.get("last-event-id", "").rpartition(".")
        response = Response(headers=location, pieces=frames(name, int(position) if stream == name else 0))
        if not self.cuts:
            return response
        cut = self.cuts.pop(0)
        return response.cut(cut, self.loss) if cut >= 0 else Loss.BROKEN


def assert_whole(driver: AnswerDriver, stream: CutTickertape, where: str) -> None:
    """Assert that the answer is whole, handed out once, and was generated once."""
    assert driver.error is None, f"{where}: {driver.error}"
    assert driver.pieces == ["Hel", "lo \u00fc"], where
    it = driver.transcript
    assert (it.text, it.reasoning, it.finish_reason) == ("Hello \u00fc", "hm", "stop"), where
    assert it.state is State.COMPLETED
    assert len(stream.keys) == 1


class FakeTickertape:
    """The part of tickertape's HTTP behaviour that a client's resuming stands on, and a count of what was generated."""

    def __init__(self) -> None:
        self.keys: dict[bytes, str] = {}

    def __call__(self, connection) -> None:
        request = connection.request
        if request.target.endswith("/" + NO_STREAM):
            faults.status(404, b'{"error":{"code":"unknown_stream"}}')(connection)
            return
        if request.method == "POST":
            name = self.keys.setdefault(request.headers["idempotency-key"], f"{len(self.keys) + 1:032x}")
            location = {"Location": f"{connection.script.url}/v1/streams/{name}"}
        else:
            name, location = request.target.rpartition("/")[2], {}
        stream, _, position = (request.last_event_id or b"").decode().rpartition(".")
        have = int(position) if stream == name else 0
        connection.head(chunked=True, **location)
        for frame in frames(name, have):
            connection.send(frame)
        connection.end()


def resumable_log(loss: Loss, *cuts: int):
    """Serve the log as `faults.resumable` does; the n-th response is cut at ``cuts[n]``, before its head at -1."""
    left = list(cuts)

    def serve(request: HttpRequest) -> Response | Loss:
        have = int(request.headers.get("last-event-id", "0"))
        if have >= len(LOG):
            return Response(204)
        cut = left.pop(0) if left else len(b"".join(LOG))
        return Response(pieces=LOG[have:]).cut(cut, loss) if cut >= 0 else Loss.BROKEN

    return serve


@pytest.mark.parametrize("loss", LOSSES)
def test_cut_after_any_byte_an_event_source_reads_the_same_events(loss: Loss) -> None:
    whole = len(b"".join(LOG))
    for cut in range(-1, whole + 1):
        driver = SourceDriver(resumable_log(loss, cut)).run()
        assert driver.data == TOLD, f"cut after byte {cut}"
        assert driver.error is None
    for cut in range(-1, whole, 7):
        for again in range(-1, whole, 11):
            assert SourceDriver(resumable_log(loss, cut, again)).run().data == TOLD, f"cut after {cut} and {again}"


@pytest.mark.parametrize("route", ["/api/openai/stream", "/v1"])
@pytest.mark.parametrize("loss", LOSSES)
def test_cut_after_any_byte_an_answer_is_whole_and_generated_once(route: str, loss: Loss) -> None:
    whole = len(b"".join(frames("0" * 31 + "1", 0)))
    cuts = [(cut,) for cut in range(-1, whole + 1)]
    cuts += [(cut, again) for cut in range(-1, whole, 23) for again in range(-1, whole, 29)]
    for places in cuts:
        stream = CutTickertape(loss, *places)
        assert_whole(AnswerDriver(stream, f"http://host{route}").run(), stream, f"cut after byte {places}")


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_cut_over_sockets_an_event_source_reads_the_same_events(client, server, proxy, reset: bool) -> None:
    script = server.serve(faults.resumable(LOG))
    url = through(proxy, script.url, server)
    proxy.reset = reset
    proxy.cut_at()
    assert client.read(url, max_retries=0).data == TOLD
    whole = proxy.settle()
    assert whole > sum(map(len, LOG))
    for cut in range(0, whole, STEP):
        proxy.cut_at(cut)
        outcome = client.read(url, limit=4)
        assert outcome.data == TOLD, f"cut after byte {cut}"
        assert outcome.error is None


@pytest.mark.parametrize("route", ["/api/openai/stream", "/v1"])
def test_cut_over_sockets_an_answer_is_whole_and_generated_once(client, server, proxy, route: str) -> None:
    stream = FakeTickertape()
    script = server.serve(stream)
    url = through(proxy, script.url, server) + route
    proxy.reset = False
    proxy.cut_at()
    assert client.ask(url, "hi").error is None
    whole = proxy.settle()
    for cut in range(0, whole, STEP):
        proxy.cut_at(cut)
        before = len(stream.keys)
        asked = client.ask(url, "hi", reconnection_time=0.001)
        assert asked.error is None, f"cut after byte {cut}: {asked.error}"
        assert asked.pieces == ["Hel", "lo \u00fc"], f"cut after byte {cut}"
        answer = asked.answer
        assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hello \u00fc", "hm", "stop")
        assert answer.state is State.COMPLETED
        assert len(stream.keys) == before + 1
