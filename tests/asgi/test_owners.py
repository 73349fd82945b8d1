"""Who asks is what the host says, and nobody ever reads what is somebody else's (TT-13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi import HTTPException
from starlette.testclient import TestClient

from asgi.host_app import make_api
from support.http import ask
from tickertape.asgi import App

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.requests import Request


def named(request: Request) -> Any:
    """Return what the header says, as Python."""
    return eval(request.headers.get("x-owner", "None"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(App(make_api(tmp_path).core, owner=named)) as running:
        yield running


def as_(owner: Any) -> dict[str, str]:
    return {"X-Owner": ascii(owner)}


def test_nobody_sees_streams_keys_conversations_or_changes_of_somebody_else(client: TestClient) -> None:
    owners = ["ann", "Ann", "ann ", "\u00e4nn", "a\u0308nn", "a" * 255, "a" * 254, "'; drop table stream; --", "%", "*"]
    seen: dict[str, tuple[str, str]] = {}
    for owner in owners:
        keyed = as_(owner) | {"Idempotency-Key": "the same for all"}
        answer = client.post("/api/openai/stream", json=ask(f"I am {owner}"), headers=keyed)
        assert answer.status_code == 200, owner
        made = client.post("/backend-api/conversations", json={}, headers=as_(owner)).json()
        seen[answer.headers["location"]] = owner, made["id"]
    assert len(seen) == len(owners), "a key is its owner's"
    for location, (owner, conversation) in seen.items():
        for other in owners:
            expected = 200 if other == owner else 404
            assert client.get(location, headers=as_(other)).status_code == expected, (owner, other)
            got = client.get(f"/backend-api/conversation/{conversation}", headers=as_(other))
            assert got.status_code == expected, (owner, other)
        listed = client.get("/backend-api/conversations", headers=as_(owner)).json()["items"]
        assert [item["id"] for item in listed] == [conversation]


@pytest.mark.parametrize("owner", ["", 7, True, b"ann", "a" * 256, "a\nb", "a\0b", "\ud800", [], object])
def test_what_is_no_name_is_refused_and_the_log_says_what_it_was(
    client: TestClient, caplog: pytest.LogCaptureFixture, owner: Any
) -> None:
    refused = client.get("/v1/models", headers={"X-Owner": "object" if owner is object else ascii(owner)})
    assert refused.status_code == 500
    assert "owner must return" in caplog.text


async def _asks(_request: Request) -> str:
    raise HTTPException(401, headers={"WWW-Authenticate": 'Digest realm="house"'})


def _reads(request: Request) -> Any:
    return request.body()


@pytest.mark.parametrize(
    ("owner", "status", "header"),
    [
        (lambda _request: None, 401, None),
        (_asks, 401, 'Digest realm="house"'),
        (lambda _request: 1 / 0, 500, None),
        (_reads, 500, None),
    ],
)
def test_an_owner_may_refuse_in_its_own_way_and_its_faults_are_ours(
    tmp_path: Path, owner: Callable[[Request], Any], status: int, header: str | None
) -> None:
    """It is called without the body: who read that would leave the request to wait for it for ever."""
    with TestClient(App(make_api(tmp_path).core, owner=owner)) as client:
        refused = client.post("/api/openai/stream", json=ask("Hello"))
    assert refused.status_code == status
    assert refused.headers.get("www-authenticate") == header
    assert refused.json()["error"]["message"].endswith((".", "Unauthorized"))
