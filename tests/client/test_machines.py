"""What the clients decide, without sockets: one machine for both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.client.answer_request import NO_STREAM
from tickertape.client.event_machine import Call, Finished, ReadRefusal
from tickertape.client.request import RequestTemplate
from tickertape.deltas import State, Text
from tickertape.errors import AnswerFailed, ConnectionFailed, EventTooLarge, IncompleteStream
from tickertape.sse.actions import Connect, Loss, Policy, ReadyState, Wait

from .driver import AnswerDriver, Driver, Response, SourceDriver
from .test_cuts import CutTickertape, assert_whole, frames

BASE = "http://host"
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"boom"}}\n\n'
UNKNOWN_STREAM = Response(404, pieces=[b'{"error":{"code":"unknown_stream"}}'])


def sends(*pieces: bytes):
    """Return a server that sends these pieces for every request."""
    return lambda _: Response(pieces=list(pieces))


def plays(*responses: Response | Loss):
    """Return a server that plays these, one for each request."""
    left = list(responses)
    return lambda _: left.pop(0)


def until(driver: Driver, kind: type) -> object:
    """Perform until an action of this kind is next, and return it."""
    while not isinstance(action := driver.machine.next_action(), kind):
        assert driver.perform()
    return action


# --- the event source


@pytest.mark.parametrize(
    "report",
    [
        lambda machine: machine.receive_head(200, {"content-type": "text/event-stream"}, 0),
        lambda machine: machine.receive_head(500, {}, 0),
        lambda machine: machine.receive_data(b"data: x\n\n"),
        lambda machine: machine.receive_eof(0),
        lambda machine: machine.connection_lost(Loss.BROKEN, "", 0),
        lambda machine: machine.waited(),
    ],
)
def test_a_report_after_close_changes_nothing(report) -> None:
    """The thread at the connection may report what it saw before it notices that another one closed the source."""
    told: list[object] = []
    driver = SourceDriver(sends(), on_open=told.append)
    driver.machine.close()
    report(driver.machine)
    assert driver.machine.next_event() is None
    assert driver.machine.next_action() == Finished()
    assert driver.machine.state is ReadyState.CLOSED
    assert told == driver.waits == []


def test_events_that_were_received_before_close_are_not_handed_out() -> None:
    driver = SourceDriver(sends(b"data: 1\n\ndata: 2\n\n")).run(limit=1)
    driver.machine.close()
    assert driver.machine.next_event() is None


def test_a_refusals_body_is_part_of_its_error() -> None:
    driver = SourceDriver(lambda _: Response(503, pieces=[b'{"error":{"message":"de', b'ploying"}}'])).run()
    assert any(isinstance(action, ReadRefusal) for action in driver.actions)
    assert str(driver.error) == "http://host/ answered 503: deploying"


def test_the_body_of_a_connection_that_broke_is_not_read_for_a_message() -> None:
    driver = SourceDriver(
        lambda _: Response(pieces=[b"data: x\n\n"], loss=Loss.BROKEN), template=RequestTemplate("POST")
    )
    driver.run()
    assert isinstance(driver.error, ConnectionFailed)
    assert not any(isinstance(action, ReadRefusal) for action in driver.actions)


def test_an_event_beyond_the_limit_comes_after_the_events_before_it() -> None:
    """Also where the connection ends right after it: connecting again would bring the same."""
    large = Response(pieces=[b"data: x\n\ndata: " + b"y" * 200])
    driver = SourceDriver(plays(large, Response(204)), max_event_size=100).run()
    assert driver.data == ["x"]
    assert isinstance(driver.error, EventTooLarge)


def test_what_a_callback_raises_comes_out_of_the_report() -> None:
    def refuse(_: object) -> None:
        raise LookupError

    for name, data in (("on_open", b""), ("on_comment", b": x\n")):
        with pytest.raises(LookupError):
            SourceDriver(sends(data), **{name: refuse}).run()


def test_the_last_event_id_is_that_of_the_event_handed_out_and_an_id_alone_counts_when_all_are() -> None:
    driver = SourceDriver(plays(Response(pieces=[b"id: 1\ndata: x\n\nid: 2\n\n"]), Response(204))).run(limit=1)
    assert driver.machine.last_event_id == "1"
    driver.run()
    assert driver.machine.last_event_id == "2"
    assert driver.requests[1].headers["last-event-id"] == "2"


# --- the answer


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([TEXT + STOP + DONE + ERROR], True),
        ([TEXT + DONE + ERROR], True),
        ([DONE + ERROR], True),
        ([TEXT, DONE + b": x\n" + ERROR], True),
        ([TEXT + STOP + DONE, ERROR], False),  # nobody waits for what may come after the end
    ],
)
def test_an_error_wins_over_done_where_it_was_received_with_it(pieces: list[bytes], error: bool) -> None:
    driver = AnswerDriver(sends(*pieces)).run()
    assert isinstance(driver.error, AnswerFailed) is error
    assert driver.transcript.state is (State.FAILED if error else State.COMPLETED)


@pytest.mark.parametrize("marker", [b"", DONE], ids=["finish reason", "finish reason and [DONE]"])
@pytest.mark.parametrize(
    "lines",
    [
        b'{"error":{"message":"boom"}}',
        b'{"error":{"message":"boom"}}\n\n',
        b'{\n  "error": {\n    "message": "boom"\n  }\n}\n',
        b"Internal Server Error: boom\n",
    ],
    ids=["no line end", "one line", "several lines", "words"],
)
def test_an_error_in_lines_that_are_no_events_makes_no_whole_answer(lines: bytes, marker: bytes) -> None:
    """As a proxy or a web framework writes it into a response that had begun."""
    driver = AnswerDriver(sends(TEXT + STOP + marker + lines), BASE).run()
    if marker and not lines.endswith(b"\n"):
        assert driver.error is None  # the line may go on, and nobody waits for more after [DONE]
    else:
        assert isinstance(driver.error, AnswerFailed)
        assert "boom" in str(driver.error)
        assert (driver.transcript.state, driver.error.text) == (State.FAILED, "Hi")


@pytest.mark.parametrize("lines", [b"\n\n", b": x\n", b"id\n", b"retry: x\n"])
def test_lines_that_are_no_events_and_no_error_do_no_harm(lines: bytes) -> None:
    driver = AnswerDriver(sends(TEXT + STOP + lines), BASE).run()
    assert (driver.error, driver.transcript.state) == (None, State.COMPLETED)


def test_an_error_in_lines_that_are_no_events_does_not_outlive_a_resumed_connection() -> None:
    first = Response(headers={"Location": "/v1/streams/s"}, pieces=[b"id: s.1\n" + TEXT + b"oops: error\n"])
    rest = Response(pieces=[b"id: s.2\n" + STOP + b"id: s.3\n" + DONE])
    assert AnswerDriver(plays(first, rest), BASE).run().error is None


def test_text_that_was_received_with_done_revokes_it() -> None:
    driver = AnswerDriver(sends(TEXT + STOP + DONE + TEXT), BASE).run()
    assert driver.pieces == ["Hi", "Hi"]
    assert isinstance(driver.error, IncompleteStream)


def test_what_was_received_is_handed_out_before_the_error_after_it() -> None:
    driver = AnswerDriver(sends(TEXT + ERROR + TEXT)).run()
    assert driver.pieces == ["Hi"]
    assert isinstance(driver.error, AnswerFailed)


def test_the_transcript_holds_no_more_than_what_was_handed_out() -> None:
    driver = AnswerDriver(sends(TEXT + TEXT + STOP + DONE))
    until(driver, Connect)
    driver.perform()
    driver.perform()
    assert driver.machine.next_delta() == Text("Hi")
    assert (driver.transcript.text, driver.transcript.state) == ("Hi", State.RUNNING)


@pytest.mark.parametrize("replies", [[Response(404)], [Response(200, pieces=[b"{}"])], [Loss.UNREACHABLE]])
def test_a_question_that_was_cut_before_its_answer_goes_once_to_a_server_that_is_not_tickertape(replies) -> None:
    driver = AnswerDriver(plays(Loss.BROKEN, *replies), BASE).run()
    assert [request.method for request in driver.requests] == ["POST", "GET"]
    assert isinstance(driver.error, ConnectionFailed)
    assert "sent only once" in str(driver.error)
    assert driver.transcript.state is State.FAILED


def test_a_question_that_was_cut_before_its_answer_goes_again_to_tickertape_under_the_same_key() -> None:
    driver = AnswerDriver(plays(Loss.BROKEN, UNKNOWN_STREAM, Response(pieces=[TEXT, DONE])), BASE, api_key="k").run()
    posts = [request for request in driver.requests if request.method == "POST"]
    assert posts[0] == posts[1]
    assert driver.requests[1].url.endswith(NO_STREAM)
    assert "idempotency-key" not in driver.requests[1].headers
    assert driver.transcript.state is State.COMPLETED


def test_a_server_that_cut_the_question_and_restarts_is_awaited() -> None:
    """As in a deploy: the connection breaks, for a while nobody listens, then the answer comes."""
    away = [Loss.BROKEN, Loss.UNREACHABLE, Loss.UNREACHABLE]
    for url, proof in ((f"{BASE}/api/openai/stream", []), (BASE, [UNKNOWN_STREAM])):
        server = plays(away[0], *proof, *away[1:], Response(pieces=[TEXT, DONE]))
        driver = AnswerDriver(server, url).run()
        assert (driver.error, driver.transcript.text) == (None, "Hi")


def test_a_server_that_is_not_there_at_all_is_an_error_at_once() -> None:
    driver = AnswerDriver(plays(Loss.UNREACHABLE), f"{BASE}/api/openai/stream").run()
    assert isinstance(driver.error, ConnectionFailed)
    assert driver.waits == []


def test_a_close_while_it_is_asked_whether_the_server_is_tickertape_ends_the_answer() -> None:
    driver = AnswerDriver(plays(Loss.BROKEN), BASE)
    until(driver, Call)
    driver.machine.close()
    driver.machine.receive_reply((404, b'{"error":{"code":"unknown_stream"}}'))
    driver.run()
    assert len(driver.requests) == 1
    assert isinstance(driver.error, IncompleteStream)


def test_cancel_has_a_request_only_for_a_server_that_named_the_stream() -> None:
    driver = AnswerDriver(lambda _: Response(headers={"Location": "/v1/streams/s"}, pieces=[TEXT]), api_key="k")
    assert driver.machine.cancel() is None
    until(driver, Connect)
    driver.perform()
    request = driver.machine.cancel()
    assert request is not None
    assert (request.method, request.url) == ("POST", "http://host/v1/streams/s/cancel")
    assert request.headers["authorization"] == "Bearer k"
    driver.machine.receive_cancel_reply(200, b"")
    with pytest.raises(ConnectionFailed, match="403: not yours"):
        driver.machine.receive_cancel_reply(403, b'{"error":{"message":"not yours"}}')


def test_an_answer_that_was_cancelled_and_closed_ends_cancelled() -> None:
    driver = AnswerDriver(sends(TEXT), BASE)
    until(driver, Connect)
    driver.perform()
    driver.machine.cancel()
    driver.machine.close()
    driver.run()
    assert (driver.error, driver.transcript.state) == (None, State.CANCELLED)


def test_a_finished_machine_stays_finished_with_its_error() -> None:
    driver = AnswerDriver(sends(TEXT), BASE).run()
    assert driver.machine.next_action() == Finished(driver.error)
    assert driver.machine.next_delta() is None


def test_a_stream_that_is_over_max_event_size_fails_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickertape.client.event_machine.MAX_EVENT_SIZE", 100)
    driver = AnswerDriver(sends(TEXT, b"data: " + b"x" * (17 << 20))).run()
    assert isinstance(driver.error, EventTooLarge)
    assert driver.transcript.state is State.FAILED


LENGTH = len(b"".join(frames("0" * 31 + "1", 0)))


@given(
    cuts=st.lists(st.integers(-1, LENGTH), max_size=8),
    loss=st.sampled_from([Loss.ENDED, Loss.BROKEN, Loss.SILENT]),
    route=st.sampled_from(["/api/openai/stream", "/v1"]),
)
def test_however_often_it_is_cut_an_answer_is_whole_and_generated_once(cuts: list[int], loss: Loss, route: str) -> None:
    stream = CutTickertape(loss, *cuts)
    assert_whole(AnswerDriver(stream, BASE + route).run(), stream, f"cut after bytes {cuts}")


def test_waits_grow_with_connections_that_bring_nothing_and_end_with_max_retries() -> None:
    driver = SourceDriver(lambda _: Loss.BROKEN, policy=Policy(max_retries=3, reconnection_time=1.0)).run()
    assert [wait.attempt for wait in driver.waits] == [1, 2, 3]
    assert [wait.seconds for wait in driver.waits] == sorted(wait.seconds for wait in driver.waits)
    assert all(isinstance(action, Wait | Connect | Finished) for action in driver.actions)
    assert "connection 4 in a row" in str(driver.error)
