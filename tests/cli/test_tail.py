"""`tickertape tail`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from faults import server as faults
from tickertape.cli.tail import tail
from tickertape.errors import ConnectionFailed

LOG = [
    b"id: 1\nretry: 1\ndata: first\n\n",
    b": ping\n",
    b'id: 2\nevent: note\ndata: {"a":[1,\ndata: 2]}\n\n',
]


def test_events_are_shown_one_a_line_with_type_and_id(run, faulty) -> None:
    script = faulty.serve(faults.events(*LOG), faults.status(204))
    result = run(tail, script.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "message  1  retry 1  first",
        ": ping",
        "note  2",
        '    {"a":[1,',
        "    2]}",
    ]


def test_what_happens_to_the_connection_goes_to_standard_error(run, faulty) -> None:
    script = faulty.serve(faults.events(LOG[0]), faults.events(*LOG[1:]), faults.status(204))
    result = run(tail, script.url)
    lines = result.stderr.splitlines()
    assert lines[0] == "open: text/event-stream; charset=utf-8"
    assert "connecting again in" in lines[1]
    assert lines[-1] == "the stream has ended"
    assert [request.last_event_id for request in script.requests] == [None, b"1", b"2"]


def test_json_is_spread_over_lines(run, faulty) -> None:
    script = faulty.serve(faults.events(LOG[2], b"data: [DONE]\n\n"), faults.status(204))
    result = run(tail, script.url, "--json", "--retries", "0")
    assert json.loads("".join(result.stdout.splitlines()[1:-1])) == {"a": [1, 2]}
    assert "message  2  [DONE]" in result.stdout


def test_timing_shows_the_gaps(run, faulty) -> None:
    script = faulty.serve(faults.events(*LOG), faults.status(204))
    lines = run(tail, script.url, "--timing").stdout.splitlines()
    assert all(float(line.split()[0]) >= 0 for line in lines[:3])
    assert lines[0].split()[1:3] == ["s", "message"]


def test_data_only_is_what_a_pipe_wants(run, faulty) -> None:
    script = faulty.serve(faults.events(*LOG, b"data: a\x1b[2Jb\n\n"), faults.status(204))
    result = run(tail, script.url, "--data-only", "--retries", "0")
    assert result.stdout == 'first\n{"a":[1,\n2]}\na\x1b[2Jb\n'


def test_control_characters_are_escaped(run, faulty) -> None:
    evil = b": \x1b]0;c\x07\nid: \x1b[1m\nevent: \x1b[31m\ndata: \x1b[2J\xc2\x9b\n\n"
    script = faulty.serve(faults.events(evil), faults.status(204))
    result = run(tail, script.url, "--retries", "0")
    assert "\x1b" not in result.stdout
    assert "\x9b" not in result.stdout
    assert "\\x1b[31m  \\x1b[1m  \\x1b[2J\\x9b" in result.stdout


def test_a_post_takes_its_body_headers_and_cursor_from_the_options(run, faulty) -> None:
    script = faulty.serve(faults.events(LOG[0]))
    result = run(tail, script.url, "-d", '{"x":1}', "-H", "Authorization: Bearer k", "--last-event-id", "0", "-n", "1")
    assert result.exit_code == 0
    request = script.requests[0]
    assert (request.method, request.body, request.last_event_id) == ("POST", b'{"x":1}', b"0")
    assert request.headers["content-type"] == b"application/json"
    assert request.headers["authorization"] == b"Bearer k"


def test_a_body_can_come_from_a_file_or_from_standard_input(run, faulty, tmp_path) -> None:
    (tmp_path / "body").write_text("text, not JSON")
    script = faulty.serve(faults.events(LOG[0]))
    run(tail, script.url, "-X", "PUT", "-d", f"@{tmp_path / 'body'}", "-n", "1")
    run(tail, script.url, "-d", "@-", "-n", "1", stdin="typed")
    assert [(request.method, request.body) for request in script.requests] == [
        ("PUT", b"text, not JSON"),
        ("POST", b"typed"),
    ]
    assert script.requests[0].headers["content-type"] == b"text/plain; charset=utf-8"


def test_bytes_on_the_command_line_that_are_no_text_are_sent_as_they_are(run, faulty) -> None:
    script = faulty.serve(faults.events(LOG[0]))
    assert run(tail, script.url, "-d", "a\udcff", "-n", "1").exit_code == 0
    assert script.requests[0].body == b"a\xff"


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000])
def test_a_body_of_any_bytes_is_sent_as_it_is(run, faulty, tmp_path, body: bytes) -> None:
    (tmp_path / "body").write_bytes(body)
    script = faulty.serve(faults.events(LOG[0]))
    assert run(tail, script.url, "-d", f"@{tmp_path / 'body'}", "-n", "1").exit_code == 0
    assert script.requests[0].body == body
    assert script.requests[0].headers["content-type"] == b"text/plain; charset=utf-8"


def test_data_that_is_nested_beyond_measure_is_shown_as_it_is(run, faulty) -> None:
    deep = b"[" * 5_000
    script = faulty.serve(faults.events(b"data: " + deep + b"\n\n"))
    result = run(tail, script.url, "--json", "-n", "1")
    assert (result.exit_code, deep.decode() in result.stdout) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ftp://host/"],
        ["http://"],
        ["host", "-H", "no colon"],
        ["host", "-d", "@/does/not/exist"],
        ["host", "-n", "0"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_one_sentence(run, arguments: list[str]) -> None:
    result = run(tail, *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize("play", [faults.status(404), faults.status(200, b"{}"), faults.redirect(302, "{url}")])
def test_a_stream_that_cannot_be_read_is_an_error(run, faulty, play) -> None:
    assert isinstance(run(tail, faulty.serve(play).url).exception, ConnectionFailed)


def test_a_server_that_is_not_there_is_an_error_at_once(run) -> None:
    result = run(tail, "localhost:1")
    assert isinstance(result.exception, ConnectionFailed)
    assert "Connection refused" in str(result.exception)


def test_a_503_on_a_reconnect_is_waited_out(run, faulty) -> None:
    script = faulty.serve(faults.events(LOG[0]), faults.status(503), faults.events(LOG[2]), faults.status(204))
    result = run(tail, script.url)
    assert result.exit_code == 0
    assert "answered 503" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_with_130_and_no_traceback(faulty) -> None:
    script = faulty.serve(faults.silence(LOG[0]))
    command = [sys.executable, "-m", "tickertape", "tail", script.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("message")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_the_help_names_the_exit_codes(run) -> None:
    assert "Exit code: 0" in run(tail, "--help").stdout
