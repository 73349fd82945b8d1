"""`tickertape backup`, `restore` and `check`, beside a server that runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from support.conversations import finished, listed, message, place, post_message, question
from tickertape.cli.backup import backup
from tickertape.cli.check import check
from tickertape.cli.restore import restore
from tickertape.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Serve


def test_a_backup_of_a_server_that_runs_can_be_served_and_be_put_back(
    serve: Serve, tmp_path: Path, run: Callable[..., Any]
) -> None:
    server = serve()
    with post_message(server.url, question("Hello there")) as stream:
        stream.read()
        where = place(stream)
    kept = finished(server.url, where)
    made = run(backup, str(tmp_path / "copy"), "--data", str(server.data))
    assert (made.exit_code, made.stdout) == (0, "")
    assert f"{server.data} was copied to {tmp_path / 'copy'}." in made.stderr
    looked = run(check, "--data", str(server.data))
    assert (looked.exit_code, looked.stdout) == (0, f"{server.data} is whole.\n")
    refused = run(restore, str(tmp_path / "copy"), "--data", str(server.data), "--replace")
    assert isinstance(refused.exception, SettingsError)
    assert "stop it before" in str(refused.exception)
    put_back = run(restore, str(tmp_path / "copy"), "--data", str(tmp_path / "back"))
    assert put_back.exit_code == 0
    other = serve(data=tmp_path / "back")
    assert message(other.url, where) == kept
    assert len(listed(other.url)) == 1


def test_damage_is_a_sentence_on_standard_output_and_exit_code_1(tmp_path: Path, run: Callable[..., Any]) -> None:
    from tickertape.streams.sqlite.file_format import connect

    with closing(connect(tmp_path / "tape.db")) as connection:
        connection.execute("INSERT INTO journal (producer, body, crc) VALUES (1, x'00', 7)")
    looked = run(check, "--data", str(tmp_path))
    assert looked.exit_code == 1
    assert looked.stdout == "Transaction 1 of the stream log is damaged: answers end where it begins.\n"
    made = run(backup, str(tmp_path / "copy"), "--data", str(tmp_path))
    assert made.exit_code == 1
    assert made.stdout == looked.stdout
    assert "an older one may hold it whole" in made.stderr
    put_back = run(restore, str(tmp_path / "copy"), "--data", str(tmp_path / "back"))
    assert put_back.exit_code == 1
    with closing(sqlite3.connect(tmp_path / "back" / "tape.db")) as restored:
        assert restored.execute("SELECT count(*) FROM journal").fetchone() == (1,)


def test_what_is_replaced_is_said(tmp_path: Path, run: Callable[..., Any]) -> None:
    from tickertape.streams.sqlite.file_format import connect

    connect(tmp_path / "tape.db").close()
    run(backup, str(tmp_path / "copy"), "--data", str(tmp_path))
    again = run(restore, str(tmp_path / "copy"), "--data", str(tmp_path), "--replace")
    assert again.exit_code == 0
    assert f"What was in {tmp_path} is in {tmp_path / 'replaced-'}" in again.stderr


def test_what_is_wrong_with_an_unreadable_backup_is_said_once(tmp_path: Path, run: Callable[..., Any]) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "tape.db").write_bytes(b"no database at all, and no page of one " * 200)
    put_back = run(restore, str(tmp_path / "copy"), "--data", str(tmp_path / "back"))
    assert put_back.exit_code == 1
    said = put_back.stdout + put_back.stderr + str(put_back.exception)
    assert said.count(f"{tmp_path / 'copy' / 'tape.db'} cannot be used") == 1, said
