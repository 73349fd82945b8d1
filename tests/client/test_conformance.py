"""The standard's cases: 31 + 90 cases of format and 27 scenarios of behaviour; in small pieces without sockets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickertape.sse.actions import Policy, ReadyState

from .driver import Response, SourceDriver

if TYPE_CHECKING:
    from faults.server import FaultServer

FOLDER = Path(__file__).parents[3] / "shared" / "conformance"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no conformance cases at {FOLDER}")


def load(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    return json.loads(path.read_text()) if path.is_file() else []


def said(event: Any) -> dict[str, str]:
    return {"event": event.type, "data": event.data, "id": event.id}


def one_body(pieces: list[bytes], content_type: str):
    def play(connection):
        connection.head(content_type=content_type, chunked=True)
        for piece in pieces:
            connection.send(piece)
        connection.end()

    return play


@pytest.mark.parametrize("case", load("wpt_format.json"), ids=lambda case: case["name"])
def test_a_format_case_of_the_web_platform_tests_is_read_as_expected(client, server: FaultServer, case) -> None:
    script = server.serve(one_body([base64.b64decode(case["input_b64"])], case["content_type"]))
    outcome = client.read(script.url, waits=1)
    assert [said(event) for event in outcome.events] == case["expected"]
    if case["http_expect"] == "open":
        assert outcome.reconnecting
        assert outcome.waits[0].seconds == (0.001 if case["retry"] is None else case["retry"] / 1000)
    else:
        assert outcome.error is not None
        assert "not text/event-stream" in str(outcome.error)


@pytest.mark.parametrize("case", load("chunk_cases.json"), ids=lambda case: case["name"])
def test_a_chunk_case_is_read_as_expected(client, server: FaultServer, case) -> None:
    pieces = [base64.b64decode(chunk) for chunk in case["chunks_b64"]]
    script = server.serve(one_body(pieces, "text/event-stream"))
    outcome = client.read(script.url, waits=1, max_event_size=2**31)
    assert [said(event) for event in outcome.events] == case["expected"]
    assert outcome.comments == case["comments"]
    assert outcome.waits[0].seconds == (0.001 if case["retry"] is None else min(case["retry"] / 1000, 3600))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_every_format_case_is_read_the_same_in_small_pieces(size: int) -> None:
    for case in load("wpt_format.json") + load("chunk_cases.json"):
        body = (
            base64.b64decode(case["input_b64"])
            if "input_b64" in case
            else b"".join(base64.b64decode(chunk) for chunk in case["chunks_b64"])
        )
        if case.get("http_expect") == "fail":
            continue  # its content type is refused before a byte of the body is read
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        driver = SourceDriver(lambda _, pieces=pieces: Response(pieces=pieces), policy=Policy(max_retries=0)).run()
        assert [said(event) for event in driver.events] == case["expected"], case["name"]
        assert driver.error is None


def answers(response: dict[str, Any], target: str | None):
    """Play one response of a scenario. ``@target`` in it is the URL of the responses after it."""
    body = base64.b64decode(response["body_b64"])

    def play(connection):
        match response["end"]:
            case "abort-before-head":
                return
            case "content-length-short":
                connection.head(
                    response["status"], content_type=response["content_type"], Content_Length=str(len(body) + 50)
                )
                connection.reusable = False
            case _:
                more = {"Location": target} if response.get("location") == "@target" else {}
                connection.head(response["status"], content_type=response["content_type"], **more)
        if response["status"] != 204:
            connection.sock.sendall(body)

    return play


@pytest.mark.parametrize("case", load("behaviour_scenarios.json"), ids=lambda case: case["name"])
def test_a_scenario_of_behaviour_ends_as_in_a_browser(client, server: FaultServer, case) -> None:
    responses = case["responses"]
    redirects = case.get("redirect", False)
    target = server.serve(*(answers(r, None) for r in responses[1:]), path="/target") if redirects else None
    script = server.serve(*(answers(r, target and target.url) for r in (responses[:1] if redirects else responses)))
    wanted = len(case["requests"])
    timing = {} if "delay_ms" not in case else {"reconnection_time": None}
    # A scenario that goes on reconnecting is watched until its last request was answered.
    outcome = client.read(script.url, waits=wanted - redirects, **timing)

    requests = sorted(script.requests + (target.requests if target else []), key=lambda request: request.at)
    ids = [r["last_event_id_b64"] and base64.b64decode(r["last_event_id_b64"]) for r in case["requests"]]
    assert [request.last_event_id for request in requests] == ids
    expected = case["expected_events"]
    assert [said(event) for event in outcome.events][: len(expected)] == expected
    if wanted == len(responses):  # else the server played its last response again
        assert len(outcome.events) == len(expected)
    assert outcome.reconnecting == (case["final"] == "reconnecting")
    assert outcome.state is ReadyState.CLOSED
    if "delay_ms" in case:
        least, most = case["delay_ms"]
        assert least <= outcome.waits[0].seconds * 1000 <= most
        assert least <= (requests[1].at - requests[0].at) * 1000 <= most
