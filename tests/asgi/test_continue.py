"""Going on from a partial answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from conftest import Serve

WORDS = " ".join(f"word{number}" for number in range(400))
QUESTION = {"messages": [{"role": "user", "content": WORDS}]}
JSON = {"Accept": "application/json"}


async def test_a_stopped_answer_goes_on_in_a_new_stream_that_names_the_old(serve: Serve) -> None:
    server = serve(echo_rate=100)
    async with aiohttp.ClientSession(server.url) as session:
        async with session.post("/v1/streams", json=QUESTION) as response:
            old = (await response.json())["url"]
        async with session.get(old) as response:
            await response.content.readuntil(b"word3")
        async with session.post(f"{old}/cancel") as response:
            partial = (await response.json())["text"]
        assert 0 < len(partial) < len(WORDS)
        async with session.post(f"{old}/continue", json=QUESTION) as response:
            assert response.status == 200
            new = response.headers["Location"]
            assert new != old
            await response.content.readuntil(b"word")
        async with session.post(f"{new}/cancel") as response:
            rest = await response.json()
        assert rest["continues"] == old.rpartition("/")[2]
        assert WORDS.startswith(partial + rest["text"])
        assert rest["text"]


async def test_what_cannot_be_gone_on_from_is_told(serve: Serve) -> None:
    server = serve(echo_rate=1)
    async with aiohttp.ClientSession(server.url) as session:
        async with session.post("/v1/streams", json=QUESTION) as response:
            running = (await response.json())["url"]
        async with session.post(f"{running}/continue", json=QUESTION) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (409, "cannot_continue")
        async with session.post("/v1/streams/none/continue", json=QUESTION) as response:
            assert response.status == 404
        async with session.post(f"{running}/cancel") as response:
            assert response.status == 200
