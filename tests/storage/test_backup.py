"""Copies of a folder that is in use, and the way back: nothing is missing, nothing half, nothing overwritten."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from conversations.conftest import OWNER
from streams.conftest import quick_path
from support.answers import answer, conversations_of
from tickertape.errors import SettingsError, TickertapeError
from tickertape.storage.backup import backup, restore
from tickertape.storage.check import check
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, begin, caught_up, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["quick_path"]


def quiet(_name: str, _done: int, _total: int) -> None:
    """Show no progress."""


def findings(data: Path) -> list[str]:
    return [finding.sentence for finding in check(data, quiet)]


async def filled(data: Path, count: int = 3) -> list[str]:
    """Leave a folder with so many conversations; return their ids."""
    data.mkdir(exist_ok=True)
    async with SqliteEngine(data / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(data, log)
        asked = [await answer(async_store, log, service, f"number {number}") for number in range(count)]
        await service.close()
    return asked


async def shown(data: Path) -> dict[str, tuple[str, str]]:
    """Return the state and text of every answer in a data folder, as the next server shows them."""
    async with SqliteEngine(data / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(data, log)
        await service.finalize_ended()
        found = {}
        for conversation in (await async_store.read(lambda store: store.list_page(OWNER))).conversations:
            kept = await async_store.read(lambda store, conversation=conversation: store.get(OWNER, conversation.id))  # type: ignore[misc]
            found[conversation.id] = (kept.messages[-1].state, kept.messages[-1].content)
        await service.close()
        return found


async def test_a_backup_while_answers_are_written_holds_all_that_was_answered_before_and_nothing_half(
    quick_path: Path,
) -> None:
    data, target = quick_path / "data", quick_path / "target"
    data.mkdir()
    async with SqliteEngine(data / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(data, log)
        before = [await answer(async_store, log, service, f"number {number}") for number in range(5)]
        copied = asyncio.Event()

        async def go_on() -> None:
            number = 0
            while not copied.is_set() or number < 5:
                number += 1
                await answer(async_store, log, service, f"later {number}", size=20)

        writing = [asyncio.create_task(go_on()) for _ in range(3)]
        await asyncio.to_thread(backup, data, target, quiet)
        copied.set()
        await asyncio.gather(*writing)
        await service.close()
    assert findings(target) == []
    there = await shown(target)
    for number, conversation in enumerate(before):
        assert there[conversation] == ("completed", f"Of number {number} 0 number {number} 1 number {number} 2 ")
    for conversation in there.keys() - set(before):
        assert there[conversation][0] in ("completed", "lost")
        assert there[conversation][0] == "lost" or there[conversation][1].count("later") == 20


async def test_what_is_asked_between_the_copies_of_the_two_files_is_not_half_in_the_backup(quick_path: Path) -> None:
    """Guards: the conversations are copied first, for they point at the log."""
    data, target = quick_path / "data", quick_path / "target"
    data.mkdir()
    async with SqliteEngine(data / "tape.db", lost=LOST) as log:
        async_store, service = conversations_of(data, log)
        first = await answer(async_store, log, service, "number 0")
        loop = asyncio.get_running_loop()
        files: list[str] = []

        def between(name: str, done: int, total: int) -> None:
            if done == total and not files:
                work = answer(async_store, log, service, "in between")
                asyncio.run_coroutine_threadsafe(work, loop).result()
            files.append(name)

        await asyncio.to_thread(backup, data, target, between)
        assert len(set(files)) == 2
        await service.close()
    assert findings(target) == []
    assert await shown(target) == {first: ("completed", "Of number 0 0 number 0 1 number 0 2 ")}


async def test_an_answer_that_runs_during_the_backup_is_there_as_lost_with_its_text(quick_path: Path) -> None:
    data, target = quick_path / "data", quick_path / "target"
    data.mkdir()
    async with SqliteEngine(data / "tape.db", lost=LOST) as log:
        writer = await begin(log, text(1))
        writer.append([text(2)])
        await caught_up(writer.stream, 2)
        backup(data, target, quiet)
        await writer.finish([DONE])
    async with SqliteEngine(target / "tape.db", lost=LOST) as log:
        assert (await log.get(writer.stream.header.id, "ann")).entries == [text(1), text(2), LOST]


async def test_the_way_back_gives_what_was_there_and_only_this_user_may_read_it(quick_path: Path) -> None:
    data, target, back = (quick_path / name for name in ("data", "target", "back"))
    await filled(data)
    backup(data, target, quiet)
    assert restore(target, back, quiet) is None
    for folder in (target, back):
        assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
            "tape.db": 0o600,
            "chats.db": 0o600,
        }
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert await shown(back) == await shown(data)


async def test_a_backup_of_a_folder_without_conversations_is_one_file(quick_path: Path) -> None:
    data, target = quick_path / "data", quick_path / "target"
    async with SqliteEngine(data / "tape.db", lost=LOST):
        pass
    backup(data, target, quiet)
    assert [file.name for file in target.iterdir()] == ["tape.db"]
    assert findings(target) == []


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Return the one sentence or two with which something is refused."""
    with pytest.raises(TickertapeError) as refused:
        call(*arguments, quiet, **options)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
    return str(refused.value)


async def test_a_folder_without_data_and_a_target_that_is_not_empty_are_refused(quick_path: Path) -> None:
    data, target = quick_path / "data", quick_path / "target"
    for call in (backup, restore):
        assert "neither tape.db nor chats.db is there" in refusal(call, quick_path / "none", target)
        assert not target.exists()
    await filled(data)
    target.mkdir()
    (target / "notes.txt").touch()
    assert "is not empty. Choose a new one" in refusal(backup, data, target)
    assert [file.name for file in target.iterdir()] == ["notes.txt"]
    assert "cannot be used for the backup" in refusal(backup, data, target / "notes.txt")


