"""The SQLite log does what the memory log does, whatever is asked in whatever order, crashes in between included."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tickertape.errors import EngineError, KeyReused, StreamEnded, UnknownStream
from tickertape.streams.contract import Key, StreamWriter
from tickertape.streams.memory import MemoryEngine, MemoryStore
from tickertape.streams.sqlite import writer as writing
from tickertape.streams.sqlite.engine import SqliteEngine
from tickertape.testing.engine_contract import DONE, LOST, caught_up, new_header

from .conftest import memory_folder

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tickertape.streams.contract import Engine, Stream

entries = st.lists(st.sampled_from([b't"a"', b't"b"', b"#1 1 1", b""]), max_size=3)
owners = st.sampled_from(["ann", "bob"])
keys = st.sampled_from([None, "k", "l"])


class Machine(RuleBasedStateMachine):
    """Drives both logs. Streams are known by their ids alone, so that the log may forget what nobody holds."""

    streams = Bundle("streams")

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(writing, "GATHER", 0.0)  # a step at a time, nothing comes together
        self.folder = Path(tempfile.mkdtemp(prefix="tickertape-", dir=memory_folder()))
        self.store = MemoryStore()
        self.model = MemoryEngine(self.store, lost=LOST)
        self.owners: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.writers: dict[str, tuple[StreamWriter, StreamWriter]] = {}
        self.generation = 0
        self._open(self.folder / "tape.db")

    def _open(self, path: Path) -> None:
        self.path = path
        self.log = SqliteEngine(path, lost=LOST, synchronous="OFF", reap=60)
        self.run(self.log.__aenter__())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def both(self, ask: Any) -> tuple[Any, Any]:
        """Ask both logs the same; both must answer, or raise the same error."""

        async def attempt(engine: Engine) -> Any:
            try:
                return await ask(engine)
            except EngineError as error:
                return type(error)

        one, other = self.run(attempt(self.model)), self.run(attempt(self.log))
        assert isinstance(one, type) == isinstance(other, type), (one, other)
        assert not isinstance(one, type) or one is other, (one, other)
        return one, other

    def both_writers(self, stream: str, ask: Any) -> tuple[Any, Any]:
        """Ask both writers of a stream the same; there are none once this process has let go of them."""
        if stream not in self.writers:
            return None, None
        writers = dict(zip((self.model, self.log), self.writers[stream], strict=True))
        return self.both(lambda engine: ask(writers[engine]))

    async def stream(self, engine: Engine, stream: str) -> Stream:
        return await engine.get(stream, self.owners[stream])

    @rule(target=streams, owner=owners, key=keys, digest=st.sampled_from("de"), first=entries)
    def create(self, owner: str, key: str | None, digest: str, first: list[bytes]) -> str:
        header = new_header(owner)
        made = Key(key, digest.encode()) if key else None
        one, other = self.both(lambda engine: engine.create(header, first, made))
        if one is KeyReused:
            return ""
        assert isinstance(one, StreamWriter) == isinstance(other, StreamWriter)
        if isinstance(one, StreamWriter):
            self.writers[header.id] = one, other
            one, other = one.stream, other.stream
        assert one.header == other.header
        self.owners[one.header.id] = owner
        return str(one.header.id)

    @rule(stream=streams, more=entries)
    def append(self, stream: str, more: list[bytes]) -> None:
        async def ask(writer: StreamWriter) -> None:
            writer.append(more)
            await caught_up(writer.stream, len((await self.stream(self.model, stream)).entries))

        one, _ = self.both_writers(stream, ask)
        assert one in (None, StreamEnded)

    @rule(stream=streams, last=entries)
    def finish(self, stream: str, last: list[bytes]) -> None:
        self.both_writers(stream, lambda writer: writer.finish([*last, DONE]))

    @rule(stream=streams)
    def fail(self, stream: str) -> None:
        self.both_writers(stream, lambda writer: writer.fail(LOST))

    @rule(stream=streams)
    def let_go(self, stream: str) -> None:
        """Nobody holds an ended stream any more."""
        if stream in self.writers and self.writers[stream][0].stream.ended:
            del self.writers[stream]

    @rule(stream=streams)
    def cancel(self, stream: str) -> None:
        async def ask(engine: Engine) -> None:
            await engine.cancel(await self.stream(engine, stream))

        if stream:
            self.both(ask)
            if stream in self.writers:
                one, other = self.writers[stream]
                assert one.stop_requested == other.stop_requested

    @rule(stream=streams, owner=owners)
    def get(self, stream: str, owner: str) -> None:
        async def ask(engine: Engine) -> tuple[list[bytes], bool]:
            found = await engine.get(stream, owner)
            return found.entries, found.ended

        one, other = self.both(ask)
        assert one == other
        assert (one is UnknownStream) == (self.owners.get(stream) != owner)

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        """Close and open again: what ran is lost, everything else is as it was.

        What a kill leaves is the file and its WAL as they are this moment.
        """
        if not kill:
            self.run(self.log.__aexit__())
            self._lose()
            self._open(self.path)
            return
        self.generation += 1
        folder = self.folder / str(self.generation)
        folder.mkdir()
        for name in ("tape.db", "tape.db-wal"):
            if self.path.with_name(name).exists():
                shutil.copyfile(self.path.with_name(name), folder / name)
        self.run(self.log.__aexit__())
        self._lose()
        self._open(folder / "tape.db")

    def _lose(self) -> None:
        self.run(self.model.__aexit__())
        self.model = MemoryEngine(self.store, lost=LOST)
        self.writers.clear()

    @invariant()
    def everything_is_equal(self) -> None:
        for stream in getattr(self, "owners", ()):
            one, other = self.run(self.stream(self.model, stream)), self.run(self.stream(self.log, stream))
            assert (one.header, one.entries, one.ended) == (other.header, other.entries, other.ended)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.log.__aexit__())
            self.runner.close()
            self.patch.undo()
            shutil.rmtree(self.folder)


TestSqliteBehavesLikeMemory = Machine.TestCase
TestSqliteBehavesLikeMemory.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
