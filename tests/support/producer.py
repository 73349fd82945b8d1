"""A process of its own that writes to a SQLite stream log, to be killed and frozen.

In the test it is a `Producer`. As a program (``python -m support.producer``) it takes one JSON object as its argument,
makes streams whose entry n is a function of the stream and n, and obeys commands from standard input, a line each. What
it prints was acknowledged by the log: an entry counts as acknowledged once a reader could have seen it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tickertape.errors import EngineError
from tickertape.streams.contract import Header, StreamWriter
from tickertape.streams.sqlite.engine import SqliteEngine

from .server import STOP_TIMEOUT, clean_environment

LOST = b'.{"state":"lost"}'
FAILED = b'.{"state":"failed"}'
DONE = b'.{"state":"completed","finish_reason":"stop"}'


def entry(stream_id: str, number: int) -> bytes:
    """Return entry ``number`` of a stream: any reader can check it."""
    return b't"%b/%d"' % (stream_id.encode(), number)


class Producer:
    """The process, from outside. ``free`` makes it append without end; else it does what `command` says."""

    def __init__(self, path: Path, *, streams: int = 1, free: bool = False, limit: int = 0, **options: Any) -> None:
        order = {"path": str(path), "streams": streams, "free": free, "limit": limit, "options": options}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.producer", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            env=clean_environment(),
            text=True,
        )
        self.streams: list[str] = []
        self.acknowledged: dict[str, int] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> Self:
        """Wait until its streams exist."""
        self.streams = self.read()["streams"]
        self.acknowledged = dict.fromkeys(self.streams, 1)
        return self

    def read(self) -> dict[str, Any]:
        """Return the next thing that it says; what it acknowledges is noted. Empty once it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            return {}
        said = json.loads(line)
        if "ack" in said:
            self.acknowledged[said["ack"]] = said["to"]
        return said

    def send(self, command: str) -> None:
        """Give a command without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def command(self, command: str) -> dict[str, Any]:
        """Give a command, and return what became of it."""
        self.send(command)
        while "done" not in (said := self.read()):
            assert said, "the producer ended"
        return said["done"]

    def acknowledge(self, size: int) -> None:
        """Wait until entry number ``size`` of some stream was acknowledged."""
        while max(self.acknowledged.values()) < size:
            assert self.read(), "the producer ended"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it said before is still noted."""
        self._process.kill()
        while self.read():
            pass
        self._process.wait(STOP_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=STOP_TIMEOUT)


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Role:
    """The process, from inside."""

    def __init__(self, log: SqliteEngine) -> None:
        self.log = log
        self.writers: list[StreamWriter] = []

    async def create(self) -> None:
        header = Header(id=os.urandom(16).hex(), owner="ann", model="echo", created=0)
        writer = await self.log.create(header, [entry(header.id, 1)])
        assert isinstance(writer, StreamWriter)
        stream = writer.stream
        stream.listen(lambda: say(ack=header.id, to=len(stream.entries) - stream.ended))
        self.writers.append(writer)

    async def append(self, writer: StreamWriter, number: int) -> None:
        if writer.behind:
            await writer.drained()
        writer.append([entry(writer.stream.header.id, number)])

    async def flow(self, writer: StreamWriter) -> None:
        """Append without end, sometimes one entry at a time, sometimes many."""
        number = 2
        while True:
            await self.append(writer, number)
            number += 1
            if number % 5:
                await asyncio.sleep(0)

    async def obey(self, command: str) -> str:
        """Do what was said to every stream, wait until it is done, and return what became of it."""
        verb, _space, count = command.partition(" ")
        try:
            if verb == "create":
                await self.create()
                return self.writers[-1].stream.header.id
            for writer in self.writers:
                stream = writer.stream
                size = len(stream.entries)
                if verb == "finish":
                    await writer.finish([DONE])
                    continue
                if verb == "fail":
                    await writer.fail(FAILED)
                    continue
                for number in range(size + 1, size + 1 + int(count or 1)):
                    await self.append(writer, number)
                while len(stream.entries) < size + int(count or 1) and writer.error is None:
                    await stream.wait(len(stream.entries))
                if writer.error is not None:
                    raise writer.error
        except EngineError as error:
            return f"{type(error).__name__}: {error}"
        return "ok"


async def main(order: dict[str, Any]) -> None:
    if order["limit"]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], resource.RLIM_INFINITY))
    loop = asyncio.get_running_loop()
    async with SqliteEngine(order["path"], lost=LOST, **order["options"]) as log:
        role = Role(log)
        for _ in range(order["streams"]):
            await role.create()
        say(streams=[writer.stream.header.id for writer in role.writers])
        if order["free"]:
            await asyncio.gather(*map(role.flow, role.writers))
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command = line.strip()
            if command.startswith("limit "):
                import resource

                resource.setrlimit(resource.RLIMIT_FSIZE, (int(command[6:]), resource.RLIM_INFINITY))
                say(done="ok")
            else:
                say(done=await role.obey(command))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