async def test_a_file_of_another_program_is_refused_and_nothing_is_left(quick_path: Path) -> None:
    data, target = quick_path / "data", quick_path / "target"
    await filled(data)
    (data / "tape.db").unlink()
    with closing(sqlite3.connect(data / "tape.db")) as other:
        other.execute("CREATE TABLE recipe (text)")
    assert "is a database of another program" in refusal(backup, data, target)
    assert not target.exists()
    (data / "tape.db").write_bytes(b"Dear diary, " * 1000)
    assert "is no SQLite database" in refusal(backup, data, target)
    assert not target.exists()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_gets_full_is_one_sentence_and_nothing_is_left_or_changed(quick_path: Path) -> None:
    data, target, other = (quick_path / name for name in ("data", "target", "other"))
    await filled(data)
    backup(data, other, quiet)
    before = {file.name: file.read_bytes() for file in data.iterdir()}
    with files_of_at_most(40_000):
        assert "cannot be copied to" in refusal(backup, data, target)
        assert "cannot be copied to" in refusal(restore, other, data, replace=True)
    assert not target.exists()
    assert {file.name: file.read_bytes() for file in data.iterdir()} == before


async def test_a_folder_in_use_is_never_restored_to_and_one_with_answers_only_on_request(quick_path: Path) -> None:
    data, target = quick_path / "data", quick_path / "target"
    old = await filled(data, 1)
    backup(data, target, quiet)
    new = await filled(data, 1)
    async with SqliteEngine(data / "tape.db", lost=LOST):
        assert "A server uses" in refusal(restore, target, data, replace=True)
    assert "--replace" in refusal(restore, target, data)
    assert set(await shown(data)) == {*old, *new}
    (data / "tape.db-wal").write_bytes(b"of the file that was there")
    aside = restore(target, data, quiet, replace=True)
    assert aside is not None
    assert {file.name for file in aside.iterdir()} >= {"tape.db", "chats.db", "tape.db-wal"}
    assert set(await shown(data)) == set(old)


# --- looking through


async def test_a_folder_that_is_as_it_was_written_has_no_findings_while_it_is_used(quick_path: Path) -> None:
    await filled(quick_path / "data")
    async with SqliteEngine(quick_path / "data" / "tape.db", lost=LOST) as log:
        writer = await begin(log)
        assert findings(quick_path / "data") == []
        await writer.finish([DONE])
    before = {file.name: file.read_bytes() for file in (quick_path / "data").iterdir()}
    assert findings(quick_path / "data") == []
    assert {file.name: file.read_bytes() for file in (quick_path / "data").iterdir()} == before


DAMAGES = {
    "UPDATE stream SET body = x'00' WHERE no = 1": "is damaged on the server's disk: its checksum does not match",
    "INSERT INTO journal (producer, body, crc) VALUES (1, x'00', 7)": "of the stream log is damaged",
    "UPDATE idempotency SET stream = 'gone'": "belong to streams that are not there",
    "INSERT INTO stream (id, owner, model, created, producer) VALUES ('a', 'b', 'c', 1, 99)": "run without a process",
    "UPDATE chat SET current = 'gone'": "stand at messages that are not there",
    "UPDATE message SET parent = 'gone' WHERE parent IS NOT NULL": "answer messages that are not there",
    "UPDATE message SET state = 'running'": "no answer is on its way to them",
    "UPDATE message SET content = 'What is else'": "messages are damaged: their checksums do not match",
    "UPDATE segment SET chat = 99": "belong to conversations or messages that are not there",
    "UPDATE segment SET link = 0, stream = stream || 'x', begun = 1 WHERE no = 1": "will be shown as lost",
}


@pytest.mark.parametrize("statement", DAMAGES)
async def test_every_damage_is_found_and_said_in_a_sentence(quick_path: Path, statement: str) -> None:
    data = quick_path / "data"
    await filled(data)
    table = statement.removeprefix("INSERT INTO ").removeprefix("UPDATE ").split()[0]
    name = "tape.db" if table in ("stream", "journal", "idempotency") else "chats.db"
    with closing(sqlite3.connect(data / name)) as connection, connection:
        if table == "idempotency":
            connection.execute("INSERT INTO idempotency VALUES ('o', 'k', x'00', 's')")
        connection.execute(statement)
    said = findings(data)
    assert any(DAMAGES[statement] in sentence for sentence in said), said
    assert all(sentence.endswith((".", "?")) for sentence in said)


async def test_a_structure_that_is_damaged_is_found(quick_path: Path) -> None:
    data = quick_path / "data"
    await filled(data)
    with closing(sqlite3.connect(data / "chats.db")) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recent'").fetchone()
    damaged = bytearray((data / "chats.db").read_bytes())
    damaged[(root - 1) * 4096 : root * 4096] = b"\xaa" * 4096
    (data / "chats.db").write_bytes(damaged)
    assert any("is damaged" in sentence for sentence in findings(data))


def test_a_log_of_an_older_format_is_looked_at_as_far_as_possible(quick_path: Path) -> None:
    from streams.test_schema import FORMATS

    shutil.copyfile(FORMATS / "2.db", quick_path / "tape.db")
    assert [(finding.serious, "without checksums" in finding.sentence) for finding in check(quick_path, quiet)] == [
        (False, True)
    ]


def test_a_folder_without_files_cannot_be_looked_through(quick_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is nothing to check"):
        findings(quick_path)
