"""What an upstream may do, and what it should not: each by name, with what is true of it.

``state`` is how a truthful client reports the answer, ``kept`` how much of its text it has to keep. A dialect in which
the same bytes mean something else has its own state in ``states``.
"""

from __future__ import annotations

import json
from collections.abc import Callable  # noqa: TC003 - msgspec reads the annotations
from typing import Literal

import msgspec

from tickertape.testing import contents, deliveries, scripts
from tickertape.testing.actions import Action, Body, Final, Raw, answering
from tickertape.testing.answer import BROKEN, WORDS, ScriptedAnswer

State = Literal["completed", "incomplete", "failed"]
Kept = Literal["all", "half", "none"]

GIANT = 1024 * 1024
"""Bytes of the one large token."""

ALL_EQUAL = ("ha ",) * 120


class Fault(msgspec.Struct, frozen=True):
    """One thing that an upstream may do: its name is also the name of a model that does it."""

    name: str
    says: str
    script: Callable[[ScriptedAnswer], list[Action]]
    state: State = "completed"
    kept: Kept = "all"
    states: dict[str, State] = {}
    status: int = 200
    """The HTTP status that a caller should see, who is told before the first byte."""
    text: str = ""
    """The whole text, if it is another than that of `WORDS`."""

    def state_in(self, dialect: str) -> State:
        """Return how a truthful client reports it in this dialect."""
        return self.states.get(dialect, self.state)


