"""`tickertape doctor`: healthy streams pass, and every fault is named."""

from __future__ import annotations

import json
import zlib

import pytest

from faults import server as faults
from tickertape.cli.doctor import checks, doctor, observer
from tickertape.cli.doctor.observer import Arrival, Observation
from tickertape.errors import ConnectionFailed

GOOD_HEAD = {"Cache_Control": "no-cache, no-transform", "X_Accel_Buffering": "no"}
LOG = [b'id: %d\ndata: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n' % n for n in range(1, 5)]
LOG.append(b'id: 5\ndata: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
LOG.append(b"id: 6\ndata: [DONE]\n\n")


def healthy(log: list[bytes] = LOG, **headers: str):
    """Serve a log as it should be served."""

    def play(connection) -> None:
        cursor = connection.request.last_event_id or b"0"
        have = int(cursor) if cursor.isdigit() else 0
        if have >= len(log):
            connection.head(204, content_type=None)
            return
        connection.head(chunked=True, **(GOOD_HEAD | headers))
        for frame in log[have:]:
            connection.send(frame)
        connection.end()

    return play


@pytest.fixture
def examine(run, faulty):
    """Examine a play; return the exit code and the findings by what they are about."""

    def examined(play, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
        result = run(doctor, faulty.serve(play).url, "--json", "--seconds", "1", *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, {finding["about"]: finding for finding in json.loads(result.stdout)}

    return examined


def test_a_healthy_stream_has_no_problems(examine) -> None:
    code, found = examine(healthy())
    assert code == 0
    assert {about: finding["level"] for about, finding in found.items()} == {
        "status": "ok",
        "content type": "ok",
        "Cache-Control": "ok",
        "X-Accel-Buffering": "ok",
        "compression": "ok",
        "delivery": "note",
        "heartbeat": "note",
        "ids": "ok",
        "terminal marker": "ok",
        "resume": "ok",
        "after the end": "ok",
    }


def test_a_tickertape_server_is_healthy(run, echo_server) -> None:
    body = '{"messages":[{"role":"user","content":"hello there"}]}'
    result = run(doctor, f"{echo_server.url}/api/openai/stream", "-d", body)
    assert result.exit_code == 0
    assert "No problems found." in result.stdout


def test_the_findings_are_shown_with_what_to_do_and_where_it_is_written(run, faulty) -> None:
    result = run(doctor, faulty.serve(faults.events(b"data: x\n\n")).url, "--seconds", "1")
    assert "! X-Accel-Buffering" in result.stdout
    assert "nginx may hold events back" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("warnings.")


@pytest.mark.parametrize(
    ("play", "about", "level", "words"),
    [
        (faults.status(503, b'{"error":"deploying"}'), "status", "problem", "503: deploying"),
        (faults.status(204), "status", "problem", "204"),
        (faults.redirect(302, "{url}"), "status", "problem", "redirect"),
        (faults.status(200, b"{}"), "content type", "problem", "application/json"),
        (faults.status(200, b"x", content_type=None), "content type", "problem", "absent"),
        (healthy(), "redirects", None, ""),
        (faults.events(*LOG, content_type="text/event-stream; charset=latin1"), "content type", "problem", "latin1"),
        (faults.events(*LOG), "Cache-Control", "warning", "absent"),
        (healthy(Cache_Control="no-store"), "Cache-Control", "warning", "without no-transform"),
        (faults.events(*LOG), "X-Accel-Buffering", "warning", "absent"),
        (faults.gzipped(*LOG), "compression", "warning", "gzip"),
        (faults.silence(b""), "delivery", "problem", "no byte"),
        (healthy([b": ping\n", *LOG]), "heartbeat", "ok", "1 comments"),
        (healthy([b"id: 1\ndata: x\n\n: ping\n\n"]), "comment blocks", "problem", "1 comments"),
        (healthy([b"data: x\n\n: ping\n\n"]), "comment blocks", "warning", "1 comments"),
        (healthy([b"retry: 100\n\n", *LOG]), "empty blocks", "warning", "'retry: 100'"),
        (healthy([b"id: \xff\n\n", *LOG]), "empty blocks", "warning", "id: \ufffd"),
        (healthy([b"data:\n\n", *LOG]), "empty blocks", "warning", "empty data"),
        (healthy([b"event: error\ndata: x\n\n"]), "event names", "warning", "'error'"),
        (healthy([b"event: ping\ndata: {}\n\n", *LOG]), "event names", "warning", "['message', 'ping']"),
        (healthy([b"data: a\xe2\x80\xa8b\n\n"]), "line separators", "warning", "U+2028"),
        (healthy([b"data: \xff\n\n"]), "encoding", "problem", "byte 6"),
        (healthy([b'error: {"message":"x"}\n\n', *LOG]), "lines", "problem", "no field"),
        (healthy([b'{"response":"x"}\n{"response":"y"}\n']), "events", "problem", "no event"),
        (healthy([b"data: x\n\n"]), "ids", "warning", "none"),
        (healthy([b"idle: 1\ndata: x\n\n"]), "ids", "warning", "none"),
        (healthy([b"id: \xc3\xbc\ndata: x\n\n"]), "ids", "warning", "\u00fc"),
        (healthy([b"id: a\x00\ndata: x\n\n"]), "ids", "problem", "NUL"),
        (faults.events(b"id: 1\ndata: x\n\n" * 2), "ids", "warning", "repeated"),
        (healthy([b"data: x\n\n", *LOG]), "ids", "note", "6 for 7"),
        (healthy(LOG[:4]), "terminal marker", "problem", "neither"),
        (healthy(LOG[:5]), "terminal marker", "warning", "no [DONE]"),
        (
            healthy([*LOG[:2], b'id: 3\ndata: {"error":{"message":"boom"},"choices":[]}\n\n']),
            "terminal marker",
            "problem",
            "boom",
        ),
        (healthy([b"id: 1\ndata: x\n\n"]), "end", "note", "without a marker"),
        (faults.silence(LOG[0]), "terminal marker", "note", "still going on"),
        (faults.silence(b"data: x\n\n"), "end", "note", "still open"),
        (faults.truncated(b"".join(LOG), "inside a chunk"), "end", "problem", "broke"),
        (faults.events(*LOG), "resume", "problem", "began anew"),
        (faults.events(*LOG), "after the end", "warning", "200 and"),
    ],
)
def test_every_fault_is_named(examine, play, about: str, level: str | None, words: str) -> None:
    code, found = examine(play)
    if level is None:
        assert about not in found
        return
    assert found[about]["level"] == level
    assert words in found[about]["found"]
    assert found[about].get("fix") or level in ("ok", "note")
    assert code == any(finding["level"] == "problem" for finding in found.values())


def test_a_redirect_is_followed_and_noted(examine, faulty) -> None:
    target = faulty.serve(healthy())
    code, found = examine(faults.redirect(307, target.url))
    assert code == 0
    assert target.url in found["redirects"]["found"]


def test_a_content_length_is_a_warning(examine) -> None:
    body = b"".join(LOG)

    def play(connection) -> None:
        connection.head(Content_Length=str(len(body)), **GOOD_HEAD)
        connection.sock.sendall(body)

    assert examine(play)[1]["Content-Length"]["level"] == "warning"


def answering(cursor: bytes, play):
    """Be healthy but for one cursor."""

    def both(connection) -> None:
        (play if connection.request.last_event_id == cursor else healthy())(connection)

    return both


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (faults.status(404, b'{"detail":"gone"}'), "404: gone"),
        (faults.events(*LOG[4:]), "other events"),
        (faults.events(), "no event"),
    ],
)
def test_wrong_answers_to_a_cursor_are_named(examine, play, words: str) -> None:
    _, found = examine(answering(b"3", play))
    assert found["resume"]["level"] == "problem"
    assert words in found["resume"]["found"]


def test_a_reconnect_that_gets_no_answer_is_named(examine) -> None:
    code, found = examine(answering(b"3", faults.no_head))
    assert code == 1
    assert found["reconnect"]["level"] == "problem"


@pytest.mark.parametrize("play", [faults.status(404), faults.events()])
def test_another_answer_than_204_after_the_end_is_named(examine, play) -> None:
    assert examine(answering(b"6", play))[1]["after the end"]["level"] == "warning"


def test_a_post_without_a_location_is_sent_once(run, faulty) -> None:
    script = faulty.serve(faults.events(*LOG))
    result = run(doctor, script.url, "-d", "{}", "--seconds", "1")
    assert len(script.requests) == 1
    assert "there is no Location" in result.stdout


def test_a_post_with_a_location_is_resumed_there(run, faulty) -> None:
    def play(connection) -> None:
        more = {"Location": f"{connection.script.url}/s"} if connection.request.method == "POST" else {}
        healthy(**more)(connection)

    script = faulty.serve(play)
    result = run(doctor, script.url, "-d", "{}", "--seconds", "1")
    assert [request.method for request in script.requests] == ["POST", "GET", "GET"]
    assert result.exit_code == 0


def test_compression_is_offered_as_browsers_offer_it(run, faulty) -> None:
    script = faulty.serve(healthy())
    run(doctor, script.url, "--seconds", "1")
    assert script.requests[0].headers["accept-encoding"] == b"gzip, deflate"


def test_a_server_that_is_not_there_is_an_error(run) -> None:
    assert isinstance(run(doctor, "localhost:1").exception, ConnectionFailed)


def test_what_a_stream_says_cannot_command_the_terminal(run, faulty) -> None:
    play = faults.events(b"\x1b[2Jnonsense\n\n", X_Accel_Buffering="no", Cache_Control="\x1b[31m")
    assert "\x1b" not in run(doctor, faulty.serve(play).url, "--seconds", "1").stdout


# What would take too long to play: arrivals with their times made up.


def seen(*arrivals: tuple[float, bytes], **more) -> Observation:
    return Observation(
        url="http://h/", method="GET", status=200, arrivals=[Arrival(at, data) for at, data in arrivals], **more
    )


def about(findings, name: str):
    return next(finding for finding in findings if finding.about == name)


def test_events_that_all_come_at_the_end_were_held_back() -> None:
    found = about(checks.flow(seen((5.0, b"".join(LOG)), ended=True, ended_at=5.01)), "delivery")
    assert (found.level, "6 events arrived together after 5.0 s" in found.found) == ("problem", True)


def test_lumps_of_a_buffers_size_are_a_buffer() -> None:
    lump = (b"data: %s\n\n" % (b"x" * 90)) * 200
    arrivals = [(float(n), lump[n * 4096 : (n + 1) * 4096]) for n in range(4)]
    found = about(checks.flow(seen(*arrivals)), "delivery")
    assert (found.level, "lumps of 4,096 bytes" in found.found) == ("problem", True)


def test_events_one_by_one_are_healthy() -> None:
    found = about(checks.flow(seen(*((n * 0.5, frame) for n, frame in enumerate(LOG)))), "delivery")
    assert found.level == "ok"


def test_a_long_silence_is_a_problem_wherever_it_is() -> None:
    for arrivals, more in [
        ([(40.0, LOG[0])], {}),
        ([(0.1, LOG[0]), (45.0, LOG[1])], {}),
        ([(0.1, LOG[0])], {"ended": True, "ended_at": 35.0}),
    ]:
        assert about(checks.flow(seen(*arrivals, **more)), "heartbeat").level == "problem"


def test_a_flood_is_looked_at_only_so_far(run, faulty) -> None:
    result = run(doctor, faulty.serve(faults.endless(b"id: 1\ndata: " + b"x" * 60_000 + b"\n\n")).url, "--seconds", "3")
    assert result.exit_code in (0, 1)
    assert "delivery" in result.stdout


def test_an_event_that_never_ends_is_looked_at_only_so_far(run, faulty, monkeypatch) -> None:
    monkeypatch.setattr(observer, "LIMIT", 100_000)
    result = run(doctor, faulty.serve(faults.endless(b"data: x\n\ndata: " + b"x" * 200_000)).url, "--seconds", "3")
    assert "delivery" in result.stdout, result.exception
    assert "1 events in" in result.stdout


def test_a_body_that_is_not_what_its_encoding_says_is_a_broken_one(examine) -> None:
    def play(connection) -> None:
        connection.head(chunked=True, Content_Encoding="gzip")
        connection.send(zlib.compress(b"data: x\n\n"))
        connection.end()

    assert examine(play)[0] == 1
