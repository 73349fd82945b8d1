"""The disk of a real server gets full, and has room again."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from support.http import ask, open_stream, request

from .meddling import meddle
from .readers import check_dense, check_end, resume, whole_events
from .scale import at_scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Serve
    from support.server import Server

    from .oracle import Oracle

    Judge = Callable[[str, str], Oracle]

GO_ON = {"Tickertape-Disconnect": "continue"}
TEXT = " ".join(f"word{number}" for number in range(100_000))


def allow(server: Server, room: int | None) -> None:
    """Let the server's files grow to the size of the log's WAL and this much more; None takes the limit away."""
    size = (server.data / "tape.db-wal").stat().st_size
    limit = resource.RLIM_INFINITY if room is None else size + room
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of another process can be set on Linux only")
@pytest.mark.parametrize("room", [0, 5_000, 100_000])
def test_tt3_a_full_disk_ends_answers_as_failed_with_their_text_and_the_server_goes_on(serve: Serve, room: int) -> None:
    """Guards: the second end of an answer whose first could not be written, and its writing later. TT-1, TT-2, TT-3."""
    server = serve(echo_rate=1000)
    seen: dict[str, bytes] = {}
    with ExitStack() as connections:
        streams = [
            connections.enter_context(open_stream(server.url, "POST", "/api/openai/stream", ask(TEXT), GO_ON))
            for _ in range(5)
        ]
        for stream in streams:
            stream.until(lambda stream: len(stream.events) > 3)
        allow(server, room)
        for stream in streams:
            assert stream.read().complete, "the reader was left without an end"
            partial = check_end(check_dense(stream.id, stream.body), "failed")
            assert TEXT.startswith(partial)
            assert b"the disk reports an I/O error" in stream.body
            assert str(server.data).encode() not in stream.body, "readers need not know where the files are"
            seen[stream.id] = stream.body
    refused = request(server.url, "POST", "/api/openai/stream", ask(TEXT))
    while refused.status == 200:  # what little room is left is used up
        refused = request(server.url, "POST", "/api/openai/stream", ask(TEXT))
    assert (refused.status, refused.error["code"]) == (503, "streams_unavailable")
    assert str(server.data) not in refused.error["message"]
    assert f"The stream log {server.data / 'tape.db'} cannot be used" in server.stderr
    assert request(server.url, "GET", "/healthz").status == 200
    check_all(server, seen)
    allow(server, None)
    with open_stream(server.url, "POST", "/api/openai/stream", ask("there is room again")) as stream:
        seen[stream.id] = stream.read().body
    assert check_end(check_dense(stream.id, stream.body), "completed") == "there is room again"
    check_all(server, seen)
    server.terminate()
    server.start()
    check_all(server, seen)


def check_all(server: Server, seen: dict[str, bytes]) -> None:
    """Check that every reader gets the bytes that were shown before, from the start and from the middle."""
    for stream_id, body in seen.items():
        assert request(server.url, "GET", f"/v1/streams/{stream_id}").body == body
        had = whole_events(body[: len(body) // 2])
        with resume(server.url, stream_id, had) as rest:
            assert had + rest.read().body == body


# --- a disk that has so little room, at every step


def pages(path: Path) -> int:
    """Return how many pages the file has, none of them free."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as log:
        log.execute("VACUUM")
        return int(log.execute("PRAGMA page_count").fetchone()[0])


@at_scale(step=(6, 1))
@pytest.mark.parametrize(("limit", "count"), [("RLIMIT_FSIZE", 150), ("max_page_count", 1500)])
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of another process can be set on Linux only")
async def test_a_disk_that_is_full_at_any_step_ends_what_it_hits_and_nobody_is_told_a_false_end(
    serve: Serve, judge: Judge, tmp_path: Path, limit: str, count: int, step: int
) -> None:
    """Guards: the second end of an answer whose first could not be written, without which its readers hang."""
    most = tmp_path / "pages"
    most.write_text(str(2**30))
    patch = meddle(
        "import pathlib",
        "from tickertape.streams.sqlite.writer import WriterThread",
        "commit = WriterThread._commit",
        "def limited(self, commands):",
        f"    self._connection.execute('PRAGMA max_page_count = ' + pathlib.Path({str(most)!r}).read_text())",
        "    return commit(self, commands)",
        "WriterThread._commit = limited",
    )
    server = serve(echo_rate=count * 5, env=patch)
    path = server.data / "tape.db"

    def allow_more(room: int | None) -> None:
        if limit == "RLIMIT_FSIZE":
            allow(server, None if room is None else room * 4120)  # of the WAL, a page
        else:
            beside = most.with_suffix(".new")
            beside.write_text(str(2**30 if room is None else pages(path) + room))
            beside.replace(most)

    async with judge(f"disk full at every step, by {limit}", server.url) as oracle:
        room, hit = 0, True
        while hit:
            allow_more(room)
            readers = [oracle.ask(count) for _ in range(5)]
            await oracle.until(lambda: all(reader.end or reader.refused for reader in readers))  # noqa: B023 - at once
            hit = any(reader.refused or reader.end == "failed" for reader in readers)
            allow_more(None)
            await oracle.until(lambda: all(reader.end for reader in readers))  # noqa: B023 - awaited at once
            oracle.count.trials += 1
            room += step
        await asyncio.to_thread(server.terminate)
        await asyncio.to_thread(server.start)
        await oracle.check()
        assert {stream.state for stream in oracle.streams} == {"completed", "failed"}
