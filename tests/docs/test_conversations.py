"""The requests in docs/conversations.md, run one after the other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from support.http import open_stream
from tickertape.asgi.conversation_routes import PATHS

if TYPE_CHECKING:
    from conftest import Serve

PAGE = (Path(__file__).parents[2] / "docs" / "conversations.md").read_text("utf-8")
REQUESTS = re.findall(r"```http\n([A-Z]+) (\S+)\n\n(?:(\{.*?\})\n\n)?HTTP/1.1 (\d+)\n```", PAGE, re.DOTALL)


def test_every_request_on_the_page_is_answered_as_it_says(serve: Serve) -> None:
    assert len(REQUESTS) == PAGE.count("```http") >= 11
    url = serve().url
    for method, path, body, status in REQUESTS:
        with open_stream(url, method, path, json.loads(body) if body else None) as reply:
            reply.read()
        assert (reply.status, reply.complete) == (int(status), True), (method, path, reply.body)
        if path == "/backend-api/conversation":
            assert reply.events[-1].data == "[DONE]"


def test_every_route_of_conversations_is_on_the_page() -> None:
    for path in PATHS:
        if path.startswith("/backend-api/"):
            written = re.escape(path).replace(re.escape("{id}"), r"[0-9a-f]{32}")
            assert re.search(written + r"[\s?`]", PAGE), f"{path} is missing"
