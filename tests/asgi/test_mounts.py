"""The API below other apps' paths: found, and every URL that it says leads back to it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Router
from starlette.testclient import TestClient

from asgi.host_app import make_api
from support.http import ask
from tickertape.asgi.requests import complete_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tickertape.asgi import App
    from tickertape.asgi.types import Message, Receive, Send

ANN, BOB = {"X-User": "ann"}, {"X-User": "bob"}


def in_fastapi(api: App) -> FastAPI:
    host = FastAPI(lifespan=api.lifespan)
    host.mount("/ai", api)
    return host


def rooted(app: Any, root_path: str) -> Any:
    """Set ``root_path`` and nothing else, as some servers and frameworks do."""

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        await app(scope | {"root_path": root_path}, receive, send)

    return wrapped


def in_starlette(api: App, *routes: Any) -> Starlette:
    return Starlette(routes=[*routes], lifespan=api.lifespan)


MOUNTS: dict[str, tuple[Callable[[App], Any], dict[str, Any], str, str]] = {
    # host, arguments of the client, where it asks, where the Location must lead
    "a mount": (in_fastapi, {}, "/ai", "/ai"),
    "a mount in a mount": (
        lambda api: in_starlette(api, Mount("/a", Router([Mount("/b", api)]))), {}, "/a/b", "/a/b",
    ),
    "the root path of a server": (in_fastapi, {"root_path": "/p"}, "/p/ai", "/p/ai"),
    "a root path of the host and a proxy that leaves it": (
        lambda api: rooted(in_fastapi(api), "/p/q"), {}, "/p/q/ai", "/p/q/ai",
    ),
    "a root path of the host and a proxy that takes it off": (
        lambda api: rooted(in_fastapi(api), "/p/q"), {}, "/ai", "/p/q/ai",
    ),
    "a mount with a parameter": (
        lambda api: in_starlette(api, Mount("/t/{id:int}", api)), {}, "/t/7", "/t/7",
    ),
    "a mount with letters": (
        lambda api: in_starlette(api, Mount("/{tenant}", api)), {}, "/z%C3%BC%20x", "/z%C3%BC%20x",
    ),
    "a host name": (
        lambda api: in_starlette(api, Host("ai.example", api)), {"base_url": "http://ai.example"}, "", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOUNTS)
def test_every_route_is_found_below_a_mount_and_every_url_leads_there(name: str, tmp_path: Path) -> None:
    make, arguments, asked, shown = MOUNTS[name]
    with TestClient(make(make_api(tmp_path)), **arguments) as client:
        headers = ANN | {"Idempotency-Key": "k"}
        answer = client.post(f"{asked}/api/openai/stream", json=ask("Hello there"), headers=headers)
        assert answer.status_code == 200, answer.text
        location = answer.headers["location"]
        assert location.startswith(f"{shown}/v1/streams/")
        reachable = asked + location.removeprefix(shown)
        assert client.get(reachable, headers=ANN).text == answer.text
        assert client.get(reachable, headers=BOB).status_code == 404
        later = client.post(f"{asked}/v1/streams", json=ask("Later"), headers=ANN)
        assert later.json()["url"] == later.headers["location"]
        assert later.headers["location"].startswith(f"{shown}/v1/streams/")
        made = client.post(f"{asked}/backend-api/conversations", json={}, headers=ANN)
        assert made.headers["location"].startswith(f"{shown}/backend-api/conversation/")
        assert client.get(f"{asked}/nowhere", headers=ANN).json()["error"]["code"] == "not_found"


def test_no_letter_of_a_path_gets_into_a_header_as_it_is(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    with TestClient(in_starlette(api, Mount("/{tenant}", api))) as client:
        answer = client.post("/a%0D%0AX-Injected:%20yes/v1/streams", json=ask("Hello"), headers=ANN)
    assert answer.status_code == 202
    assert answer.headers["location"].startswith("/a%0D%0AX-Injected%3A%20yes/v1/streams/")


@pytest.mark.parametrize(
    ("root", "path", "complete"),
    [
        ("", "/v1/models", "/v1/models"),
        ("/api", "/api/v1/models", "/api/v1/models"),
        ("/api", "/v1/models", "/api/v1/models"),
        ("/api", "/apiary", "/api/apiary"),
        ("/api/ai", "/ai/v1/models", "/api/ai/v1/models"),
        ("/a/b/c", "/c", "/a/b/c"),
        ("/a/b/", "/b/x", "/a/b/x"),
    ],
)
def test_a_path_without_its_root_path_gets_it(root: str, path: str, complete: str) -> None:
    scope: dict[str, Any] = {"root_path": root, "path": path}
    complete_path(scope)
    assert scope["path"] == complete


def test_two_apps_in_one_process_each_have_their_own_and_share_a_folder_where_they_have_one(tmp_path: Path) -> None:
    one, same, other = make_api(tmp_path / "one"), make_api(tmp_path / "one"), make_api(tmp_path / "other")
    host = Starlette(routes=[Mount("/one", one), Mount("/same", same), Mount("/other", other)])
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with TestClient(host) as client:
        answer = client.post("/one/api/openai/stream", json=ask("Hello there"), headers=ANN)
        stream = answer.headers["location"].removeprefix("/one")
        assert client.get(f"/same{stream}", headers=ANN).text == answer.text
        assert client.get(f"/same{stream}", headers=BOB).status_code == 404
        assert client.get(f"/other{stream}", headers=ANN).status_code == 404


def test_who_mounts_the_api_loads_no_server_no_command_line_and_no_database() -> None:
    heavy = "{'uvicorn', 'httptools', 'click', 'rich', 'aiohttp', 'sqlalchemy', 'sqlite3', 'tickertape.server'}"
    code = f"import sys, tickertape.asgi; print(*sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
