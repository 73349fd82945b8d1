"""docs/embedding.md: every block of it runs, and does what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from openai.types.chat import ChatCompletionChunk
from starlette.testclient import TestClient

from tickertape import Decoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "embedding.md").read_text("utf-8")
EXAMPLE = (ROOT / "examples" / "fastapi_app.py").read_text("utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"(?:<!-- (\S+) -->\n)?```python\n(.*?)```", PAGE, re.DOTALL)
NAMED = {name: code for name, code in BLOCKS if name}
ANN = {"X-User": "ann"}


class Client:
    """OpenAI's client, as far as the page uses it."""

    def __init__(self) -> None:
        self.chat = self.completions = self

    async def create(self, **_question: Any) -> AsyncIterator[ChatCompletionChunk]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        for content, reason in (("Hel", None), ("lo", None), (None, "stop")):
            choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
            head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            yield ChatCompletionChunk.model_validate(head | {"choices": [choice]})


def run(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run code as a module; FastAPI looks for types in it."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, name, "exec"), module.__dict__)
    return module.__dict__


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return tmp_path


def test_the_page_shows_the_example_as_it_is_and_it_is_not_longer_than_the_app_before() -> None:
    assert NAMED["examples/fastapi_app.py"] == EXAMPLE

    def lines(code: str) -> int:
        return len([line for line in code.splitlines() if line and not line.startswith('"""')])

    assert lines(EXAMPLE) <= lines(NAMED["before"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", NAMED)
def test_both_apps_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai.AsyncOpenAI", Client)
    app = run("shown", NAMED[name], monkeypatch)["app"]
    with TestClient(app) as client:
        answer = client.post("/chat", json={"text": "Hello"})
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"content":"Hel"' in answer.text
        if name != "before":
            assert client.get(answer.headers["location"]).text == answer.text


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    assert folder
    return run("page", "\n".join(code for name, code in BLOCKS if not name), monkeypatch)


def events(body: bytes) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in Decoder().feed(body)]


def test_the_test_of_the_page_passes(page: dict[str, Any]) -> None:
    page["test_chat"]()


def test_what_the_page_says_of_its_routes_is_so(page: dict[str, Any]) -> None:
    with TestClient(page["app"], headers=ANN) as client:
        chat = events(client.post("/chat", params={"text": "lo"}).content)
        assert chat[1:4] == [
            ("message", '"Hel"'),
            ("progress", '{"percent":50}'),
            ("message", '{"sources":["a.txt"]}'),
        ]
        assert events(client.get("/frames").content)[1] == ("note", "made elsewhere")
        refused = client.post("/search")
        assert (refused.status_code, refused.json()["error"]["message"]) == (422, "Say what to look for.")
        assert "The index is being rebuilt" in client.post("/search", params={"text": "x"}).text
        keyed = {"Idempotency-Key": "1"}
        asked = [client.post("/ask", json={"text": text}, headers=keyed) for text in ("a", "a", "b")]
        assert [answer.status_code for answer in asked] == [200, 200, 422]
        assert client.get("/jobs/7").text == client.get("/jobs/7").text
        assert client.get("/rows").status_code == 200
        began = client.post("/reports")
        assert began.status_code == 202
        assert events(client.get(f"/streams/{began.json()['id']}").content)[-1][0] == "end"
    assert sorted(page["kept"]) == ["background task", "onetwo"]