COMPLETED = (
    Fault("healthy", "nothing is wrong", lambda s: s.healthy),
    Fault(
        "crlf",
        "lines end in CR LF",
        lambda s: scripts.mapped(s, lambda d: d.replace(b"\r", b"").replace(b"\n", b"\r\n")),
    ),
    Fault("one-byte-chunks", "every byte is a chunk of its own", scripts.one_by_one),
    Fault("one-chunk", "all at once", lambda s: [s.head, Body(scripts.whole(s.healthy)), Final.END]),
    Fault(
        "comments", "comments, or empty lines, between all messages", lambda s: scripts.between(s, s.dialect.comment())
    ),
    Fault("bom", "a byte order mark in front", scripts.bom),
    Fault(
        "unknown-messages",
        "kinds of messages that nobody knows yet",
        lambda s: scripts.between(s, b"".join(s.dialect.empty(s.model))),
    ),
    Fault(
        "empty-first-message",
        "a first message without content",
        lambda s: [s.head, Body(s.dialect.empty(s.model)[0]), *s.healthy[1:]],
    ),
    Fault(
        "null-content",
        "null where content is due",
        lambda s: [s.head, *s.opening, Body(s.dialect.null(s.model)), *s.healthy[1 + len(s.opening) :]],
    ),
    Fault("equal-tokens", "120 equal tokens", scripts.with_words(ALL_EQUAL), text="".join(ALL_EQUAL)),
    Fault(
        "invalid-utf8", "half a character inside the text", scripts.invalid, text="".join(WORDS).replace("é", "\ufffd")
    ),
    Fault("giant-token", "one token of a million bytes", scripts.with_words(("x" * GIANT,)), text="x" * GIANT),
    Fault(
        "slow-first-token",
        "comments while the model thinks",
        lambda s: [s.head, *s.opening, *s.pauses(4), *s.healthy[1 + len(s.opening) :]],
    ),
    Fault("gzip", "a compressed body that nobody asked for", scripts.gzipped),
    Fault(
        "no-usage", "no token counts", lambda s: [s.head, *s.opening, *s.tokens(), *s.closing(usage=False), Final.END]
    ),
    Fault(
        "thinking",
        "thinking before the answer",
        lambda s: [
            s.head,
            *s.opening,
            *s.messages(*s.dialect.reasoning(s.model, "Hm.")),
            *s.healthy[1 + len(s.opening) :],
        ],
    ),
    Fault(
        "tool-call",
        "a tool call after the text",
        lambda s: [
            s.head,
            *s.opening,
            *s.tokens(),
            *s.messages(*s.dialect.call(s.model, "look", {"at": "é"})),
            *s.closing("tool_calls"),
            Final.END,
        ],
    ),
    Fault(
        "too-long",
        "the token limit is reached",
        lambda s: [s.head, *s.opening, *s.tokens(), *s.closing("length"), Final.END],
    ),
    Fault(
        "bare-marker",
        "the terminal marker, without a reason or counts",
        scripts.bare_marker,
        states={"anthropic": "incomplete"},  # always says why before it says that
    ),
    Fault("reset-after-end", "a reset once all was said", lambda s: [*s.healthy[:-1], Final.RESET]),
    Fault(
        "one-piece",
        "it does not stream",
        lambda s: answering(200, json.dumps(s.dialect.whole(s.model, "".join(s.words))).encode()),
    ),
    Fault("labelled-json", "events that are called JSON", deliveries.labelled("application/json")),
    Fault("labelled-page", "an answer that is called a web page", deliveries.labelled("text/html; charset=utf-8")),
    Fault("unlabelled", "an answer without a content type", deliveries.unlabelled),
    Fault("signed-thinking", "two signed blocks of thinking (Ollama signs none)", contents.signed_thinking),
    Fault("refusal", "a refusal after the text (Ollama has no word for it)", contents.refusal),
    Fault("citations", "a source for its text (Ollama has no word for it)", contents.citations),
    Fault("image", "a picture after the text (Anthropic has none)", contents.image),
    Fault("logprobs", "a token's log probability (Anthropic has none)", contents.logprobs),
    Fault(
        "calls-no-index", "two tool calls without an index (Anthropic's always have one)", contents.calls_without_index
    ),
    Fault("calls-one-index", "two tool calls under one index (Gemini has none)", contents.calls_with_one_index),
    Fault("arguments-object", "a tool call's arguments as an object, not in pieces", contents.arguments_as_object),
    Fault(
        "split-pair",
        "a character whose surrogate pair is split over two tokens",
        contents.split_pair,
        text="".join(WORDS) + "😀",
    ),
    Fault("one-piece-events", "one document of JSON that is called events", deliveries.one_piece("text/event-stream")),
    Fault("one-piece-pretty", "one document over many lines", deliveries.one_piece("text/plain", indent=2)),
    Fault("json-lines", "lines of JSON that are called events", deliveries.json_lines),
    Fault("foreign-end", "events that are called lines of JSON, and OpenAI's [DONE] at the end", deliveries.as_events),
    Fault(
        "empty-messages",
        "messages without words, null and ping between all others",
        lambda s: scripts.between(
            s, b"\n" if s.dialect.name == "ollama" else b"data:\n\ndata: null\n\ndata: [ping]\n\n"
        ),
    ),
    Fault("created", "an answer with status 201", deliveries.labelled("", status=201)),
    Fault("accepted", "an answer with status 202", deliveries.labelled("", status=202)),
    Fault("partial", "an answer with status 206", deliveries.labelled("", status=206)),
    Fault("large-head", "a header of 60 KiB", deliveries.large_head),
    Fault("http-1.0", "HTTP/1.0, where only the connection's end ends the body", deliveries.http_1_0),
    Fault("trailers", "headers after the body", deliveries.trailers),
    Fault("recovers", "refuses twice with 503 before it answers", scripts.recovers),
)

