"""Questions and answers of conversations, made in one process as the server makes them, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from conversations.conftest import OWNER, ask
from tickertape.conversations.async_store import AsyncStore
from tickertape.conversations.models import ConversationLimits
from tickertape.conversations.service import ConversationService
from tickertape.conversations.sqlite import SqliteDatabase
from tickertape.streams.contract import Header
from tickertape.testing.engine_contract import DONE, caught_up, create
from tickertape.util.clock import now

if TYPE_CHECKING:
    from pathlib import Path

    from tickertape.streams.sqlite.engine import SqliteEngine


def conversations_of(folder: Path, log: SqliteEngine, undo: float = 3600.0) -> tuple[AsyncStore, ConversationService]:
    async_store = AsyncStore(SqliteDatabase(folder / "chats.db"), ConversationLimits(undo=undo), clock=now)
    return async_store, ConversationService(async_store, log, cast("Any", None), cast("Any", None))


async def answer(
    async_store: AsyncStore, log: SqliteEngine, service: ConversationService, text: str, size: int = 3
) -> str:
    """Ask and answer, the way that a generation does; return the conversation's id."""
    prepared = await async_store.write(lambda store: store.prepare_answer(OWNER, ask(f"What of {text}?")))
    writer = await create(log, Header(id=prepared.stream, owner=OWNER, model="echo", created=0), [b't"Of "'])
    for number in range(size):
        writer.append([f't"{text} {number} "'.encode()])
        await caught_up(writer.stream, number + 2)
    await writer.finish([DONE])
    await service.finalize_ended()
    return prepared.conversation
