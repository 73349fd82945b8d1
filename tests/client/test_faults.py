"""Every fault of the fault server, and what both clients make of it."""

from __future__ import annotations

import pytest

from faults import server as faults
from tickertape.errors import ConnectionFailed
from tickertape.sse.actions import Policy, ReadyState
from tickertape.sse.encoder import encode
from tickertape.sse.event import Event

LOG = [
    encode(Event("first", id="1")),
    b": a comment between events\n" + encode(Event("Gr\u00fc\u00dfe \U0001f469\u200d\U0001f680", id="2")),
    encode(Event("two\nlines", type="note", id="3")),
    b"id: 4\r\ndata: with CRLF\r\n\r\n",
    encode(Event("", id="5")),
    encode(Event("last", id="6")),
]
TOLD = ["first", "Gr\u00fc\u00dfe \U0001f469\u200d\U0001f680", "two\nlines", "with CRLF", "", "last"]


def whole_log(client, server, *plays, **options):
    """Read the log after these plays have had their turn."""
    script = server.serve(*plays, faults.resumable(LOG))
    outcome = client.read(script.url, **options)
    return outcome, script


def test_a_whole_stream_ends_with_204_and_without_an_error(client, server) -> None:
    outcome, script = whole_log(client, server)
    assert outcome.data == TOLD
    assert outcome.error is None
    assert outcome.state is ReadyState.CLOSED
    assert [request.last_event_id for request in script.requests] == [None, b"6"]
    assert outcome.last_event_id == "6"


def test_a_stream_that_ends_after_one_event_each_time_is_read_whole(client, server) -> None:
    plays = [faults.events(frame) for frame in LOG]
    outcome, script = whole_log(client, server, *plays)
    assert outcome.data == TOLD
    assert [request.last_event_id for request in script.requests] == [None, b"1", b"2", b"3", b"4", b"5", b"6"]
    assert {wait.attempt for wait in outcome.waits} == {1}


@pytest.mark.parametrize("chunked", [True, False])
def test_a_trickle_of_single_bytes_is_read_whole(client, server, chunked: bool) -> None:
    outcome, _ = whole_log(client, server, faults.one_by_one(b"".join(LOG), chunked=chunked))
    assert outcome.data == TOLD


def test_a_stall_is_ended_by_the_read_timeout_and_the_rest_is_fetched(client, server) -> None:
    outcome, script = whole_log(client, server, faults.silence(b"".join(LOG[:2])), read_timeout=0.2)
    assert outcome.data == TOLD
    assert script.requests[1].last_event_id == b"2"
    assert "fell silent" in outcome.waits[0].reason


def test_a_server_that_never_answers_is_a_stall_too(client, server) -> None:
    outcome, _ = whole_log(client, server, faults.never_answering, read_timeout=0.2)
    assert outcome.data == TOLD


def test_comments_feed_the_watchdog(client, server) -> None:
    def play(connection) -> None:
        connection.head(chunked=True)
        for beat in range(10):  # each well within the timeout, together far beyond it
            connection.send(b": ping\n")
            client.beats = beat
            connection.script.closed_by_client.wait(0.1)
        connection.send(b"".join(LOG))
        connection.end()

    outcome, _ = whole_log(client, server, play, read_timeout=0.5)
    assert outcome.data == TOLD
    assert outcome.comments[:10] == [" ping"] * 10
    assert outcome.waits[0].reason.endswith("ended")


def test_a_reset_is_a_cut(client, server) -> None:
    play = faults.reset_after(LOG[0])
    script = server.serve(play, faults.resumable(LOG))
    outcome = client.read(script.url, on_comment=lambda _: None, on_open=lambda _: play.release.set())
    # A RST may overtake what it follows: the first event then comes over the second connection.
    assert outcome.data == TOLD
    assert outcome.error is None
    assert outcome.waits[0].reason.startswith(f"The connection to {script.url} broke")


@pytest.mark.parametrize("kind", ["inside a chunk", "before the last chunk", "before Content-Length"])
def test_a_truncated_body_is_a_cut(client, server, kind: str) -> None:
    outcome, script = whole_log(client, server, faults.truncated(LOG[0] + LOG[1][:-3], kind))
    assert outcome.data == TOLD
    assert script.requests[1].last_event_id == b"1"
    assert "broke" in outcome.waits[0].reason


@pytest.mark.parametrize("play", [faults.no_head, faults.half_a_head])
def test_an_end_before_the_whole_head_is_a_cut(client, server, play) -> None:
    outcome, script = whole_log(client, server, play)
    assert outcome.data == TOLD
    assert len(script.requests) == 3
    assert "broke" in outcome.waits[0].reason


def test_gzip_is_read_as_it_comes(client, server) -> None:
    outcome, _ = whole_log(client, server, faults.gzipped(*LOG))
    assert outcome.data == TOLD