INCOMPLETE = (
    Fault("clean-eof", "a proper end of the body in the middle", lambda s: s.after(Final.END), "incomplete", "half"),
    Fault("closed", "the connection is closed in the middle", lambda s: s.after(Final.CLOSE), "incomplete", "half"),
    Fault("reset", "the connection is reset in the middle", lambda s: s.after(Final.RESET), "incomplete", "half"),
    Fault(
        "cut-chunk",
        "the connection is closed inside a chunk",
        lambda s: s.after(Raw(b"ffff\r\n" + s.dialect.text(s.model, "lost")[:9]), Final.CLOSE),
        "incomplete",
        "half",
    ),
    Fault(
        "cut-message",
        "a proper end of the body inside a message",
        lambda s: s.after(s.dialect.text(s.model, "lost")[:-9], Final.END),
        "incomplete",
        "half",
    ),
    Fault("cut-length", "the connection is closed before Content-Length", scripts.short, "incomplete", "half"),
    Fault("cut-unframed", "closed, where only that ends the body", scripts.unframed, "incomplete", "half"),
    Fault(
        "cut-document",
        "half of an answer that does not stream",
        deliveries.cut_document,
        "incomplete",
        "none",
        status=502,
    ),
    Fault(
        "early-reason",
        "the reason to end in the middle, and a close after the text",
        scripts.early_reason,
        "incomplete",
    ),
    Fault("unknown-reason", "a reason to end that nobody knows", scripts.unknown_reason, "incomplete"),
    Fault(
        "unfinished-reason",
        "a reason to end that means a broken or paused answer",
        contents.unfinished_reason,
        "incomplete",
        "all",
        {"openai": "failed", "gemini": "failed"},  # their words mean an error
    ),
    Fault("null-reason", 'the word "null" as the reason in the middle', contents.null_reason, "incomplete", "half"),
    Fault("empty-body", "a 200 without a body", lambda s: [s.head, Final.END], "incomplete", "none", status=502),
    Fault(
        "no-token",
        "an end after the opening",
        lambda s: [s.head, *s.opening, Final.END],
        "incomplete",
        "none",
        status=502,
    ),
    Fault(
        "no-marker",
        "the reason to end, without the terminal marker",
        scripts.no_marker,
        "incomplete",
        "all",
        {"openai": "completed"},
    ),
)

