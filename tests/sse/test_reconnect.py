"""The reconnection machine alone: no socket, no clock, every number chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.errors import EventTooLarge
from tickertape.sse.actions import Connect, Loss, Policy, Read, ReadyState, Stop, Verdict, Wait
from tickertape.sse.reconnect import (
    REDIRECTS,
    RETRYABLE,
    Reconnector,
    backoff,
    is_event_stream,
    origin,
    retry_after,
    verdict,
)

URL = "http://host/stream"
STREAM = {"content-type": "text/event-stream"}


def machine(method: str = "GET", url: str = URL, *, random: float = 0.5, **options) -> Reconnector:
    last_event_id = options.pop("last_event_id", "")
    return Reconnector(url, method=method, policy=Policy(**options), last_event_id=last_event_id, random=lambda: random)


def opened(method: str = "GET", *, body: bytes = b"", headers: dict[str, str] | None = None, **options) -> Reconnector:
    """Return a machine whose first connection is open and has brought this body."""
    it = machine(method, **options)
    it.connect()
    assert it.answered(200, STREAM | (headers or {}), 0) == Read(it.policy.read_timeout)
    it.feed(body)
    return it


# The first table: what an answer means.


@pytest.mark.parametrize("recover", [True, False])
@pytest.mark.parametrize("reconnecting", [True, False])
def test_every_status_has_one_meaning(reconnecting: bool, recover: bool) -> None:
    meanings = {200: Verdict.READ, 204: Verdict.END} | dict.fromkeys((301, 302, 303, 307, 308), Verdict.FOLLOW)
    if reconnecting and recover:
        meanings |= dict.fromkeys((408, 425, 429, 500, 502, 503, 504), Verdict.RETRY)
    for status in range(200, 600):
        wanted = meanings.get(status, Verdict.REFUSE)
        assert verdict(status, "text/event-stream", reconnecting=reconnecting, recover=recover) is wanted, status


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream;", True),
        (" text/event-stream ; charset=utf-8", True),
        ("text/event-stream;charset=windows-1252", True),
        ("text/event-stream-x", False),
        ("text/x-bogus", False),
        ("x bogus", False),
        ("", False),
        ("text/event-stream, text/html", False),
        ("text/event-stream\u00a0", False),
    ],
)
def test_the_content_type_is_compared_by_its_essence(content_type: str, accepted: bool) -> None:
    assert is_event_stream(content_type) is accepted


def test_204_stops_without_an_error() -> None:
    it = machine()
    it.connect()
    assert it.answered(204, {}, 0) == Stop()
    assert it.state is ReadyState.CLOSED


def test_a_refusal_carries_its_status() -> None:
    it = machine()
    it.connect()
    assert it.answered(404, {}, 0) == Stop("http://host/stream answered 404", 404)


# The second table: what the loss of a connection means.


@pytest.mark.parametrize("loss", [Loss.ENDED, Loss.BROKEN, Loss.SILENT, Loss.UNREACHABLE])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_is_sent_again(method: str, loss: Loss) -> None:
    it = opened(method)
    action = it.lost(loss, "", 1)
    assert isinstance(action, Wait)
    assert it.state is ReadyState.WAITING
    assert it.connect() == Connect(method, URL, b"", with_body=True, same_origin=True)


def test_a_post_that_ends_stops_quietly() -> None:
    assert opened("POST").lost(Loss.ENDED, "", 1) == Stop()


@pytest.mark.parametrize("loss", [Loss.BROKEN, Loss.SILENT])
def test_a_post_that_breaks_is_not_sent_again_and_says_so(loss: Loss) -> None:
    action = opened("POST").lost(loss, "reset", 1)
    assert isinstance(action, Stop)
    assert action.error is not None
    assert "sent only once" in action.error


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_that_was_never_sent_may_be_sent(method: str) -> None:
    it = machine(method)
    it.connect()
    assert isinstance(it.lost(Loss.UNREACHABLE, "refused", 1), Wait)


def test_a_post_that_broke_before_its_answer_is_not_sent_again() -> None:
    it = machine("POST")
    it.connect()
    assert isinstance(it.lost(Loss.BROKEN, "", 1), Stop)


def test_a_post_is_sent_again_with_repost() -> None:
    it = opened("POST", repost=True)
    assert isinstance(it.lost(Loss.ENDED, "", 1), Wait)
    assert it.connect() == Connect("POST", URL, b"", with_body=True, same_origin=True)


def test_a_post_that_was_given_a_location_is_read_on_from_there_with_get() -> None:
    it = opened("POST", headers={"location": "/v1/streams/7"}, body=b"id: a\ndata: x\n\n")
    assert it.location == "http://host/v1/streams/7"
    assert isinstance(it.lost(Loss.BROKEN, "", 1), Wait)
    assert it.connect() == Connect("GET", "http://host/v1/streams/7", b"a", with_body=False, same_origin=True)


def test_the_location_of_a_get_is_not_followed() -> None:
    it = opened("GET", headers={"location": "/elsewhere"})
    it.lost(Loss.ENDED, "", 1)
    assert it.connect().url == URL


def test_a_bad_certificate_is_final() -> None:
    it = machine()
    it.connect()
    assert isinstance(it.lost(Loss.FUTILE, "certificate has expired", 0), Stop)


def test_a_server_that_cut_the_first_connection_is_awaited_when_it_cannot_be_reached_next() -> None:
    """It was there a moment ago: a server that restarts, not a wrong address."""
    it = machine(await_server=False)
    assert isinstance(it.lost(Loss.BROKEN, "", 0), Wait)
    it.connect()
    assert isinstance(it.lost(Loss.UNREACHABLE, "refused", 0), Wait)


def test_a_server_that_is_not_awaited_is_an_error_at_first_and_a_wait_later() -> None:
    it = machine(await_server=False)
    it.connect()
    assert isinstance(it.lost(Loss.UNREACHABLE, "refused", 0), Stop)
    assert isinstance(opened(await_server=False).lost(Loss.UNREACHABLE, "refused", 0), Wait)


# The last event ID.


def test_the_id_is_committed_at_dispatch_and_sent_as_raw_utf8() -> None:
    it = opened(body="id: \u2026\ndata: x\n\nid: later\ndata: unfinished".encode())
    it.lost(Loss.BROKEN, "", 1)
    assert it.connect().last_event_id == b"\xe2\x80\xa6"


def test_an_id_without_an_event_counts() -> None:
    it = opened(body=b"id: only\n\n")
    it.lost(Loss.ENDED, "", 1)
    assert it.connect().last_event_id == b"only"


def test_the_id_seeds_the_next_body() -> None:
    it = opened(body=b"id: 1\ndata: x\n\n")
    it.lost(Loss.ENDED, "", 1)
    it.connect()
    it.answered(200, STREAM, 1)
    assert [event.id for event in it.feed(b"data: y\n\n")] == ["1"]


def test_an_id_given_from_outside_is_sent_first() -> None:
    assert machine(last_event_id="from yesterday").connect().last_event_id == b"from yesterday"


def test_an_empty_id_takes_the_header_away() -> None:
    it = opened(body=b"id: 1\ndata: x\n\nid\ndata: y\n\n")
    it.lost(Loss.ENDED, "", 1)
    assert it.connect().last_event_id == b""


# The delay.


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
def test_the_first_delay_is_the_reconnection_time(random: float) -> None:
    action = opened(body=b"data: x\n\n", random=random).lost(Loss.ENDED, "", 1)
    assert isinstance(action, Wait)
    assert action.seconds == 3.0


def test_retry_sets_the_reconnection_time_at_once_even_in_an_unfinished_block() -> None:
    it = opened(body=b"data: x\n\nretry: 250\n")
    assert it.lost(Loss.ENDED, "", 1).seconds == 0.25


def test_the_delay_grows_with_every_connection_that_brings_nothing() -> None:
    it = opened(random=1.0, body=b"data: x\n\n", reconnection_time=1.0, max_delay=10.0)
    it.lost(Loss.ENDED, "", 1)
    delays = []
    for _ in range(6):
        it.connect()
        action = it.lost(Loss.BROKEN, "", 1)
        assert isinstance(action, Wait)
        delays.append((action.attempt, action.seconds))
    assert delays == [(2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (6, 10.0), (7, 10.0)]


def test_an_event_makes_the_delay_short_again() -> None:
    it = opened(random=1.0)
    for _ in range(4):
        it.lost(Loss.ENDED, "", 1)
        it.connect()
        it.answered(200, STREAM, 1)
    it.feed(b"data: x\n\n")
    action = it.lost(Loss.ENDED, "", 1)
    assert (action.seconds, action.attempt) == (3.0, 1)


def test_a_comment_alone_does_not_make_the_delay_short_again_but_ten_seconds_of_them_do() -> None:
    it = opened(random=1.0)
    for now, attempt in [(1, 1), (2, 2), (3, 3)]:
        it.feed(b": ping\n")
        assert it.lost(Loss.BROKEN, "", now).attempt == attempt
        it.connect()
        it.answered(200, STREAM, now)
    assert it.lost(Loss.BROKEN, "", 13).attempt == 1


@given(base=st.floats(0, 3600), retries=st.integers(0, 10**9), random=st.floats(0, 1))
def test_the_backoff_lies_between_the_base_and_the_ceiling(base: float, retries: int, random: float) -> None:
    ceiling = max(60.0, base)
    assert base <= backoff(base, retries, ceiling, random) <= ceiling


def test_a_stream_that_asks_for_no_delay_does_not_make_failures_spin() -> None:
    assert backoff(0.0, 5, 60.0, 1.0) == 16.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:47 GMT"}, 10),
        ({"retry-after": "Sun Nov  6 08:49:47 1994"}, 10),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT", "date": "Sun, 06 Nov 1994 08:49:40 GMT"}, 7),
        ({"retry-after": "Sun, 06 Nov 1994 08:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "\u0663"}, 0),
        ({"retry-after": "1.5"}, 0),
        ({"retry-after": ""}, 0),
        ({}, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, now=784111777) == seconds


def test_retry_after_is_the_least_delay() -> None:
    it = opened(body=b"data: x\n\n", recover=True)
    it.lost(Loss.ENDED, "", 1)
    it.connect()
    assert it.answered(503, {"retry-after": "30"}, 1).seconds == 30


def test_a_delay_of_285_000_years_is_refused_with_an_error() -> None:
    action = opened(body=b"retry: 99999999999999999999\ndata: x\n\n").lost(Loss.ENDED, "", 1)
    assert isinstance(action, Stop)
    assert action.error is not None
    assert "max_wait is 3600 s" in action.error


# Giving up.


def test_max_retries_counts_connections_without_an_event() -> None:
    it = opened(body=b"data: x\n\n", max_retries=2)
    assert isinstance(it.lost(Loss.ENDED, "", 1), Wait)
    it.connect()
    assert isinstance(it.lost(Loss.BROKEN, "", 1), Wait)
    it.connect()
    action = it.lost(Loss.BROKEN, "", 1)
    assert isinstance(action, Stop)
    assert action.error is not None
    assert action.error.endswith("That was connection 3 in a row without an event; enough")


def test_with_max_retries_0_a_clean_end_is_the_end() -> None:
    assert opened(max_retries=0).lost(Loss.ENDED, "", 1) == Stop()


def test_with_max_retries_0_a_cut_is_an_error() -> None:
    action = opened(max_retries=0).lost(Loss.BROKEN, "", 1)
    assert isinstance(action, Stop)
    assert action.error is not None


# Redirects.


@pytest.mark.parametrize("status", sorted(REDIRECTS))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_keeps_the_method_and_only_303_turns_a_post_into_a_get(method: str, status: int) -> None:
    it = machine(method)
    it.connect()
    action = it.answered(status, {"location": "/other"}, 0)
    kept = method == "GET" or status != 303
    assert action == Connect(method if kept else "GET", "http://host/other", b"", with_body=kept, same_origin=True)


@pytest.mark.parametrize(("status", "again"), [(301, "/new"), (308, "/new"), (302, "/stream"), (307, "/stream")])
def test_a_reconnect_goes_to_the_new_place_only_if_the_move_was_permanent(status: int, again: str) -> None:
    it = machine()
    it.connect()
    it.answered(status, {"location": "/new"}, 0)
    it.answered(200, STREAM, 0)
    it.lost(Loss.ENDED, "", 1)
    assert it.connect().url == f"http://host{again}"


def test_one_temporary_redirect_among_permanent_ones_keeps_the_first_url() -> None:
    it = machine()
    it.connect()
    for status, place in [(301, "/a"), (302, "/b"), (301, "/c")]:
        it.answered(status, {"location": place}, 0)
    it.answered(200, STREAM, 0)
    it.lost(Loss.ENDED, "", 1)
    assert it.connect().url == URL


def test_a_post_that_was_shown_elsewhere_by_303_is_read_on_there() -> None:
    it = machine("POST")
    it.connect()
    it.answered(303, {"location": "/made"}, 0)
    it.answered(200, STREAM, 0)
    assert it.location == "http://host/made"
    assert isinstance(it.lost(Loss.BROKEN, "", 1), Wait)
    assert it.connect() == Connect("GET", "http://host/made", b"", with_body=False, same_origin=True)


def test_a_redirect_to_another_origin_takes_no_credentials_along() -> None:
    it = machine()
    it.connect()
    assert it.answered(307, {"location": "//elsewhere/x"}, 0).same_origin is False
    assert it.answered(307, {"location": "http://host:80/y"}, 0).same_origin is True


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a", "http://a:80/x", True),
        ("https://a", "https://A:443", True),
        ("http://a", "https://a", False),
        ("http://a", "http://a:8080", False),
        ("http://a", "http://b.a", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize("headers", [{}, {"location": ""}])
def test_a_redirect_without_location_is_an_error(headers: dict[str, str]) -> None:
    it = machine()
    it.connect()
    action = it.answered(302, headers, 0)
    assert isinstance(action, Stop)
    assert action.status == 302


def test_redirects_are_limited_in_a_row_and_not_in_all() -> None:
    it = machine(max_redirects=2)
    for _ in range(5):
        it.connect()
        assert isinstance(it.answered(302, {"location": "/x"}, 0), Connect)
        assert isinstance(it.answered(302, {"location": "/y"}, 0), Connect)
        assert isinstance(it.answered(200, STREAM, 0), Read)
        it.lost(Loss.ENDED, "", 1)
    it.connect()
    it.answered(302, {"location": "/x"}, 0)
    it.answered(302, {"location": "/y"}, 0)
    assert isinstance(it.answered(302, {"location": "/z"}, 0), Stop)


# The rest.


@pytest.mark.parametrize("url", ["", "host/path", "ftp://host/", "http://", "file:///etc/passwd", "ws://host"])
def test_a_url_that_is_not_http_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        machine(url=url)


def test_a_giant_event_is_an_error_after_the_events_before_it() -> None:
    it = Reconnector(URL, random=lambda: 0.0, max_event_size=100)
    it.connect()
    it.answered(200, STREAM, 0)
    assert [event.data for event in it.feed(b"data: x\n\n")] == ["x"]
    with pytest.raises(EventTooLarge):
        it.feed(b"data: " + b"x" * 200)


def test_the_state_is_one_of_four_at_every_moment() -> None:
    it = machine()
    seen = [it.state]
    it.connect()
    it.answered(200, STREAM, 0)
    seen.append(it.state)
    it.lost(Loss.ENDED, "", 1)
    seen.append(it.state)
    it.connect()
    seen.append(it.state)
    it.close()
    seen.append(it.state)
    assert seen == [
        ReadyState.CONNECTING,
        ReadyState.OPEN,
        ReadyState.WAITING,
        ReadyState.CONNECTING,
        ReadyState.CLOSED,
    ]


def test_the_retryable_statuses_are_those_that_speak_of_the_moment() -> None:
    assert {408, 425, 429, 500, 502, 503, 504} == RETRYABLE
