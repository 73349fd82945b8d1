"""A model that answers with 50 kB of Markdown in deltas of four characters, at a steady pace."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PARAGRAPH = """## Section {n}

The **quick brown fox** jumps over the *lazy dog*, see [the dog](https://example.org/{n}) and `code {n}`. It does so
again and again, for a paragraph of some length that a model might well have written about foxes, dogs and what they do.

- one item with **strong** words
- another, with `code` and a [link](https://example.org)
  - nested below it

| Name | Value | Note |
|------|------:|------|
| fox {n} | {n} | quick |
| dog {n} | {n} | lazy |

```python
def jump(fox, dog={n}):
    # over the dog
    return [fox, dog, "again and again"]
```

"""
SIZE, STEP = 50_000, 4
ANSWER = "".join(PARAGRAPH.replace("{n}", str(n)) for n in range(SIZE // len(PARAGRAPH) + 1))[:SIZE]


class Handler(BaseHTTPRequestHandler):
    """Answers every question with ANSWER."""

    rate = 1000.0

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._head("application/json")
        self.wfile.write(json.dumps({"object": "list", "data": [{"id": "fifty-kilobytes"}]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._head("text/event-stream")
        began, sent = time.monotonic(), 0
        while sent < SIZE:
            due = min(SIZE, STEP * (1 + int((time.monotonic() - began) * self.rate)))
            pieces = [ANSWER[at : at + STEP] for at in range(sent, due, STEP)]
            self.wfile.write(b"".join(_event({"delta": {"content": piece}}) for piece in pieces))
            self.wfile.flush()
            sent = due
            time.sleep(1 / self.rate)
        self.wfile.write(_event({"delta": {}, "finish_reason": "stop"}) + b"data: [DONE]\n\n")

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()


def _event(choice: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, **choice}]}).encode()


if __name__ == "__main__":
    Handler.rate = float(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