FAILED = (
    Fault(
        "error-message",
        "the dialect's own error in the middle",
        lambda s: s.after(s.dialect.broken_off(500, BROKEN), Final.END),
        "failed",
        "half",
    ),
    Fault(
        "error-then-end",
        "an error, and then the marker of success",
        lambda s: s.after(s.dialect.broken_off(500, BROKEN), *s.closing(), Final.END),
        "failed",
        "half",
    ),
    Fault(
        "error-object",
        'an object that calls itself "error"',
        lambda s: s.after(s.frame({"object": "error", "message": BROKEN, "code": 500}), Final.END),
        "failed",
        "half",
    ),
    Fault(
        "error-line",
        "a line error: {…} that is no message",
        lambda s: s.after(b'error: {"message": "%b"}\n\n' % BROKEN.encode(), Final.END),
        "failed",
        "half",
    ),
    Fault(
        "error-bare",
        "a bare line of JSON",
        lambda s: s.after(b'{"error": {"message": "%b"}}\n' % BROKEN.encode(), Final.END),
        "failed",
        "half",
    ),
    Fault("error-pretty", "an error over several lines of JSON", deliveries.pretty_error, "failed", "half"),
    Fault("error-after-reason", "an error after the text and the reason to end", scripts.error_after_reason, "failed"),
    Fault(
        "error-in-choice",
        "an error in a choice, and then the end",
        contents.error_in(
            lambda error: {"choices": [{"index": 0, "delta": {}, "finish_reason": None, "error": error}]}
        ),
        "failed",
        "half",
    ),
    Fault(
        "error-in-extension",
        "an error in x_groq, and then the end",
        contents.error_in(lambda error: {"x_groq": {"error": error["message"]}}),
        "failed",
        "half",
    ),
    Fault(
        "error-list",
        "a list of errors, and then the end",
        contents.error_in(lambda error: {"errors": [error]}),
        "failed",
        "half",
    ),
    Fault(
        "error-base-resp",
        "an error in base_resp, and then the end",
        contents.error_in(lambda error: {"base_resp": {"status_code": 1008, "status_msg": error["message"]}}),
        "failed",
        "half",
    ),
    Fault(
        "error-code-msg",
        "an error as code and msg, and then the end",
        contents.error_in(lambda error: {"code": error["code"], "msg": error["message"]}),
        "failed",
        "half",
    ),
    Fault("unknown-content", "content of a type that nobody knows", contents.unknown_content, "failed", "half"),
    Fault("error-finish", "an error as the reason to end", scripts.error_as_finish, "failed", "half"),
    Fault(
        "error-in-200",
        "an error in place of the answer, with status 200",
        lambda s: answering(200, json.dumps(s.error).encode()),
        "failed",
        "none",
        status=502,
    ),
    Fault(
        "broken-json",
        "a message that is no JSON",
        lambda s: s.after(s.frame('{"broken": '), Final.END),
        "failed",
        "half",
    ),
    Fault(
        "web-page",
        "a web page in place of the answer",
        lambda s: answering(200, b"<html>Welcome</html>", "text/html"),
        "failed",
        "none",
        status=502,
    ),
    Fault(
        "plain-text", "a gateway's plain words, with status 200", deliveries.plain_text, "failed", "none", status=502
    ),
    Fault("broken-gzip", "a compressed body that is none", deliveries.not_gzip, "failed", "none", status=502),
    Fault("stall", "silence in the middle", lambda s: s.after(Final.HANG), "failed", "half"),
    Fault(
        "stall-comments",
        "nothing but comments in the middle",
        lambda s: s.after(*s.pauses(400), Final.HANG),
        "failed",
        "half",
    ),
    Fault(
        "stall-opening",
        "silence before the first token",
        lambda s: [s.head, *s.opening, Final.HANG],
        "failed",
        "none",
        status=504,
    ),
    Fault("no-answer", "silence before the status", lambda s: [Final.HANG], "failed", "none", status=504),
    Fault("closed-first", "closed before the status", lambda s: [Final.CLOSE], "failed", "none", status=502),
    Fault("reset-first", "a reset before the status", lambda s: [Final.RESET], "failed", "none", status=502),
    Fault(
        "half-head",
        "closed inside the headers",
        lambda s: [Raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), Final.CLOSE],
        "failed",
        "none",
        status=502,
    ),
    Fault(
        "no-http",
        "what is no HTTP",
        lambda s: [Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Final.CLOSE],
        "failed",
        "none",
        status=502,
    ),
    Fault(
        "redirect",
        "a redirect",
        scripts.refusal(308, "Moved.", Location="https://elsewhere.example/v1"),
        "failed",
        "none",
        status=502,
    ),
    Fault(
        "bad-request",
        "a refusal with 400",
        scripts.refusal(400, "max_tokens is too large."),
        "failed",
        "none",
        status=400,
    ),
    Fault("bad-key", "a refusal with 401", scripts.refusal(401, "That key is wrong."), "failed", "none", status=401),
    Fault("forbidden", "a refusal with 403", scripts.refusal(403, "That key may not."), "failed", "none", status=403),
    Fault(
        "not-found", "a refusal with 404", scripts.refusal(404, "There is no such model."), "failed", "none", status=404
    ),
    Fault(
        "too-many",
        "a refusal with 429 and Retry-After",
        scripts.refusal(429, "Slow down.", Retry_After="7"),
        "failed",
        "none",
        status=429,
    ),
    Fault("server-error", "a refusal with 500", scripts.refusal(500, "Oops."), "failed", "none", status=502),
    Fault("unavailable", "a refusal with 503", scripts.refusal(503, "Busy."), "failed", "none", status=503),
    Fault("overloaded", "a refusal with 529", scripts.refusal(529, "Overloaded."), "failed", "none", status=503),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in (*COMPLETED, *INCOMPLETE, *FAILED)}
