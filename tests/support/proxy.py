"""An HTTP proxy in a thread: whatever host it is asked for, it leads to one port of this machine."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Self


class Proxy:
    """Forwards requests and tunnels to 127.0.0.1:``port``; with ``status`` it refuses both.

    ``asked`` holds the head of every request as text.
    """

    def __init__(self, port: int, *, status: int = 0) -> None:
        self._target, self._status = port, status
        self.asked: list[str] = []
        self.port = 0
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        closing = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._tasks, *closing, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            if self._status:
                writer.write(f"HTTP/1.1 {self._status} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            there, to = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.append(to)
            if head.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                to.write(re.sub(r"^(\S+) http://[^/ ]+", r"\1 ", head).encode())
            await asyncio.gather(_copy(reader, to), _copy(there, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
