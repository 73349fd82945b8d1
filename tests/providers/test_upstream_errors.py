"""What is said about an upstream's errors, whatever shape they come in."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tickertape.errors import ApiError
from tickertape.providers.model_list import entries_of, read_models
from tickertape.providers.upstream_errors import (
    ReportedError,
    UpstreamErrors,
    one_line,
    parse_error,
    read_retry_after,
    shown_status,
)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"error": {"message": "m", "type": "t", "code": 5, "param": "p"}}, ReportedError("m", "t", "5", "p")),
        ({"error": {"message": "m", "code": None}}, ReportedError("m")),
        ({"error": "m"}, ReportedError("m")),
        ({"object": "error", "message": "m", "type": "t", "code": 400}, ReportedError("m", "t", "400")),
        ({"detail": "m"}, ReportedError("m")),
        ({"detail": [{"msg": "m"}]}, ReportedError("m")),
        ([{"error": {"message": "m", "status": "X"}}], ReportedError("m", "X")),
        ({"error": {}}, ReportedError()),
        ("m", ReportedError("m")),
        (None, ReportedError()),
        ([], ReportedError("[]")),
    ],
)
def test_a_complaint_is_read_in_every_shape(value: object, complaint: ReportedError) -> None:
    assert parse_error(value) == complaint


def test_words_are_one_short_line_without_control_characters() -> None:
    assert one_line("a\n\tb\x1b[31m\x00c\u2028d") == "a b [31m c d"
    assert one_line("x" * 900) == "x" * 500 + "…"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (400, 400),
        (401, 401),
        (408, 504),
        (418, 418),
        (500, 502),
        (501, 502),
        (503, 503),
        (504, 504),
        (529, 503),
        (302, 502),
    ],
)
def test_a_status_is_shown_as_ours(theirs: int, ours: int) -> None:
    assert shown_status(theirs) == ours


def test_retry_after_is_seconds_or_a_date() -> None:
    assert read_retry_after({"Retry-After": " 7 "}) == 7
    assert read_retry_after({"Retry-After": "0.5"}) == 0.5
    assert read_retry_after({"Retry-After": "-3"}) == 0
    assert read_retry_after({"Retry-After": "9" * 400}) == 86_400
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert read_retry_after({"Retry-After": soon}) == pytest.approx(60, abs=5)
    for nothing in ({}, {"Retry-After": "soon"}, {"Retry-After": "nan"}, {"Retry-After": "Mon, 99 Foo"}):
        assert read_retry_after(nothing) is None


def test_the_key_is_never_shown_wherever_it_comes_up() -> None:
    upstream = UpstreamErrors("up.example", "sk-1")
    fields = dict.fromkeys(("message", "type", "code", "param"), "has sk-1 in it")
    errors = [
        upstream.refused(401, b"sk-1", {}, "m"),
        upstream.refused(302, b"", {"Location": "https://x/?key=sk-1"}, "m"),
        upstream.reported({"error": fields}),
        upstream.unreachable("at sk-1"),
        upstream.unusable("sent 'sk-1'"),
    ]
    for error in errors:
        shown = (error.message, error.type, error.code, error.param)
        assert not any("sk-1" in part for part in shown if part), shown


def test_a_body_that_is_nested_beyond_measure_is_no_more_than_a_useless_one() -> None:
    upstream, deep = UpstreamErrors("up.example"), b"[" * 50_000
    assert "up.example failed (HTTP 500)" in upstream.refused(500, deep, {}, "m").message
    for listing in (lambda: read_models(deep, upstream), lambda: entries_of(deep, "data", "id", upstream)):
        with pytest.raises(ApiError, match="no list of models"):
            listing()


def test_a_short_key_is_hidden_as_a_word_and_not_inside_of_others() -> None:
    """Local servers take any key; hiding the letter "k" everywhere would hide what went wrong."""
    assert "token expired" in UpstreamErrors("up", "k").reported("token expired").message
    assert "[the API key] is wrong" in UpstreamErrors("up", "k").reported("k is wrong").message
    assert "secret-12345" not in UpstreamErrors("up", "secret-12345").reported("bad xsecret-12345x").message
