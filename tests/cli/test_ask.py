"""``tickertape ask``: typed in the terminal, true in its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from support.http import open_stream, request
from support.server import clean_environment
from tickertape.cli.ask import beside
from tickertape.deltas import Annotation, Audio, Citation, Image, ServerTool, ToolCall
from tickertape.errors import SettingsError
from tickertape.testing.upstream import Upstream
from tickertape.transcript import Transcript

if TYPE_CHECKING:
    from conftest import Serve
    from support.server import Server

ECHO = "--provider=echo"


def start(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tickertape", "ask", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(environment),
    )
    assert process.stdin is not None
    if stdin is not None:
        process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None
    return process


def rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what it writes until its end. `communicate` would lose what `read` has buffered."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(60)
    return out, err


def run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    with start(*arguments, stdin=stdin) as process:
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def test_an_answer_is_made_here_when_no_server_is_named() -> None:
    assert run(ECHO, "--echo-rate=0", "Hello there") == (0, "Hello there\n", "")


def test_a_question_can_be_piped_in() -> None:
    assert run(ECHO, "--echo-rate=0", stdin="Hello\nthere\n") == (0, "Hello\nthere\n", "")


def test_a_closed_standard_input_holds_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingsError, match="There is no question"):
        import_module("tickertape.cli.ask").ask.main([ECHO], standalone_mode=False)


def test_a_question_beside_an_answer_to_follow_is_refused() -> None:
    assert run("--attach=x", "hi") == (
        1,
        "",
        "tickertape: --attach follows an answer that exists; leave the question out.\n",
    )


def test_an_empty_url_is_refused_and_not_answered_here() -> None:
    code, out, err = run(ECHO, "--url=", "hi")
    assert (code, out) == (1, "")
    assert err == "tickertape: A server's URL starts with http:// or https:// and a host; this was ''.\n"


def test_what_is_piped_in_and_no_text_is_one_sentence() -> None:
    ended = CliRunner().invoke(import_module("tickertape.cli.ask").ask, [ECHO], input=b"\x89PNG\xff")
    assert isinstance(ended.exception, SettingsError)
    assert str(ended.exception) == "What was piped in is no utf-8 text; a question is one."


def test_an_upstream_that_is_down_is_told_once() -> None:
    code, out, err = run("--upstream=http://127.0.0.1:1/v1", "hi")
    assert (code, out) == (1, "")
    assert err.startswith("tickertape: 127.0.0.1:1 cannot be reached")
    assert err.count("cannot be reached") == 1


def test_thinking_stands_on_a_line_of_its_own() -> None:
    with Upstream(words=["Yes."]) as upstream:
        answered = run("--upstream", upstream.url("openai"), "--model=thinking", "hi")
    assert answered == (0, "Yes.\n", "Hm.\n")


def test_a_server_is_asked_when_one_is_named(echo_server: Server) -> None:
    assert run("--url", echo_server.url, "Hello there") == (0, "Hello there\n", "")


def test_control_characters_are_shown_and_do_nothing(echo_server: Server) -> None:
    question = "a\x1b[2Jb\x07c"
    assert run("--url", echo_server.url, question)[1] == "a\\x1b[2Jb\\x07c\n"
    assert run("--url", echo_server.url, "--raw", question)[1] == question + "\n"


def test_a_terminal_that_knows_few_characters_shows_the_others_by_their_numbers() -> None:
    with start(ECHO, "--echo-rate=0", "hé 😀", PYTHONIOENCODING="ascii") as process:
        assert process.communicate(timeout=60) == ("h\\xe9 \\U0001f600\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("where", ["here", "server"])
def test_ctrl_c_stops_the_answer_and_says_so(serve: Serve, where: str) -> None:
    words = "word " * 2000
    server = serve(echo_rate=50)
    place = [ECHO, "--echo-rate=50"] if where == "here" else ["--url", server.url]
    with start(*place, words) as process:
        assert process.stdout is not None
        shown = process.stdout.read(20)
        process.send_signal(signal.SIGINT)
        out, err = rest(process)
    assert (process.returncode, err) == (130, "Stopped.\n")
    assert words.startswith((shown + out).rstrip("\n"))
    if where == "server":
        metrics = request(server.url, "GET", "/metrics").body.decode()
        assert 'tickertape_answers_total{state="cancelled"} 1' in metrics


def test_an_answer_that_is_cut_off_for_good_is_a_failure(serve: Serve) -> None:
    server = serve(echo_rate=50)
    with start("--url", server.url, "word " * 2000) as process:
        assert process.stdout is not None
        shown = process.stdout.read(20)
        server.kill()
        server.start()  # what was written is there, and lost
        out, err = rest(process)
    assert process.returncode == 1
    assert "word word" in shown + out
    assert "stopped" in err
    assert "Traceback" not in err


def test_an_answer_can_be_read_again(serve: Serve) -> None:
    server = serve()
    stream_id = request(
        server.url, "POST", "/v1/streams", {"messages": [{"role": "user", "content": "Hello there"}]}
    ).json()["id"]
    assert run("--url", server.url, "--attach", stream_id) == (0, "Hello there\n", "")


def test_an_answer_that_still_comes_can_be_read_along_and_stopped(serve: Serve) -> None:
    server = serve(echo_rate=50)
    question = {"messages": [{"role": "user", "content": "word " * 2000}]}
    begun = request(server.url, "POST", "/v1/streams", question).json()
    with start("--url", server.url, "--attach", begun["id"]) as process:
        assert process.stdout is not None
        shown = process.stdout.read(20)
        process.send_signal(signal.SIGINT)
        out, err = rest(process)
    assert (process.returncode, err) == (130, "Stopped.\n")
    snapshot = request(server.url, "GET", begun["url"], headers={"Accept": "application/json"}).json()
    assert snapshot["state"] == "cancelled"
    assert (shown + out).rstrip("\n") == snapshot["text"].rstrip("\n")


def test_a_lost_answer_can_be_read_again_and_is_no_success(serve: Serve) -> None:
    server = serve(echo_rate=50)
    question = {"messages": [{"role": "user", "content": "word " * 2000}]}
    with open_stream(server.url, "POST", "/api/openai/stream", question) as stream:
        stream.until(lambda stream: len(stream.events) > 3)
        server.kill()
    server.start()
    code, out, err = run("--url", server.url, "--attach", stream.id)
    assert code == 1
    assert out.startswith("word word")
    assert "stopped" in err


def test_without_a_url_the_server_that_runs_here_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = import_module("tickertape.cli.ask"), []

    def remote(url: str, messages: object, **options: object) -> None:
        asked.append((url, messages, options["attach"]))
        raise SettingsError("Enough.")

    monkeypatch.setattr(module, "_remote", remote)
    assert isinstance(CliRunner().invoke(module.ask, ["--attach", "x"]).exception, SettingsError)
    assert asked == [("http://127.0.0.1:8000", None, "x")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((ECHO, ""), "There is no question"),
        ((ECHO, "--model=gpt-9", "hi"), "The model 'gpt-9' is not served here. Served are: echo."),
        (("--url=http://127.0.0.1:1", "hi"), "127.0.0.1"),
        (("--url=nonsense", "hi"), "nonsense"),
        (("--upstream=nonsense", "hi"), "upstream URL"),
        (("--model-path=/nothing.gguf", "hi"), "/nothing.gguf"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], says: str) -> None:
    code, out, err = run(*arguments, stdin="")
    assert (code, out) == (1, "")
    assert err.startswith("tickertape: ")
    assert says in err
    assert err.count("\n") == 1


def test_what_an_answer_holds_beside_its_text_is_named_line_by_line() -> None:
    answer = Transcript()
    for delta in (
        ToolCall({"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}),
        ToolCall({"index": 1, "id": "b", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}),
        ServerTool({"index": 0, "type": "server_tool_use", "name": "web_search"}),
        Image({"index": 0, "type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}),
        Audio({"data": "AAAA", "transcript": "Hello"}),
        Annotation({"index": 0, "type": "url_citation", "url_citation": {"url": "https://e.org", "title": "E"}}),
        Citation({"index": 0, "type": "char_location", "cited_text": "Grass is green."}),
    ):
        answer.add(delta)
    assert list(beside(answer.details())) == [
        "The model asks for the tool look: {}",
        "The model asks for the tool sql: SELECT 1",
        "The provider ran web_search.",
        "An image: data:image/png;base64, 26 characters",
        "Sound: Hello",
        "[1] E https://e.org",
        "[2] Grass is green.",
    ]