def test_compression_is_not_asked_for(client, server) -> None:
    _, script = whole_log(client, server)
    assert script.requests[0].headers["accept-encoding"] == b"identity"


def test_a_gzip_stream_that_lacks_its_end_is_a_cut(client, server) -> None:
    outcome, _ = whole_log(client, server, faults.gzip_cut(b"".join(LOG)))
    assert outcome.data == TOLD


def test_a_204_ends_the_stream_quietly(client, server) -> None:
    script = server.serve(faults.status(204))
    outcome = client.read(script.url)
    assert (outcome.events, outcome.error, outcome.state) == ([], None, ReadyState.CLOSED)
    assert len(script.requests) == 1


def test_503_then_200_recovers_when_asked_to(client, server) -> None:
    unavailable = faults.status(503, b'{"error":{"message":"deploying"}}', Retry_After="0")
    outcome, script = whole_log(client, server, faults.events(LOG[0]), unavailable, unavailable, recover=True)
    assert outcome.data == TOLD
    assert [request.last_event_id for request in script.requests] == [None, b"1", b"1", b"1", b"6"]
    assert "answered 503" in outcome.waits[1].reason


def test_503_on_a_reconnect_is_final_when_not_asked_to_recover(client, server) -> None:
    unavailable = faults.status(503, b'{"error":{"message":"deploying"}}')
    outcome, script = whole_log(client, server, faults.events(LOG[0]), unavailable)
    assert outcome.data == ["first"]
    assert isinstance(outcome.error, ConnectionFailed)
    assert outcome.error.status == 503
    assert str(outcome.error) == f"{script.url} answered 503: deploying"


def test_the_retry_after_of_a_429_is_kept(client, server) -> None:
    script = server.serve(faults.events(LOG[0]), faults.status(429, Retry_After="7"))
    outcome = client.read(script.url, recover=True, waits=2)
    assert outcome.waits[1].seconds == 7


def test_a_first_503_is_final_even_with_recover(client, server) -> None:
    script = server.serve(faults.status(503), faults.resumable(LOG))
    outcome = client.read(script.url, recover=True)
    assert isinstance(outcome.error, ConnectionFailed)
    assert len(script.requests) == 1


def test_a_wrong_content_type_is_final_and_named(client, server) -> None:
    script = server.serve(faults.status(200, b"<html>", content_type="text/html"))
    outcome = client.read(script.url)
    assert str(outcome.error) == f"{script.url} answered with the content type 'text/html', not text/event-stream."
    assert len(script.requests) == 1


def test_a_missing_content_type_is_final(client, server) -> None:
    script = server.serve(faults.status(200, b"data: x\n\n", content_type=None))
    assert "no content type" in str(client.read(script.url).error)


def test_a_redirect_loop_ends_in_an_error(client, server) -> None:
    script = server.serve(faults.redirect(302, "{url}"))
    outcome = client.read(script.url)
    assert isinstance(outcome.error, ConnectionFailed)
    assert "redirect" in str(outcome.error)
    assert len(script.requests) == 21


def test_a_redirect_without_a_location_is_an_error(client, server) -> None:
    script = server.serve(faults.redirect(302, None))
    outcome = client.read(script.url)
    assert "without a Location" in str(outcome.error)
    assert len(script.requests) == 1


def test_a_redirect_to_something_else_than_http_is_an_error(client, server) -> None:
    script = server.serve(faults.redirect(302, "file:///etc/passwd"))
    assert "no http or https URL" in str(client.read(script.url).error)


def test_a_server_that_cannot_be_reached_is_an_error_once_max_retries_are_spent(client, server) -> None:
    outcome = client.read("http://127.0.0.1:1/", max_retries=2)
    assert isinstance(outcome.error, ConnectionFailed)
    assert [wait.attempt for wait in outcome.waits] == [1, 2]


def test_a_server_that_cannot_be_reached_at_first_is_an_error_at_once_when_not_awaited(client, server) -> None:
    outcome = client.read("http://127.0.0.1:1/", policy=Policy(await_server=False), reconnection_time=None)
    assert isinstance(outcome.error, ConnectionFailed)
    assert outcome.waits == []


def test_giving_up_says_how_often_it_was_tried(client, server) -> None:
    script = server.serve(faults.no_head)
    outcome = client.read(script.url, max_retries=3)
    assert len(script.requests) == 4
    assert "connection 4 in a row without an event" in str(outcome.error)


def test_events_reset_the_count_of_retries(client, server) -> None:
    bad = faults.no_head
    plays = [bad, bad, faults.events(LOG[0]), bad, bad, faults.events(LOG[1]), bad, bad]
    outcome, _ = whole_log(client, server, *plays, max_retries=3)
    assert outcome.data == TOLD


def test_with_max_retries_0_one_connection_is_read_to_its_end_quietly(client, server) -> None:
    outcome, script = whole_log(client, server, max_retries=0)
    assert outcome.data == TOLD
    assert outcome.error is None
    assert len(script.requests) == 1
