"""The answer is cut after byte N, for every N there is: what is read does not change by one event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from faults import server as faults
from faults.proxy import CuttingProxy
from tickertape.deltas import State
from tickertape.sse.encoder import encode
from tickertape.sse.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class FakeTickertape:
    """The part of tickertape's HTTP behaviour that a client's resuming stands on, and a count of what was generated."""

    def __init__(self) -> None:
        self.keys: dict[bytes, str] = {}

    def __call__(self, connection) -> None:
        request = connection.request
        if request.target.endswith("/" + "0" * 32):
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
        for number, data in enumerate(ANSWER[have:], have + 1):
            retry = b"retry: 1\n" if number == 1 else b""
            connection.send(b"id: %s.%d\n%sdata: %s\n\n" % (name.encode(), number, retry, data))
        connection.end()


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_cut_after_byte_n_an_event_source_reads_the_same_events(client, server, proxy, reset: bool) -> None:
    script = server.serve(faults.resumable(LOG))
    url = through(proxy, script.url, server)
    proxy.reset = reset
    proxy.cut_at()
    assert client.read(url, max_retries=0).data == TOLD
    whole = proxy.settle()
    assert whole > sum(map(len, LOG))
    # RST takes as long again and differs only in what it loses; every third byte is enough for it.
    for cut in range(0, whole, 3 if reset else 1):
        proxy.cut_at(cut)
        outcome = client.read(url, limit=4)
        assert outcome.data == TOLD, f"cut after byte {cut}"
        assert outcome.error is None


@pytest.mark.parametrize(("route", "step"), [("/api/openai/stream", 1), ("/v1", 4)])
def test_cut_after_byte_n_an_answer_is_whole_and_generated_once(client, server, proxy, route: str, step: int) -> None:
    tape = FakeTickertape()
    script = server.serve(tape)
    url = through(proxy, script.url, server) + route
    proxy.reset = False
    proxy.cut_at()
    assert client.ask(url, "hi").error is None
    whole = proxy.settle()
    for cut in range(0, whole, step):
        proxy.cut_at(cut)
        before = len(tape.keys)
        asked = client.ask(url, "hi", reconnection_time=0.001)
        assert asked.error is None, f"cut after byte {cut}: {asked.error}"
        assert asked.pieces == ["Hel", "lo \u00fc"], f"cut after byte {cut}"
        answer = asked.answer
        assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hello \u00fc", "hm", "stop")
        assert answer.state is State.COMPLETED
        assert len(tape.keys) == before + 1
