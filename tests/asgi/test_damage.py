"""Answers that the disk damaged, as a caller and a conversation see them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from conversations.conftest import OWNER, ask
from support.http import ask as question
from support.http import request
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.service import ConversationService
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.streams.contract import Header
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, create, text
from tickertape.util.clock import now

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve


async def test_a_conversation_whose_answer_is_damaged_says_so_and_keeps_nothing_from_being_forgotten(
    tmp_path: Path,
) -> None:
    """Its text is gone, the others' need not stay for ever because of it."""
    path = tmp_path / "tape.db"
    async_store = AsyncStore(SqliteDatabase(tmp_path / "chats.db"), clock=now)
    async with SqliteEngine(path, lost=LOST) as log:
        service = ConversationService(async_store, log, cast("Any", None), cast("Any", None))
        prepared = await async_store.write(lambda store: store.prepare_answer(OWNER, ask("Hello")))
        writer = await create(log, Header(id=prepared.stream, owner=OWNER, model="echo", created=0), [text(1)])
        await writer.finish([DONE])
        await log.expire(1e9)
        del writer
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE stream SET crc = 1")
        await service.finalize_ended()
        kept = (await async_store.read(lambda store: store.get(OWNER, prepared.conversation))).messages[-1]
        assert (kept.state, kept.content, kept.error and kept.error["code"]) == ("lost", "", "stream_damaged")
        assert "is damaged on the server's disk" in (kept.error or {})["message"]
        assert await log.expire(-1) == 1
        await service.close()


def test_a_damaged_answer_is_a_500_with_a_sentence_and_never_text(serve: Serve) -> None:
    server = serve()
    asked = request(server.url, "POST", "/v1/streams", question("Hello there")).json()
    request(server.url, "GET", asked["url"])
    server.terminate()
    with closing(sqlite3.connect(server.data / "tape.db")) as connection, connection:
        connection.execute("UPDATE stream SET body = CAST(replace(CAST(body AS TEXT), 'Hello', 'Jello') AS BLOB)")
    server.start()
    for method, path in (("GET", asked["url"]), ("POST", f"{asked['url']}/continue")):
        said = request(server.url, method, path, question("Hello there"))
        assert (said.status, said.error["code"]) == (500, "stream_damaged")
        assert b"Jello" not in said.body
    assert "is damaged on the server's disk" in server.stderr
