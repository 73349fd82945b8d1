"""Where a request for an answer goes, what it holds, and when it may be sent twice."""

from __future__ import annotations

import re

import pytest

from tickertape.client.answer_request import KEY, cancellation, endpoint, prepare, stream_id, stream_url
from tickertape.client.request import RequestTemplate
from tickertape.sse.actions import Connect


def asked(url: str = "http://host", messages="hi", **options):
    defaults = {
        "model": None,
        "api_key": None,
        "attach": None,
        "headers": None,
        "idempotency_key": None,
        "read_timeout": None,
        "reconnection_time": 0.5,
        "max_retries": 8,
        "parameters": {},
    }
    return prepare(url, messages, **(defaults | options))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://host:8000", "http://host:8000/v1/chat/completions"),
        ("http://host:8000/", "http://host:8000/v1/chat/completions"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://g.com/v1beta/openai/", "https://g.com/v1beta/openai/chat/completions"),
        ("https://g.com/v1beta", "https://g.com/v1beta/chat/completions"),
        ("http://host/api/openai/stream", "http://host/api/openai/stream"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
        (
            "https://a.com/openai/deployments/d/chat/completions?v=1",
            "https://a.com/openai/deployments/d/chat/completions?v=1",
        ),
        ("https://a.com/v1?v=1", "https://a.com/v1/chat/completions?v=1"),
    ],
)
def test_a_base_gets_its_route_and_an_endpoint_is_left_alone(url: str, target: str) -> None:
    assert endpoint(url) == target


@pytest.mark.parametrize(
    ("url", "attach", "target"),
    [
        ("http://host", "abc", "http://host/v1/streams/abc"),
        ("http://host/v1", "abc", "http://host/v1/streams/abc"),
        ("http://host/tape/v1", "abc", "http://host/tape/v1/streams/abc"),
        ("http://host/tape/api/openai/stream?x=1", "abc", "http://host/tape/v1/streams/abc"),
        ("http://host/x", "/v1/streams/abc", "http://host/v1/streams/abc"),
        ("http://host/x", "http://other/v1/streams/abc", "http://other/v1/streams/abc"),
    ],
)
def test_a_stream_is_found_by_its_id_or_its_url(url: str, attach: str, target: str) -> None:
    assert stream_url(url, attach) == target
    assert stream_id(target) == "abc"


@pytest.mark.parametrize("url", ["", "host:8000", "http://[", "ftp://host"])
def test_what_is_no_url_of_a_server_is_refused_as_it_was_given(url: str) -> None:
    with pytest.raises(ValueError, match=f"and a host; this was {re.escape(repr(url))}"):
        endpoint(url)


def test_an_id_beside_a_strange_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="base URL"):
        stream_url("http://host/some/endpoint", "abc")


def test_a_text_becomes_a_users_message() -> None:
    it = asked(model="m", parameters={"temperature": 0})
    assert it.json == {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "model": "m",
        "temperature": 0,
    }


def test_messages_go_out_as_they_are() -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]}]
    assert asked(messages=messages).json == {"messages": messages, "stream": True}


def test_every_question_has_a_key_of_its_own() -> None:
    one, other = asked(), asked()
    assert one.headers[KEY] != other.headers[KEY]
    assert asked(idempotency_key="mine").headers[KEY] == "mine"


@pytest.mark.parametrize(
    ("url", "options", "repost", "read_timeout"),
    [
        ("http://host", {}, False, 600),
        ("http://host/v1/chat/completions", {}, False, 600),
        ("http://host/api/openai/stream", {}, True, 60),
        ("http://host", {"idempotency_key": "k"}, True, 600),
        ("http://host", {"read_timeout": 5}, False, 5),
    ],
)
def test_a_question_is_sent_twice_only_where_that_is_known_to_be_safe(url, options, repost, read_timeout) -> None:
    policy = asked(url, **options).policy
    assert (policy.repost, policy.read_timeout) == (repost, read_timeout)


@pytest.mark.parametrize(("messages", "attach"), [(None, None), ("hi", "abc")])
def test_one_either_asks_or_attaches(messages, attach) -> None:
    with pytest.raises(ValueError, match="either messages"):
        asked(messages=messages, attach=attach)


def test_cancelling_goes_to_the_stream_with_the_credentials_of_its_server() -> None:
    it = asked(api_key="secret", headers={"X-Mine": "1"})
    request = cancellation(it, "http://host/v1/streams/abc?last_event_id=1")
    assert (request.method, request.url) == ("POST", "http://host/v1/streams/abc/cancel")
    assert request.headers["authorization"] == "Bearer secret"
    assert request.headers["x-mine"] == "1"
    assert KEY.lower() not in request.headers


def test_cancelling_elsewhere_takes_no_credentials_along() -> None:
    request = cancellation(asked(api_key="secret"), "http://other/v1/streams/abc")
    assert "authorization" not in request.headers


def test_a_request_without_its_body_says_nothing_of_a_content_type() -> None:
    again = Connect("GET", "http://host/", b"", with_body=False, same_origin=True)
    request = RequestTemplate(json={}).render(again, None)
    assert "content-type" not in request.headers
    assert request.body is None
