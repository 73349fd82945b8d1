"""Who may use a data folder along with others, and where it may lie."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tickertape.errors import SettingsError
from tickertape.storage.folder import LOG_FILE, check_agreement, check_local, file_system, in_use
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import LOST

if TYPE_CHECKING:
    from pathlib import Path

OURS = {"retention": 86400.0, "synchronous": "NORMAL"}


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ({"retention": 3600.0}, r"has retention=3600\.0, this one retention=86400\.0; .* --set retention=3600\.0, "),
        ({"synchronous": "FULL"}, "has synchronous=FULL, this one synchronous=NORMAL; "),
        ({}, None),
        ({"page": "another"}, None),
    ],
)
async def test_a_server_with_other_settings_than_the_one_that_runs_is_refused_with_both_values(
    tmp_path: Path, theirs: dict[str, object], says: str | None
) -> None:
    async with SqliteEngine(tmp_path / LOG_FILE, lost=LOST, settings=json.dumps(OURS | theirs)):
        assert in_use(tmp_path)
        if says is None:
            check_agreement(tmp_path, OURS)
        else:
            with pytest.raises(SettingsError, match=says):
                check_agreement(tmp_path, OURS)
    assert not in_use(tmp_path)
    check_agreement(tmp_path, OURS)


async def test_a_server_of_the_version_before_has_no_settings_to_agree_with(tmp_path: Path) -> None:
    async with SqliteEngine(tmp_path / LOG_FILE, lost=LOST):
        check_agreement(tmp_path, OURS)


async def test_what_a_killed_server_had_set_binds_nobody(tmp_path: Path) -> None:
    async with SqliteEngine(tmp_path / LOG_FILE, lost=LOST, settings=json.dumps(OURS | {"retention": 1.0})):
        for lock in tmp_path.glob("*.lock"):
            lock.unlink()  # nobody holds it
        assert not in_use(tmp_path)
        check_agreement(tmp_path, OURS)


async def test_a_process_that_was_taken_for_dead_says_its_settings_again(tmp_path: Path) -> None:
    async with SqliteEngine(tmp_path / LOG_FILE, lost=LOST, settings=json.dumps(OURS | {"retention": 1.0})) as log:
        with closing(sqlite3.connect(tmp_path / LOG_FILE, isolation_level=None)) as outside:
            outside.execute("DELETE FROM producer")
        await log.probe()
        with pytest.raises(SettingsError, match="retention"):
            check_agreement(tmp_path, OURS)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("home", "ext4"),
        ("home/data", "nfs4"),
        ("home/data/below/that/is/not/there", "nfs4"),
        ("home/database", "ext4"),
        ("with space", "cifs"),
        ("covered", "ext4"),
    ],
)
def test_a_folder_on_a_network_file_system_is_refused_unless_that_is_meant(
    tmp_path: Path, folder: str, kind: str
) -> None:
    (tmp_path / "with space").mkdir()
    mounts = tmp_path / "mounts"
    spaced = str(tmp_path / "with space").replace(" ", "\\040")
    mounts.write_text(
        f"/dev/vda / ext4 rw 0 0\nserver:/data {tmp_path}/home/data nfs4 rw 0 0\n//server/share {spaced} cifs rw 0 0\n"
        f"server:/a {tmp_path}/covered nfs rw 0 0\n/dev/vdb {tmp_path}/covered ext4 rw 0 0\n"
    )
    assert file_system(tmp_path / folder, mounts) == kind
    if kind == "ext4":
        check_local(tmp_path / folder, mounts)
    else:
        with pytest.raises(SettingsError, match=rf"is on a network file system \({kind}\).*--set network_data=allow"):
            check_local(tmp_path / folder, mounts)


def test_where_the_system_does_not_say_what_a_folder_is_on_it_is_taken(tmp_path: Path) -> None:
    check_local(tmp_path, tmp_path / "none")


def test_this_folder_is_on_something(tmp_path: Path) -> None:
    check_local(tmp_path)
