"""A model that answers each question as a test has written it: reasoning, tools, endings of every kind."""

from __future__ import annotations

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP = {"finish_reason": "stop"}
WAIT = 60
"""Seconds after which a step that waits for its test lets go."""

Step = str | dict[str, Any] | threading.Event
"""Text; a delta, a finish reason or an error; an event to wait for."""


class Model:
    """An OpenAI-compatible upstream. ``answers`` holds the steps by question; ``asked`` every request's messages.

    ``pace`` is seconds between two steps. Without a last step that finishes, an answer is cut off.
    """

    def __init__(self, *names: str) -> None:
        self.names = names or ("scripted", "other")
        self.answers: dict[str, Sequence[Step]] = {}
        self.asked: list[list[dict[str, str]]] = []
        self.pace = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": self}))
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for steps in self.answers.values():
            for step in steps:
                if isinstance(step, threading.Event):
                    step.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def tool(name: str, arguments: str) -> dict[str, Any]:
    """A step that asks for a tool, or with an empty name more of its arguments."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"delta": {"tool_calls": [{"index": 0, "function": function}]}}


class _Handler(BaseHTTPRequestHandler):
    model: Model
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": name} for name in self.model.names]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.model.asked.append(body["messages"])
        steps = self.model.answers.get(body["messages"][-1]["content"], ["Hello", STOP])
        if isinstance(steps[0], dict) and "status" in steps[0]:
            self._reply(steps[0]["status"], {"error": steps[0]["error"]})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for step in steps:
                self._say(step)
        except OSError:
            pass  # the answer was stopped

    def _say(self, step: Step) -> None:
        if isinstance(step, threading.Event):
            step.wait(WAIT)
            return
        time.sleep(self.model.pace * random.uniform(0.2, 1.8))
        told = {"delta": {"content": step}} if isinstance(step, str) else step
        if "error" in told:
            self._event(told)
            return
        self._event({"choices": [{"index": 0, "delta": {}, **told}]})
        if "finish_reason" in told:
            self._event("[DONE]")

    def _event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def _reply(self, status: int, body: Any) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
